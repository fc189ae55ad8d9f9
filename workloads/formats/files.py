"""Finding and opening the files that a configuration names: plain, .gz or .zst, one or a folder of them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from workloads.errors import InputError

COMPRESSED = (".gz", ".zst")


def find_file(path: Path, folder: Path) -> Path:
    """``path`` relative to the configuration's ``folder``, else to the current one.

    Raises InputError naming every place looked at.
    """
    return _find(path, folder, folders=False)


def find_files(path: Path, folder: Path, endings: Sequence[str]) -> tuple[Path, list[Path]]:
    """The file that ``path`` names, or its folder's files with one of ``endings``, compressed or not.

    Returns the path found and its files, those of a folder in all its subfolders, by name.
    """
    found = _find(path, folder, folders=True)
    if found.is_file():
        return found, [found]
    files = sorted(file for file in found.rglob("*") if ending(file) in endings and file.is_file())
    if not files:
        raise InputError(f"{found}: no files in this folder; allowed: files ending in {', '.join(endings)}")
    return found, files


def ending(path: Path) -> str:
    """The ending of the name, that of the compression aside."""
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def _find(path: Path, folder: Path, folders: bool) -> Path:
    try:
        path = path.expanduser()
    except RuntimeError as error:  # no such user
        raise InputError(f"{path}: {error}") from None
    places = [folder / path] if path.is_absolute() else [folder / path, Path.cwd() / path]
    for place in places:
        try:
            if place.is_file() or (folders and place.is_dir()):
                return place
        except OSError as error:  # a name too long, a folder that may not be looked into
            raise InputError(f"{path}: {error.strerror}; allowed: the path of a file") from None
    tried = " or ".join(dict.fromkeys(str(place) for place in places))
    raise InputError(f"{path}: no such file; looked for {tried}")


def opened(path: Path) -> AbstractContextManager[IO[bytes]]:
    """The bytes of a file, decompressed as its name says."""
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    if path.suffix == ".zst":
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return open(path, "rb")
