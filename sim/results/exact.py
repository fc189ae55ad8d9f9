"""Sums of floats that do not depend on their order: exact, and rounded once at the end.

A float is a whole multiple of 2**-1074, so a sum of floats is a whole number of those. Parts of a run can
be added up in any order, in any number of processes, with the same last digit:

>>> total([0.1] * 10) == total([0.1] * 3) + total([0.1] * 7)
True
>>> mean(total([0.1, 0.2, 0.3]), 3)
0.2
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

UNITS = 1 << 1074
"""In one."""
HALF = 26
"""Bits of the lower part of a mantissa."""
MOST = 1 << 25
"""Values that are added at a time: their upper parts, of 27 bits, then add up exactly as floats too."""


def total(values: NDArray[np.float64] | Sequence[float]) -> int:
    """The sum in units of 2**-1074. O(values)."""
    return totals(np.asarray(values, np.float64), None, 1)[0]


def totals(values: NDArray[np.float64], group: NDArray[np.int64] | None, groups: int) -> list[int]:
    """The sum of each group's values; ``group`` is from 0, one per value (None: all are of group 0)."""
    out = [0] * groups
    for first in range(0, len(values), MOST):
        these = slice(first, first + MOST)
        _add(out, values[these], None if group is None else group[these])
    return out


def _add(out: list[int], values: NDArray[np.float64], group: NDArray[np.int64] | None) -> None:
    mantissa, exponent = np.frexp(values)
    whole = np.ldexp(mantissa, 53).astype(np.int64)  # value = whole * 2 ** (exponent - 53)
    lowest = int(exponent.min())
    place = exponent.astype(np.int64) - lowest
    width = int(place.max()) + 1
    if group is not None:
        place += group * width
    upper = np.bincount(place, weights=whole >> HALF, minlength=1)
    lower = np.bincount(place, weights=whole & ((1 << HALF) - 1), minlength=1)
    for at in np.flatnonzero((upper != 0) | (lower != 0)).tolist():
        amount = (int(upper[at]) << HALF) + int(lower[at])
        shift = lowest + at % width - 53 + 1074
        out[at // width] += amount << shift if shift >= 0 else amount >> -shift


def mean(units: int, count: int) -> float:
    """The nearest float to a sum divided by ``count``."""
    return float(Fraction(units, UNITS * count))


def value(units: int) -> float:
    """The nearest float to a sum."""
    return float(Fraction(units, UNITS))
