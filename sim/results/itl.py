"""Statistics of the gaps between tokens without a list of all gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sim.results import exact
from sim.results.spread import BITS, Floats, Ints, Looked, bucket_of, tops
from sim.results.step_log import StepLog

PORTION = 1 << 18
"""Runs that are looked at together."""


class _Runs(NamedTuple):
    """Gaps as arithmetic progressions, a column each: a run of n iterations of a batch of w decodes
    contributes each of its n durations w times."""

    first: Floats
    slope: Floats
    n: Floats
    weight: Floats

    @classmethod
    def of(cls, logs: Sequence[StepLog]) -> _Runs:
        """The runs of ``logs`` that some request waited for; an odd gap is a run of one."""
        tables = [log.table for log in logs]
        odd = np.array([gap for log in logs for gap in log.gaps_s], float)
        used = [table["decodes"] > 0 for table in tables]

        def column(name: str) -> list[Floats]:
            return [table[name][keep].astype(float) for table, keep in zip(tables, used, strict=True)]

        ones = np.ones(len(odd))
        return cls(
            np.concatenate([*column("first_s"), odd]),
            np.concatenate([*column("slope_s"), 0 * odd]),
            np.concatenate([*column("iterations"), ones]),
            np.concatenate([*column("decodes"), ones]),
        )

    def chosen(self, which: Ints | np.ndarray) -> _Runs:
        return _Runs(*(column[which] for column in self))

    @property
    def lowest(self) -> Ints:
        """The bucket of the first gap of each run."""
        return bucket_of(self.first)

    @property
    def highest(self) -> Ints:
        """The bucket of the last one."""
        return bucket_of(self.first + self.slope * (self.n - 1))

    def upto(self, value: Floats | float) -> Floats:
        """How many gaps of each run are at most ``value``."""
        above = value - self.first
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(self.slope > 0, np.floor(above / self.slope) + 1, self.n)
        found: Floats = np.where(above >= 0, np.minimum(steps, self.n), 0.0)
        return found


class Gaps(Looked[_Runs]):
    """All gaps between consecutive tokens of a request, over all requests and replicas, in s.

    As a `Spread` they are looked at twice, a piece at a time. Moments follow in closed form. Order
    statistics are found by bisection on the value within a bucket: the number of gaps up to x is a sum over
    runs.
    """

    def add(self, logs: Sequence[StepLog]) -> None:
        """The first look at a piece."""
        for some in _portions(logs):
            self._add(_Runs.of(some))

    def _add(self, runs: _Runs) -> None:
        if not len(runs.n):
            return
        a, d, n, weight = runs
        self.count += int((n * weight).sum())  # whole numbers
        self._sum += exact.total((a * n + d * n * (n - 1) / 2) * weight)
        low, high = runs.lowest, runs.highest
        short = low == high
        self._buckets.add(low[short], (n * weight)[short].astype(np.int64))
        self._spanning(runs.chosen(~short), low[~short], high[~short])

    def _spanning(self, runs: _Runs, low: Ints, high: Ints) -> None:
        """Count runs that go through several buckets."""
        if not len(low):
            return
        spans = high - low + 1
        which = np.repeat(np.arange(len(low)), spans)
        begins = np.cumsum(spans) - spans
        buckets = low[which] + np.arange(len(which)) - begins[which]
        each = runs.chosen(which)
        upto = each.upto(tops(buckets))
        upto[begins + spans - 1] = runs.n  # whatever the rounding of the last gap
        given = np.diff(upto, prepend=0.0)
        given[begins] = upto[begins]
        self._buckets.add(buckets, (given * each.weight).astype(np.int64))

    def look(self, logs: Sequence[StepLog]) -> None:
        """The second look at a piece."""
        for some in _portions(logs):
            self._look(_Runs.of(some))

    def _look(self, runs: _Runs) -> None:
        if not len(runs.n):
            return
        a, d, n, weight = runs.first - self.mean, runs.slope, runs.n, runs.weight
        squares = n * a**2 + a * d * n * (n - 1) + d**2 * (n - 1) * n * (2 * n - 1) / 6
        self._squares += exact.total(squares * weight)
        low, high = runs.lowest, runs.highest
        through = np.zeros(len(runs.n), bool)
        for bucket in {bucket for bucket, _ in self._wanted.values()}:
            through |= (low <= bucket) & (high >= bucket)
        self._kept.append(runs.chosen(through))

    def ordered(self) -> dict[int, float]:
        """The gaps at the ranks that percentiles need, to the last bit or two."""
        kept = _Runs(*(np.concatenate(column) for column in zip(*self._kept, strict=True)))
        low, high = kept.lowest, kept.highest
        return {
            rank: _find(kept.chosen((low <= bucket) & (high >= bucket)), bucket, rank - before)
            for rank, (bucket, before) in self._wanted.items()
        }


def _portions(logs: Sequence[StepLog]) -> Iterator[list[StepLog]]:
    """``logs`` in their order, as many at a time as have ``PORTION`` runs: each needs its own memory."""
    some: list[StepLog] = []
    count = 0
    for log in logs:
        some.append(log)
        count += len(log)
        if count >= PORTION:
            yield some
            some, count = [], 0
    if some:
        yield some


def _find(runs: _Runs, bucket: int, rank: int) -> float:
    """The gap at ``rank``, counted from 0, of those of ``runs`` that lie in ``bucket``."""
    below = np.where(runs.lowest < bucket, runs.upto(float(tops(np.array([bucket - 1]))[0])), 0.0)
    # Floats above 0 are in the order of their bits.
    low, high = (bucket << BITS) - 1, ((bucket + 1) << BITS) - 1
    while high - low > 1:
        middle = (low + high) // 2
        value = float(np.array(middle).view(np.float64))
        if int(((runs.upto(value) - below) * runs.weight).sum()) > rank:
            high = middle
        else:
            low = middle
    return float(np.array(high).view(np.float64))


def gaps_of(logs: Sequence[StepLog], percents: Sequence[float] = ()) -> Gaps:
    """The gaps of logs that are all in memory."""
    gaps = Gaps(percents)
    gaps.add(logs)
    gaps.settle()
    gaps.look(logs)
    return gaps
