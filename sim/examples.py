"""The configurations that ship, by name, from any folder: `quickstart`, `routing`, `spec/4-ten-turns`.

In a checkout they are the folder ``configs``; the wheel has them in the package.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from workloads.base import Workload

PLACES = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs")
NOT_ALONE = ("axes",)
"""Folders of files that are no configurations by themselves."""


def folder() -> Path:
    """Where they lie."""
    return next(place for place in PLACES if place.is_dir())


def files() -> dict[str, Path]:
    """The files by name: that of the file, or with its folder where two have the same."""
    found: dict[str, Path] = {}
    for path in sorted(folder().rglob("*.yaml")):
        if path.parent.name not in NOT_ALONE:
            found[path.stem if path.stem not in found else _long_name(path)] = path
    return found


def question(path: Path) -> str:
    """What a shipped configuration asks: its first sentence."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    text = " ".join(lines)
    ends = [text.find(mark) + 1 for mark in (". ", "? ") if mark in text]
    return text[: min(ends, default=len(text))]


def find(path: Path) -> Path:
    """``path`` if that is a file, or the shipped configuration of this name; InputError if neither.

    A path that looks like one of a file is left for whoever reads it to refuse.
    """
    if path.is_file():
        return path
    wanted = path.with_suffix("") if path.suffix == ".yaml" else path
    name = wanted.as_posix().removeprefix("configs/")
    named = files()
    for short, file in named.items():
        if name in (short, _long_name(file)):
            return file
    if path.suffix or path.is_dir():
        return path
    near = get_close_matches(name, named, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"{name}: no such file, and no configuration of this name ships; {hint}allowed: a file, or a name "
        "that `python -m sim examples` lists"
    )


def find_axes(path: Path) -> Path:
    """``path``, or where that is no file the axes that ship by this name: ``gpus``."""
    name = path.as_posix().removeprefix("configs/").removeprefix("axes/")
    ours = folder() / "axes" / name
    shipped = ours if ours.suffix else ours.with_suffix(".yaml")
    return shipped if shipped.is_file() and not path.is_file() else path


def require_trace(workload: Workload, home: Path) -> None:
    """InputError if a shipped configuration, in the folder ``home``, asks for a trace that is not there.

    Traces do not ship; the first lines of the configuration say where to get them.
    """
    path = getattr(workload, "path", None)
    if not isinstance(path, Path) or not home.is_relative_to(folder().resolve()):
        return
    if not any((place / path.expanduser()).exists() for place in (home, Path.cwd())):
        raise InputError(
            f"workload.path = {str(path)!r}: this trace does not ship, and the first lines of the "
            f"configuration say where to get it; allowed: a file in the current folder or in {home}, or "
            "--set workload.path=FILE"
        )


def _long_name(path: Path) -> str:
    return path.relative_to(folder()).with_suffix("").as_posix()
