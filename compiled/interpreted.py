"""What was compiled, and how to run the sources although it lies beside them."""

from __future__ import annotations

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("sim", "workloads")


def built() -> list[Path]:
    """The compiled files that are there: one library, and a small file for each module."""
    folders = [ROOT.glob("prefixsim__mypyc*.so"), *((ROOT / name).rglob("*.so") for name in PACKAGES)]
    return sorted(path for found in folders for path in found)


def interpret() -> None:
    """Let what is imported from now on of this project come from its ``.py`` files."""

    def ours(folder: str) -> FileFinder:
        below = Path(folder).absolute()
        if below == ROOT or any(below.is_relative_to(ROOT / name) for name in PACKAGES):
            return FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))
        raise ImportError("another hook's")

    sys.path_hooks.insert(0, ours)
    sys.path_importer_cache.clear()
