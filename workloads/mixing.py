"""Well mixed bits of a number, the same everywhere and always."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mix(value: int) -> int:
    """SplitMix64's finaliser: 64 well mixed bits that do not depend on Python's hash seed."""
    mask = (1 << 64) - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def mixed(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """`mix` of each.

    >>> mixed(np.array([7, -8])).tolist() == [mix(7), mix(-8)]
    True
    """
    bits = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
