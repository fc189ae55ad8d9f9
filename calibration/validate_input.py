"""Whether a profile can be validated here; apart from `calibration.validate`, which needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sim.hardware import catalogue
from sim.hardware.profile import Profile
from workloads.errors import InputError

if TYPE_CHECKING:
    from calibration.runner import Runner


def require_runnable(profile: Profile, path: Path, model: str | None) -> None:
    """InputError unless ``profile`` was measured, and for ``model`` if one is named."""
    for part in ("model", "hardware", "software", "protocol"):
        if getattr(profile, part) is None:
            raise InputError(f"{path}: {part} is missing; allowed: a profile that was measured")
    assert profile.model is not None
    if profile.model.head_dim % 2:
        raise InputError(
            f"{path}: model.head_dim = {profile.model.head_dim}; allowed: an even number (rotary positions "
            "turn pairs)"
        )
    if model is not None:
        wanted = catalogue.dense(model, Path(), "--model")
        wanted = wanted.model_copy(update={"dtype": profile.model.dtype})
        if not wanted.same_shape(profile.model):
            raise InputError(
                f"{path}: measured for {profile.model.name}, not for {wanted.name}; allowed: a profile of "
                "that model"
            )


def require_same_device(profile: Profile, path: Path, runner: Runner) -> None:
    """InputError unless ``runner`` computes where and how the profile was measured."""
    from calibration.device import name

    assert profile.hardware is not None and profile.software is not None
    mine = {
        "device": name(runner.device),
        "attention_backend": runner.decoder.attention.backend.name,
        "block_size": runner.decoder.pool.block_size,
    }
    said = {
        "device": profile.hardware.device,
        "attention_backend": profile.software.attention_backend,
        "block_size": profile.software.block_size,
    }
    for key, value in said.items():
        if mine[key] != value:
            raise InputError(
                f"{path}: measured with {key} = {value!r}, here it is {mine[key]!r}; allowed: the same"
            )
