"""Mean, deviation and percentiles of a column of which no more than a piece is in memory at a time.

All pieces are looked at twice. The first time counts values by buckets, which are narrow (of floats that
share their first bits), and adds them up exactly. Then it is known in which buckets the values lie that
percentiles need, and the second time keeps these, and adds up squares around the mean. Both are sums of
whole numbers, so the figures do not depend on the pieces.

    a million values: p99 lies between number 989,999 and 990,000 of them in ascending order; the counts say
    that bucket 1,092,313 has the values from number 989,412 on: 1,030 values are kept, and sorted
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sim.results import exact

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Kept = TypeVar("Kept")
"""What of a piece has the values that percentiles need."""
BITS = 44
"""Bits of a float that its bucket leaves out: 256 buckets for values up to twice as large."""
MOST_LISTS = 8
"""Lists of counts that are kept before they are added up."""


class Buckets:
    """Counts by bucket."""

    def __init__(self) -> None:
        self._names: list[Ints] = []
        self._counts: list[Ints] = []

    def add(self, names: Ints, counts: Ints) -> None:
        """So many more in each; a bucket may be named several times."""
        if not len(names):
            return
        lowest = int(names.min())
        # Counts are below 2**53, so that they add up exactly as floats.
        summed = np.bincount(names - lowest, weights=counts).astype(np.int64)
        used = np.flatnonzero(summed)
        self._names.append(used + lowest)
        self._counts.append(summed[used])

    def merge(self, other: Buckets) -> None:
        """Those of ``other`` too."""
        self._names += other._names
        self._counts += other._counts
        if len(self._names) > MOST_LISTS:
            names, counts = self._summed()
            self._names, self._counts = [names], [counts]

    def _summed(self) -> tuple[Ints, Ints]:
        """The buckets in ascending order, each once, and their counts."""
        none = [np.zeros(0, np.int64)]
        names, where = np.unique(np.concatenate(self._names or none), return_inverse=True)
        weights = np.concatenate(self._counts or none)
        return names, np.bincount(where, weights=weights, minlength=len(names)).astype(np.int64)

    @property
    def highest(self) -> int | None:
        """The largest count; None if there is none."""
        _, counts = self._summed()
        return int(counts.max()) if len(counts) else None

    @property
    def highest_sum(self) -> int | None:
        """The largest sum of the counts up to some bucket; None if there are none."""
        _, counts = self._summed()
        return int(np.cumsum(counts).max()) if len(counts) else None

    def find(self, ranks: Sequence[int]) -> dict[int, tuple[int, int]]:
        """For each rank, from 0, its bucket and how many are in lower ones."""
        names, counts = self._summed()
        upto = np.cumsum(counts).tolist()
        out = {}
        for rank in ranks:
            at = bisect_right(upto, rank)
            out[rank] = int(names[at]), upto[at - 1] if at else 0
        return out


def ranks_of(count: int, percents: Sequence[float]) -> list[int]:
    """The places, in ascending order from 0, of the values that linear percentiles lie between."""
    if not count:
        return []
    lower = [int(p / 100 * (count - 1)) for p in percents]
    middle = [(count - 1) // 2, count // 2]
    return sorted({*lower, *(min(rank + 1, count - 1) for rank in lower), *middle})


def percentile(ordered: dict[int, float], count: int, percent: float) -> float:
    """Linear between two values of ``ordered``, as numpy's default."""
    place = (count - 1) * (percent / 100)
    low = int(place)
    below, above, share = ordered[low], ordered[min(low + 1, count - 1)], place - low
    step = above - below
    return above - step * (1 - share) if share >= 0.5 else below + step * share


def median(ordered: dict[int, float], count: int) -> float:
    """The value in the middle, or the mean of the two there."""
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


class Looked(ABC, Generic[Kept]):
    """What is known of values whose pieces are looked at twice, whatever they come as."""

    def __init__(self, percents: Sequence[float]) -> None:
        self.count = 0
        self._percents = percents
        self._sum = 0
        self._squares = 0
        self._buckets = Buckets()
        self._wanted: dict[int, tuple[int, int]] = {}
        self._kept: list[Kept] = []

    def merge(self, other: Self) -> None:
        """What ``other`` has seen the first time."""
        self.count += other.count
        self._sum += other._sum
        self._buckets.merge(other._buckets)

    def settle(self) -> None:
        """All pieces have been seen once."""
        if self.count:
            self._wanted = self._buckets.find(ranks_of(self.count, self._percents))

    def bare(self) -> Self:
        """What the second look at a piece needs to know."""
        out = type(self)(self._percents)
        out.count, out._sum, out._wanted = self.count, self._sum, self._wanted
        return out

    def merge_second(self, other: Self) -> None:
        """What ``other`` has seen the second time."""
        self._squares += other._squares
        self._kept += other._kept

    @property
    def mean(self) -> float:
        """The nearest float to it."""
        return exact.mean(self._sum, self.count)

    @property
    def std(self) -> float:
        """Of the population, summed around the mean."""
        return float(np.sqrt(max(0.0, exact.mean(self._squares, self.count))))

    @abstractmethod
    def ordered(self) -> dict[int, float]:
        """The values at the ranks that percentiles need."""

    def percentiles(self) -> list[float]:
        """Those that were asked for."""
        ordered = self.ordered()
        return [percentile(ordered, self.count, p) for p in self._percents]


class Spread(Looked[tuple[Floats, Ints]]):
    """Of single values, NaN left out."""

    def add(self, values: Floats) -> None:
        """The first look at a piece."""
        values = values[~np.isnan(values)]
        if len(values):
            self.count += len(values)
            self._sum += exact.total(values)
            self._buckets.add(bucket_of(values), np.ones(len(values), np.int64))

    def look(self, values: Floats) -> None:
        """The second look at a piece."""
        values = values[~np.isnan(values)]
        if len(values):
            off = values - self.mean
            self._squares += exact.total(off * off)
            names = np.array(sorted({bucket for bucket, _ in self._wanted.values()}))
            found = bucket_of(values)
            place = np.minimum(np.searchsorted(names, found), len(names) - 1)
            self._kept.append(np.unique(values[names[place] == found], return_counts=True))

    def ordered(self) -> dict[int, float]:
        """The values at the ranks that percentiles need."""
        values = np.concatenate([values for values, _ in self._kept])
        counts = np.concatenate([counts for _, counts in self._kept])
        order = np.argsort(values, kind="stable")
        values, counts = values[order], counts[order]
        names = bucket_of(values)
        out = {}
        for rank, (bucket, before) in self._wanted.items():
            first, last = np.searchsorted(names, [bucket, bucket + 1])
            upto = np.cumsum(counts[first:last])
            out[rank] = float(values[first + int(np.searchsorted(upto, rank - before, side="right"))])
        return out


def _keys(values: Floats) -> Ints:
    """Whole numbers in the order of ``values``: of floats above 0 these are their bits."""
    bits = np.ascontiguousarray(values).view(np.int64)
    keys: Ints = np.where(bits >= 0, bits, np.iinfo(np.int64).min - bits)
    return keys


def bucket_of(values: Floats) -> Ints:
    """The bucket of each value, which has the values that agree in all but ``BITS`` bits."""
    return _keys(values) >> BITS


def tops(buckets: Ints) -> Floats:
    """The largest value of each bucket of values above 0."""
    found: Floats = (((buckets + 1) << BITS) - 1).view(np.float64)
    return found
