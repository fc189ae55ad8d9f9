"""Profiles that ship, and which of them is of a model on GPUs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sim.hardware import profile
from sim.hardware.gpu import Gpu
from sim.hardware.model import Model
from sim.hardware.parallel import Parallel
from sim.hardware.profile import Profile

FOLDER = Path(__file__).parent / "profiles"


def find(model: Model, gpu: Gpu, parallel: Parallel) -> Profile | None:
    """The profile of ``model`` on GPUs in parallel, if one ships."""
    for path in _of(gpu.name):
        found = load(path)
        if found.serves is None or found.serves.parallel != parallel:
            continue
        if found.serves.is_same_model(model) and found.serves.kv_cache_dtype == model.kv_cache_dtype:
            return found
    return None


@cache
def _of(gpu: str) -> list[Path]:
    """The files of profiles of the GPU called ``gpu``; only these are worth being parsed."""
    line = f"gpu: {gpu}\n"
    return [path for path in sorted(FOLDER.glob("*.yaml")) if line in path.read_text(encoding="utf-8")]


@cache
def load(path: Path) -> Profile:
    """Read once."""
    return profile.load(path)
