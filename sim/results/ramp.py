"""From when on the sessions of a run are as far along as they ever are, but for a few turns.

A generated run starts empty: at time t after its start those turns are missing that would come later than t
after their session's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np

from sim.results import exact
from sim.results.records import Floats, Ints, Records
from sim.results.spread import Buckets, bucket_of
from workloads.trace import NONE, Trace

GRID = 64
"""A found window begins at one of so many equally spaced times."""
MISSING = 0.01
"""Of the prompt tokens that a window would hold had the run begun long before, so many may be missing."""


def firsts(trace: Trace) -> list[int]:
    """The first request of each session."""
    return [i for i, at in enumerate(trace.arrival_s) if at is not None]


def ages_s(trace: Trace, records: Records) -> Floats:
    """How long after the start of its session each request would arrive if none ever waited, s.

    The time that replies take counts, what requests wait for admission does not: in a system that is
    overloaded sessions go on for as long as the run is long.
    """
    service_s = np.nan_to_num(records.finished_s - records.scheduled_s).tolist()
    ages = np.zeros(len(trace))
    for first in firsts(trace):
        at, after = first, trace.follower[first]
        while after != NONE:
            ages[after] = ages[at] + service_s[at] + trace.think_s[after]
            at, after = after, trace.follower[after]
    return ages


class Ramp:
    """From when on to ``end_s`` few prompt tokens are missing, from pieces that are looked at twice.

    At time t after the start those turns are missing that would come later than t after their session's
    start: their sessions would have had to start before the run did. They count by their prompts, because
    late turns are few and long. Where too much is missing whatever the time, that is how long nearly all
    take to come.
    """

    def __init__(self, end_s: float) -> None:
        self._end_s = end_s
        self._grid = np.linspace(0, end_s, GRID, endpoint=False)
        self._tokens, self._waits = [0] * (GRID + 1), [0] * (GRID + 1)
        """Of what is as old as each time of the grid and younger than the next: prompt tokens, and the
        exact sum of these times their age. The last ones are of what is as old as ``end_s``."""
        self._ages = Buckets()
        self._wanted: tuple[int, int, int] | None = None
        self._kept: list[tuple[Floats, Ints]] = []

    def add(self, ages_s: Floats, tokens: Ints) -> None:
        """The first look at a piece: how old requests are, and their prompts."""
        place = np.searchsorted(self._grid, ages_s, side="right") - 1
        place[ages_s >= self._end_s] = GRID
        self._tokens = _plus(self._tokens, np.bincount(place, weights=tokens, minlength=GRID + 1).tolist())
        self._waits = _plus(self._waits, exact.totals(ages_s * tokens, place, GRID + 1))
        self._ages.add(bucket_of(ages_s), tokens)

    def merge(self, other: Ramp) -> None:
        """What ``other`` has seen the first time."""
        self._tokens = _plus(self._tokens, other._tokens)
        self._waits = _plus(self._waits, other._waits)
        self._ages.merge(other._ages)

    def starts_s(self) -> float | None:
        """The time of the grid from which on few tokens are missing; None if there is none."""
        tokens, end = sum(self._tokens), Fraction(self._end_s)
        late, found = self._tokens[GRID], None
        waits = late * end
        for start_s, more, waited in reversed(
            list(zip(self._grid.tolist(), self._tokens[:GRID], self._waits[:GRID], strict=True))
        ):
            late, waits = late + more, waits + Fraction(waited, exact.UNITS)
            start = Fraction(start_s)
            if waits - late * start <= Fraction(MISSING) * (end - start) * tokens:
                found = float(start_s)
        return found

    def settle(self) -> None:
        """All pieces have been seen once, and the age is wanted to which nearly all tokens come."""
        rank = ceil(sum(self._tokens) * (1 - MISSING)) - 1
        bucket, before = self._ages.find([rank])[rank]
        self._wanted = rank, bucket, before

    def look(self, ages_s: Floats, tokens: Ints) -> None:
        """The second look at a piece."""
        assert self._wanted is not None
        inside = bucket_of(ages_s) == self._wanted[1]
        self._kept.append((ages_s[inside], tokens[inside]))

    def nearly_all_s(self) -> float:
        """The age to which nearly all tokens come."""
        assert self._wanted is not None
        ages_s, tokens = (np.concatenate(column) for column in zip(*self._kept, strict=True))
        order = np.argsort(ages_s, kind="stable")
        rank, _, before = self._wanted
        upto = np.cumsum(tokens[order])
        return float(ages_s[order][np.searchsorted(upto, rank - before, side="right")])


def _plus(one: Sequence[float], other: Sequence[float]) -> list[int]:
    return [int(a) + int(b) for a, b in zip(one, other, strict=True)]


def run_ramp_s(trace: Trace, records: Records, end_s: float) -> float:
    """The ramp of a run that is in memory."""
    ages, ramp = ages_s(trace, records), Ramp(end_s)
    ramp.add(ages, records.input_tokens)
    if (start_s := ramp.starts_s()) is not None:
        return start_s
    ramp.settle()
    ramp.look(ages, records.input_tokens)
    return ramp.nearly_all_s()
