"""Models and GPUs by name: small YAML files with their sources; or a Hugging Face config.json."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sim.hardware import reader
from sim.hardware.by_hand import ModelByHand
from sim.hardware.dense import BYTES_PER_VALUE, DenseDecoder
from sim.hardware.gpu import Gpu, gpu
from sim.hardware.model import Model
from workloads.errors import InputError
from workloads.formats.files import find_file

FOLDER = Path(__file__).parent
CONFIG = "config.json"
__all__ = ["BYTES_PER_VALUE", "DenseDecoder", "Gpu", "Model", "dense", "gpu", "model", "names", "source"]


def names(kind: str) -> list[str]:
    """The catalogue's entries of ``kind``: 'models' or 'gpus'."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.yaml"))


def model(
    name: str | ModelByHand,
    folder: Path,
    key: str = "model",
    dtype: str = "auto",
    kv_cache_dtype: str = "auto",
) -> Model:
    """The model called ``name``, the one of a Hugging Face config.json, or one given by its figures.

    A path of a config.json, or of a folder that has one, is relative to ``folder`` or the current one.
    ``dtype`` and ``kv_cache_dtype`` are vLLM's options; a model by hand has its own. InputError names
    ``key``, or the file.
    """
    if isinstance(name, ModelByHand):
        for option, value in (("dtype", dtype), ("kv_cache_dtype", kv_cache_dtype)):
            if value != "auto":
                raise InputError(
                    f"{key}: {option} = {value!r} with a model by hand; allowed: auto (its figures say it)"
                )
        return name.model()
    if name.endswith(".json"):
        return reader.read_file(find_file(Path(name), folder), dtype, kv_cache_dtype)
    if name not in names("models") and is_folder(name, folder):
        return reader.read_file(find_file(Path(name) / CONFIG, folder), dtype, kv_cache_dtype)
    _require("models", key, name)
    return _catalogued(name, dtype, kv_cache_dtype)


@cache
def _catalogued(name: str, dtype: str, kv_cache_dtype: str) -> Model:
    """An entry of the catalogue, read once: a search runs the same model hundreds of times."""
    return reader.read(_entry("models", name), name, dtype, kv_cache_dtype)


def is_folder(name: str, folder: Path) -> bool:
    """Whether a folder of that name, relative to ``folder`` or the current one, has a config.json."""
    try:
        return (folder / name / CONFIG).is_file() or (Path(name) / CONFIG).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def source(name: str) -> str:
    """Where the numbers of the model called ``name`` come from."""
    _require("models", "model", name)
    return str(_entry("models", name)["source"])


def dense(name: str, folder: Path, key: str = "model") -> DenseDecoder:
    """The plain dense decoder of that name or path, which `calibration` can build; else InputError."""
    found = model(name, folder, key).dense
    if found is None:
        raise InputError(
            f"{key} = {name!r} is not a plain dense decoder; allowed: dense models with full attention and "
            "SwiGLU, not quantised (others cannot be built and measured here)"
        )
    return found


def _entry(kind: str, name: str) -> Any:
    return yaml.safe_load((FOLDER / kind / f"{name}.yaml").read_text())


def _require(kind: str, key: str, name: str) -> None:
    """InputError unless the catalogue has ``name``."""
    if name not in names(kind):
        near = get_close_matches(name, names(kind), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        also = "; or the path of a Hugging Face config.json or its folder" if kind == "models" else ""
        allowed = ", ".join(names(kind))
        raise InputError(f"{key} = {name!r} is not in the catalogue{hint}; allowed: {allowed}{also}")
