"""The highest rate at which enough is good, by doubling or halving and then bisection."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

MOST_DOUBLINGS = 14
"""How far to look from where the search begins: a factor of 16,384 either way."""
AROUND = (0.5, 0.75, 1.25, 1.5, 2.0)
"""Multiples of the rate found that are sampled too, to see whether the share falls beyond the bracket."""
COARSEST = 0.2
"""Largest precision: the rates above lie outside of what it leaves open."""
FINEST = 1e-6
"""Smallest precision: between neighbouring floats a bisection would never end."""


class Verdict(StrEnum):
    """What a run at a rate shows."""

    GOOD = "good"
    """Enough requests are good."""
    BAD = "bad"
    """Too few are, or the system is overloaded."""
    UNKNOWN = "unknown"
    """The run has no steady state that would tell."""


class Judged(NamedTuple):
    """A rate that was tried."""

    verdict: Verdict
    share: float | None
    """Of good requests; None where it is not that of a steady state."""


class Outcome(StrEnum):
    """What a search came to."""

    FOUND = "found"
    UNBOUNDED = "unbounded"
    """Enough is good at every rate up to the highest one tried."""
    NONE = "none"
    """Too little is good even at the lowest rate tried."""
    REFUSED = "refused"
    """Nothing is known of the rates above the highest good one, or of all."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was found, and every rate tried, ascending."""

    outcome: Outcome
    rate: float | None
    """The highest good rate before a bad one; None unless ``found``."""
    tried: dict[float, Judged]
    above: float | None = None
    """What the search ended at: the rate tried next above the highest good one, or the lowest of all."""

    @property
    def shares(self) -> dict[float, float]:
        """The share of good requests by rate, where it is that of a steady state."""
        return {rate: judged.share for rate, judged in self.tried.items() if judged.share is not None}

    @property
    def largest_rise(self) -> tuple[float, float] | None:
        """The neighbouring rates between which the share rises most; None if it never rises."""
        pairs = itertools.pairwise(self.shares.items())
        rises = [(above - below, low, high) for (low, below), (high, above) in pairs]
        rise, low, high = max(rises, default=(0.0, 0.0, 0.0))
        return (low, high) if rise > 0 else None

    @property
    def contradictions(self) -> list[float]:
        """Rates tried on the wrong side: good above the rate found, or bad below it."""
        if self.rate is None:
            return []
        wrong = {True: Verdict.BAD, False: Verdict.GOOD}
        return [rate for rate, judged in self.tried.items() if judged.verdict is wrong[rate <= self.rate]]


def search(judged_at: Callable[[float], Judged], start: float, precision: float) -> Search:
    """The highest good rate, to a relative ``precision`` from FINEST to COARSEST.

    Supposes that rates are good up to the one sought and bad beyond. Where they are not, the rate found is
    still good and one at most ``precision`` higher is bad, and the result says what speaks against the
    supposition. If that higher one is unknown instead, so is the rate sought: ``refused``.
    """
    tried: dict[float, Judged] = {}

    def good(rate: float) -> bool:
        if rate not in tried:
            tried[rate] = judged_at(rate)
        return tried[rate].verdict is Verdict.GOOD

    def ended(outcome: Outcome, rate: float | None = None, above: float | None = None) -> Search:
        if above is not None and tried[above].verdict is Verdict.UNKNOWN:
            outcome, rate = Outcome.REFUSED, None
        return Search(outcome, rate, dict(sorted(tried.items())), above)

    low, high = start, start
    for _ in range(MOST_DOUBLINGS):
        if not good(high):
            break
        low, high = high, 2 * high
    else:
        if good(high):
            return ended(Outcome.UNBOUNDED)
    for _ in range(MOST_DOUBLINGS):
        if good(low):
            break
        low, high = low / 2, low
    else:
        if not good(low):
            return ended(Outcome.NONE, above=low)
    while high > low * (1 + precision):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if good(middle) else (low, middle)
    found = ended(Outcome.FOUND, low, high)
    if found.outcome is Outcome.REFUSED:
        return found
    for factor in AROUND:
        good(low * factor)
    return ended(Outcome.FOUND, low, high)
