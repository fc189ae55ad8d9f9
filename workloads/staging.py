"""Files into a folder: all or none, whatever ends the process while they are written.

They are written into a folder of their own beside their place. A new folder of results is that folder,
renamed. Into one that exists they are moved: renaming them to ``.ready-*`` is the instant from which they
count. Before it nothing has changed; an error after it puts back what was there; and where the process is
killed after it, the next command that looks into the folder moves the rest (`settle`).
"""

from __future__ import annotations

import errno
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from workloads.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: nothing tells there whether a writer still lives: nothing of his is removed
    fcntl = None  # type: ignore[assignment]

WRITING, READY, OLD = ".writing-", ".ready-", ".old"


@contextmanager
def staged(folder: Path, named: str = "") -> Iterator[Path]:
    """A folder whose files are moved into ``folder`` at the end, all or none; InputError if that fails.

    Other files in ``folder`` are left alone; it and the folders above it are made if need be, and are gone
    again if nothing is written. Messages begin with ``named``, by default ``--out FOLDER``.
    """
    named = named or f"--out {folder}"
    made: list[Path] = []
    try:
        settle(folder)
        made = [place for place in (folder.absolute(), *folder.absolute().parents) if not place.exists()]
        with place_in(folder if not made else folder.absolute().parent) as staging:
            yield staging
            _require_files(staging, folder, named)
            _put(staging, folder)
    except OSError as error:
        raise InputError(f"{named}: {error.strerror}") from None
    finally:
        for place in made:  # the innermost first; those that hold something stay
            with suppress(OSError):
                place.rmdir()


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A folder for the file ``out`` and those beside it, which are moved there at the end, all or none."""
    named = f"{out}: cannot be written"
    if not out.name or os.path.isdir(out):
        raise InputError(f"{named}: a folder; allowed: the name of a file")
    if not os.path.isdir(out.parent):
        raise InputError(f"{named}: no such folder")
    with staged(out.parent, named) as place:
        yield place


@contextmanager
def place_in(home: Path) -> Iterator[Path]:
    """A new folder in ``home`` to write to; what it is not renamed to by the end is removed."""
    with ExitStack() as held:
        place = _new_place(home, held)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _new_place(home: Path, held: ExitStack) -> Path:
    """A new folder in ``home`` that is held until ``held`` ends.

    Before it is, another process may take it for that of a dead one and remove it: then there is another.
    """
    for _ in range(100):
        home.mkdir(parents=True, exist_ok=True)
        place = home / f"{WRITING}{platform.node()}.{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            place.mkdir()
            held.enter_context(_held(place))
            if place.exists():
                return place
    raise FileNotFoundError(errno.ENOENT, "its folder vanishes", str(home))


def clear_dead(home: Path) -> None:
    """Remove what processes of this machine were writing to folders in ``home`` when they were killed.

    A lock says that one still lives; those of other machines, on a file system that is shared, it does not
    show.
    """
    if fcntl is None:
        return
    with suppress(OSError):
        for place in list(home.glob(f"{WRITING}*")):
            host = place.name.removeprefix(WRITING).rpartition(".")[0]
            if host != platform.node():
                continue
            with _held(place, wait=False) as free:
                if free:
                    shutil.rmtree(place, ignore_errors=True)


def settle(folder: Path) -> None:
    """Finish what a killed process had begun to move into ``folder``, and remove what it only wrote.

    Nothing happens to the files of processes that still live.
    """
    if fcntl is None:
        return
    for home in (folder, folder.absolute().parent):
        clear_dead(home)
    with suppress(OSError):
        if list(folder.glob(f"{READY}*")):
            with _held(folder):
                for place in list(folder.glob(f"{READY}*")):
                    _move(place, folder)
                    shutil.rmtree(place)


def _require_files(staging: Path, folder: Path, named: str) -> None:
    for path in sorted(staging.iterdir()):
        if (folder / path.name).is_dir():
            raise InputError(f"{named}: {path.name} is a folder there; allowed: a file, or nothing")


def _put(staging: Path, folder: Path) -> None:
    if not folder.exists():
        try:
            os.rename(staging, folder)
        except OSError:
            if not folder.is_dir():  # else another process made it in the meantime
                raise
        else:
            return
    with _held(folder):
        names = [path.name for path in staging.iterdir()]
        _keep_old(names, staging, folder)
        ready = folder / f"{READY}{secrets.token_hex(8)}"
        os.rename(staging, ready)
        try:
            _move(ready, folder)
        except OSError:
            _put_back([name for name in names if not (ready / name).exists()], ready, folder)
            raise
        finally:
            shutil.rmtree(ready, ignore_errors=True)


def _keep_old(names: list[str], staging: Path, folder: Path) -> None:
    """Second names for the files that are about to be replaced."""
    (staging / OLD).mkdir()
    for name in names:
        if not (folder / name).exists():
            continue
        try:
            os.link(folder / name, staging / OLD / name)
        except OSError:  # a file system without links
            shutil.copy2(folder / name, staging / OLD / name)


def _move(ready: Path, folder: Path) -> None:
    for path in sorted(ready.iterdir()):
        if path.name != OLD:
            os.replace(path, folder / path.name)


def _put_back(moved: list[str], ready: Path, folder: Path) -> None:
    for name in moved:
        old = ready / OLD / name
        if old.exists():
            os.replace(old, folder / name)
        else:
            (folder / name).unlink()


@contextmanager
def _held(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """A lock on ``folder``, which ends with the process; whether it was to be had."""
    if fcntl is None:
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
