"""The highest rate at which enough is good, by doubling or halving and then bisection."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

MOST_DOUBLINGS = 14
"""How far to look from where the search begins: a factor of 16,384 either way."""
AROUND = (0.5, 0.75, 1.25, 1.5, 2.0)
"""Multiples of the rate found that are sampled too, to see whether the share falls beyond the bracket."""
COARSEST = 0.2
"""Largest precision: the rates above lie outside of what it leaves open."""
FINEST = 1e-6
"""Smallest precision: between neighbouring floats a bisection would never end."""


class Outcome(StrEnum):
    """What a search came to."""

    FOUND = "found"
    UNBOUNDED = "unbounded"
    """Enough is good at every rate up to the highest one tried."""
    NONE = "none"
    """Too little is good even at the lowest rate tried."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was found, and the share of good ones at every rate tried, by rate."""

    outcome: Outcome
    rate: float | None
    """The highest rate that was enough before one that was not; None unless ``found``."""
    wanted: float
    shares: dict[float, float]

    @property
    def largest_rise(self) -> tuple[float, float] | None:
        """The neighbouring rates between which the share rises most; None if it never rises."""
        pairs = itertools.pairwise(self.shares.items())
        rises = [(above - below, low, high) for (low, below), (high, above) in pairs]
        rise, low, high = max(rises, default=(0.0, 0.0, 0.0))
        return (low, high) if rise > 0 else None

    @property
    def contradictions(self) -> list[float]:
        """Rates tried on the wrong side: enough above the rate found, or too little below it."""
        if self.rate is None:
            return []
        kept, highest = self.wanted, self.rate
        return [rate for rate, share in self.shares.items() if (share >= kept) != (rate <= highest)]


def search(share_at: Callable[[float], float], start: float, wanted: float, precision: float) -> Search:
    """The highest rate with ``share_at(rate) >= wanted``, to a relative ``precision``, FINEST to COARSEST.

    Supposes that the share falls with the rate. Where it does not, the rate found is still enough and one
    at most ``precision`` higher is not, and the result says what speaks against the supposition.
    """
    shares: dict[float, float] = {}

    def enough(rate: float) -> bool:
        if rate not in shares:
            shares[rate] = share_at(rate)
        return shares[rate] >= wanted

    def found(outcome: Outcome, rate: float | None = None) -> Search:
        return Search(outcome, rate, wanted, dict(sorted(shares.items())))

    low, high = start, start
    for _ in range(MOST_DOUBLINGS):
        if not enough(high):
            break
        low, high = high, 2 * high
    else:
        if enough(high):
            return found(Outcome.UNBOUNDED)
    for _ in range(MOST_DOUBLINGS):
        if enough(low):
            break
        low, high = low / 2, low
    else:
        if not enough(low):
            return found(Outcome.NONE)
    while high > low * (1 + precision):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    for factor in AROUND:
        enough(low * factor)
    return found(Outcome.FOUND, low)
