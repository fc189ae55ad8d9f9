"""One model on one device, from nothing to a profile file and its samples."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from calibration import samples
from calibration.build import MAX_DRIFT, Built, build
from calibration.measure import Progress, measure
from calibration.plan import GRIDS
from calibration.runner import Runner
from sim.hardware.dense import DenseDecoder
from workloads.errors import InputError

PASSES = {"cpu": 8, "cuda": 5}
LONGEST = 128
"""Positions beyond the grid's longest sequence."""


def samples_file(out: Path) -> Path:
    """Where the samples of the profile ``out`` are while they are taken; compressed beside it later."""
    return out.with_name(out.name.removesuffix(".yaml") + ".samples.jsonl")


def require_new(out: Path) -> None:
    """InputError unless a profile can be written to ``out``, which must not exist yet."""
    if out.suffix != ".yaml":
        raise InputError(f"--out {out}: allowed: a file name ending in .yaml")
    taking = samples_file(out)
    packed = taking.with_suffix(".jsonl.gz")
    for path in (out, packed):
        going_on = path == packed and os.path.lexists(taking)  # stopped after packing, before the end
        if os.path.lexists(path) and not going_on:
            raise InputError(f"{path}: exists; allowed: another --out, or `fit` to fit its samples again")


def runner_for(model: DenseDecoder, device: str, dtype: str, grid: str, seed: int) -> Runner:
    """A runner with room for the largest step of ``grid`` and some more, so that blocks rotate."""
    axes = GRIDS[grid]
    longest = max(*axes.cached, *axes.context) + max(axes.new) + LONGEST
    return Runner(model, device, dtype, int(axes.kv_tokens * 1.2), longest, seed)


@contextmanager
def held_runner(model: DenseDecoder, device: str, dtype: str, grid: str, seed: int) -> Iterator[Runner]:
    """`runner_for`, its memory given back afterwards; InputError if the device runs out of it."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    try:
        runner = runner_for(model, device, dtype, grid, seed)
        try:
            yield runner
        finally:  # whoever still knows the runner shall not keep weights and pool
            del runner.decoder, runner.graphs
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"model = {model.name!r}: {reason}; allowed: a smaller model or dtype") from None


def calibrate(
    runner: Runner,
    out: Path,
    *,
    grid: str,
    passes: int,
    seed: int,
    progress: Progress,
    hardware_name: str | None = None,
    max_drift: float = MAX_DRIFT,
) -> Built:
    """Measure, fit and write the profile ``out``; interrupted, the same call goes on where it stopped.

    Nothing is written to ``out`` if the samples do not make a profile (InputError); they are kept.
    """
    require_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    taking = samples_file(out)
    measure(
        runner,
        taking,
        grid=grid,
        seed=seed,
        passes=passes,
        progress=progress,
        hardware_name=hardware_name,
    )
    build(taking, out, max_drift)
    packed = taking.with_suffix(".jsonl.gz")
    samples.compress(taking, packed)
    built = build(packed, out, max_drift)
    out.write_text(built.profile.to_yaml(), encoding="utf-8")
    taking.unlink()
    return built
