"""Popularity: which of many texts, or of many clients, a request belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 30
"""Repeated draws of one request are drawn anew so often; the few requests left are drawn one by one."""


def zipf_shares(count: int, exponent: float) -> NDArray[np.float64]:
    """The share of each of ``count`` things, the most popular first: rank i has i^-exponent, scaled.

    >>> zipf_shares(3, 1.0).round(3).tolist()
    [0.545, 0.273, 0.182]
    """
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def drawn(rng: np.random.Generator, shares: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """``n`` things (from 0), each by its share. The first draws do not depend on ``n``."""
    bounds = np.cumsum(shares)
    found: NDArray[np.int64] = np.searchsorted(bounds / bounds[-1], rng.random(n), side="right")
    return found


def drawn_sets(rng: np.random.Generator, shares: NDArray[np.float64], n: int, size: int) -> list[list[int]]:
    """``n`` sets of ``size`` different things, popular ones more often, each in the order of its draw.

    The first sets do not depend on ``n``: every round of draws is a stream of its own.
    """
    *rounds, last = rng.spawn(ROUNDS + 1)
    sets = drawn(rng, shares, n * size).reshape(n, size)
    for again in rounds:
        order = np.argsort(sets, axis=1, kind="stable")
        ranked = np.take_along_axis(sets, order, axis=1)
        repeated = np.zeros_like(sets, dtype=bool)
        np.put_along_axis(repeated, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
        if not repeated.any():
            break
        sets = np.where(repeated, drawn(again, shares, n * size).reshape(n, size), sets)
    rows: list[list[int]] = sets.tolist()
    for place, row in enumerate(rows):
        if len(set(row)) < size:
            rows[place] = last.choice(len(shares), size, replace=False, p=shares).tolist()
    return rows
