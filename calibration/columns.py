"""The quantities of an iteration that its time depends on, as columns of a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.plan import Configuration

Floats = NDArray[np.float64]
HINGES = (2, 4, 8, 16, 32, 64, 128)
"""Offered on a CPU, where small products run other kernels than large ones: of new tokens,"""
SEQUENCE_HINGES = (2, 4, 8)
"""and of sequences, which are the rows of the output head's product."""
LINEAR = ("step", "pair", "rectangle", "prefill_kv", "decode_kv", "sequence", "prefill")
"""Coefficients that multiply a quantity of the batch."""


def tokens(steps: Sequence[Configuration]) -> Floats:
    """New tokens of each step."""
    return np.array([step.tokens for step in steps], dtype=float)


def linear(steps: Sequence[Configuration]) -> Floats:
    """One column for each of `LINEAR`, as in the formula of `sim.hardware.coefficients.Coefficients`."""
    rows = []
    for step in steps:
        prefills = step.prefills
        rows.append(
            (
                1.0,
                sum(n * (h + (n + 1) / 2) for h, n in prefills),
                sum(n * (h + n) for h, n in prefills),
                sum(h + n for h, n in prefills),
                sum(h + 1 for h, _ in step.decodes),
                len(step.spec),
                len(prefills),
            )
        )
    return np.array(rows, dtype=float)


def hinges(steps: Sequence[Configuration]) -> Floats:
    """min(T, k) for each k of `HINGES`, then min(B, k) for each of `SEQUENCE_HINGES`."""
    sequences = np.array([len(step.spec) for step in steps], dtype=float)
    by_token = np.minimum(tokens(steps)[:, None], np.array(HINGES, dtype=float))
    by_sequence = np.minimum(sequences[:, None], np.array(SEQUENCE_HINGES, dtype=float))
    return np.hstack([by_token, by_sequence])


def weights(steps: Sequence[Configuration], floor_tokens: float, p: float) -> Floats:
    """The knee (floor^p + T^p)^(1/p), in tokens: to be multiplied by seconds per token."""
    return np.asarray((floor_tokens**p + tokens(steps) ** p) ** (1 / p))
