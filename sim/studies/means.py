"""Means over seeds with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.results.intervals import half_width


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean, and the half width of its interval; None for one value, which has no spread."""

    value: float
    half: float | None


def mean(values: Sequence[float | None]) -> Mean | None:
    """The mean of a figure over seeds with Student's t interval; None if any seed has no such figure.

    >>> found = mean([1.0, 2.0, 3.0])
    >>> found.value, round(found.half, 6)
    (2.0, 2.484138)
    >>> mean([5.0])
    Mean(value=5.0, half=None)
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    return Mean(sum(known) / len(known), half_width(known) if len(known) > 1 else None)
