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
    lines = f"  gpu: {gpu.name}\n", f"  weight_bytes: {model.weight_bytes}\n"
    for path, text in _texts().items():
        if not all(line in text for line in lines):
            continue  # not worth being parsed
        found = load(path)
        assert found.serves is not None
        same = found.serves.is_same_model(model) and found.serves.kv_cache_dtype == model.kv_cache_dtype
        if same and found.serves.parallel == parallel:
            return found
    return None


@cache
def _texts() -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))}


@cache
def load(path: Path) -> Profile:
    """Read once."""
    return profile.load(path)
