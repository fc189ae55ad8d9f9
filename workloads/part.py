"""What a part of a trace knows of the whole: which of its requests it has."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keep = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
"""Says of session numbers which belong to a part."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some requests of a trace, in their order."""

    numbers: array[int]
    """The place of each in the whole trace."""
    requests: int
    """How many the whole trace has."""
    starts: int
    """How many of those come at a time of their own."""
    last_start_s: float
    """When the last of these comes."""
