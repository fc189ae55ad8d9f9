"""What the command line's options mean, and what is wrong with them."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import InputError
from workloads.shown import nearest

if TYPE_CHECKING:
    from sim.hardware.dense import DenseDecoder

FOLDER = Path("runs/calibration")
VALIDATIONS = Path("runs/validation")


def job(
    name: str, device: str, dtype: str | None, out: Path | None, *, several: bool
) -> tuple[DenseDecoder, str, Path, bool]:
    """A model, its dtype, where its profile goes, and whether that stands there already."""
    from calibration.run import require_new
    from calibration.validate_input import require_runnable
    from reports import files
    from sim.hardware import catalogue
    from sim.hardware.profile import load

    model = catalogue.dense(name, Path(), "--model")
    kind = dtype or ("float32" if device == "cpu" else model.dtype)
    require_choice("--dtype", kind, list(catalogue.BYTES_PER_VALUE))
    path = profile_path(out, name, device, kind, several=several)
    kept = several and os.path.lexists(path)
    if kept:
        require_runnable(load(path), path, name)
    else:
        require_new(path)
        files.require_writable(path.parent)
    return model, kind, path, kept


def profile_path(out: Path | None, name: str, device: str, dtype: str, *, several: bool) -> Path:
    """Where a model's profile goes."""
    if out is not None and not several:
        return out
    stem = Path(name).parent.name if name.endswith(".json") else name
    return (out or FOLDER) / f"{re.sub(r'[^A-Za-z0-9._-]', '-', stem)}.{device}.{dtype}.yaml"


def busy_shares(text: str) -> tuple[float, ...]:
    """The numbers in ``text``; InputError unless they are shares between 0 and 1."""
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(0 < share < 1 for share in shares):
        raise InputError(f"--loads {text}: allowed: numbers between 0 and 1, separated by commas")
    return shares


def require_choice(option: str, value: str, allowed: list[str]) -> None:
    """InputError unless ``value`` is allowed."""
    if value not in allowed:
        raise InputError(f"{option} {value}: {nearest(value, list(allowed))}")


def require_installed(*packages: str, extra: str = "calibration") -> None:
    """InputError if an optional package is not installed."""
    for package in packages:
        if find_spec(package) is None:
            fitting = (
                " (for a GPU, with the build of torch that fits its driver)"
                if extra == "calibration"
                else ""
            )
            raise InputError(
                f"{package} is not installed; allowed: pip install -e '.[{extra}]' in the project's "
                f"folder{fitting}"
            )


def validation_folder(out: Path | None, path: Path) -> Path:
    """Where the figures of a validation of ``path`` go; InputError unless they can be written there."""
    from reports import files

    folder = out or VALIDATIONS / path.stem
    files.require_writable(folder)
    return folder


def new_profile(out: Path | None, stem: str) -> Path:
    """``out``, or a file of that stem among the profiles; InputError unless it can be written anew."""
    from reports import files

    path = out or FOLDER / f"{re.sub(r'[^A-Za-z0-9._-]', '-', stem)}.yaml"
    if os.path.lexists(path) or path.suffix != ".yaml":
        raise InputError(f"--out {path}: allowed: a new file name ending in .yaml")
    files.require_writable(path.parent)
    return path
