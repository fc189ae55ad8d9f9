"""Samples whose truth is known: times made from coefficients, with noise and drift on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from calibration import samples
from calibration.fit import seconds
from calibration.plan import GRIDS, Configuration, plan, schedule, sentinels
from sim.hardware import catalogue
from sim.hardware.coefficients import Coefficients

TRUTH = Coefficients(
    step=4e-3,
    floor=6e-3,
    token=6e-4,
    p=3.0,
    sequence=5e-4,
    pair=6e-8,
    rectangle=1.8e-7,
    prefill_kv=3e-6,
    prefill=5e-4,
    decode_kv=3.5e-6,
    hinges={2: 1e-3, 8: 6e-4},
    sequence_hinges={4: 1e-3},
)
"""Of the size that a model of 40 M parameters has on one core."""


def header(**other: Any) -> dict[str, Any]:
    """A header as `calibration.measure` writes it."""
    model = catalogue.dense("tiny-40m", Path())
    return {
        "model": model.model_dump(),
        "device": "a made-up machine",
        "dtype": "float32",
        "grid": "cpu",
        "seed": 0,
        "passes": 4,
        "clock": "cpu_time",
        "kv_tokens": 40_000,
        "hardware": {
            "device": "a made-up machine",
            "memory_gib": 8.0,
            "cpu": "none",
            "cores": 2,
            "threads": 1,
            "gemm_tflops": 0.12,
            "copy_gb_per_s": 25.0,
        },
        "software": {
            "torch": "0",
            "attention_backend": "sdpa",
            "rejected_backends": {},
            "cuda_graphs": False,
            "block_size": 16,
        },
        "hardware_name": None,
        "created": "2026-11-24T00:00:00+00:00",
        **other,
    }


def write(
    path: Path,
    truth: Coefficients = TRUTH,
    *,
    noise: float = 0.0,
    drift: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
    **other: Any,
) -> Path:
    """A whole samples file: times of ``truth``, times 1 + the pass's drift, times noise."""
    head = header(passes=len(drift), **other)
    samples.begin(path, head)
    random = np.random.default_rng(1)
    grid = GRIDS[head["grid"]]
    made = plan(grid, head["seed"], head["kv_tokens"], eager=False)
    with path.open("a") as file:
        for number, factor in enumerate(drift):
            for step in schedule(made, sentinels(grid), head["seed"], number):
                t_s = _truth_s(step, truth) * (1 + factor) * float(np.exp(noise * random.normal()))
                file.write(samples.row(step, number, t_s, t_s * 1.1))
    return path


def _truth_s(step: Configuration, truth: Coefficients) -> float:
    if step.split == "transfer":
        return 2e-6 + 5e-6 * step.spec[0][1]
    if step.split == "overhead":
        return 1e-6
    return float(seconds(truth, [step])[0])


def rows(path: Path) -> list[dict[str, Any]]:
    """The file's lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
