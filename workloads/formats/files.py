"""Finding the file that a configuration names."""

from __future__ import annotations

from pathlib import Path

from workloads.errors import InputError


def find_file(path: Path, folder: Path) -> Path:
    """``path`` relative to the configuration's ``folder``, else to the current one.

    Raises InputError naming every place looked at.
    """
    try:
        path = path.expanduser()
    except RuntimeError as error:  # no such user
        raise InputError(f"{path}: {error}") from None
    places = [folder / path] if path.is_absolute() else [folder / path, Path.cwd() / path]
    for place in places:
        try:
            if place.is_file():
                return place
        except OSError as error:  # a name too long, a folder that may not be looked into
            raise InputError(f"{path}: {error.strerror}; allowed: the path of a file") from None
    tried = " or ".join(dict.fromkeys(str(place) for place in places))
    raise InputError(f"{path}: no such file; looked for {tried}")
