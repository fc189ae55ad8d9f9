"""Statistics of the gaps between tokens without a list of all gaps."""

from __future__ import annotations

import numpy as np

from sim.results.records import Floats
from sim.results.step_log import StepLog


class TokenGaps:
    """All gaps between consecutive tokens of a request, over all requests and replicas, in s.

    A run of n iterations of a batch of d decodes contributes each of its n durations d times; the
    durations form an arithmetic progression. Moments follow in closed form. Order statistics are
    found by bisection on the value: the number of gaps up to x is a sum over runs.
    """

    def __init__(self, steps: list[StepLog]) -> None:
        def column(name: str) -> np.ndarray:
            return np.concatenate([np.array(getattr(log, name), float) for log in steps] or [np.zeros(0)])

        first, slope = column("first_s"), column("slope_s")
        n, weight = column("iterations"), column("decodes")
        odd = np.array([gap for log in steps for gap in log.gaps_s], float)
        ones = np.ones(len(odd))
        used = weight > 0
        self._first = np.concatenate([first[used], odd])
        self._slope = np.concatenate([slope[used], 0 * odd])
        self._n = np.concatenate([n[used], ones])
        self._weight = np.concatenate([weight[used], ones])
        self.count = int((self._n * self._weight).sum())

    @property
    def mean(self) -> float:
        a, d, n = self._first, self._slope, self._n
        sums = a * n + d * n * (n - 1) / 2
        return float((sums * self._weight).sum() / self.count)

    @property
    def std(self) -> float:
        """Population standard deviation, summed around the mean."""
        a, d, n = self._first - self.mean, self._slope, self._n
        squares = n * a**2 + a * d * n * (n - 1) + d**2 * (n - 1) * n * (2 * n - 1) / 6
        return float(np.sqrt(max(0.0, (squares * self._weight).sum()) / self.count))

    def percentile(self, p: float) -> float:
        """Linear between order statistics, as numpy's default."""
        rank = p / 100 * (self.count - 1)
        low = int(rank)
        value = self._order_statistic(low)
        if rank > low and self._count_up_to(value) <= low + 1:
            value += (self._order_statistic(low + 1) - value) * (rank - low)
        return value

    def _order_statistic(self, rank: int) -> float:
        """The ``rank``-th smallest gap, counted from 0, to the last bit or two.

        Runs that lie wholly below or above what is still possible are counted once and then left out.
        """
        low, high = 0.0, float((self._first + self._slope * (self._n - 1)).max())
        first, slope, n, weight, below = self._first, self._slope, self._n, self._weight, 0
        while True:
            middle = (low + high) / 2
            if not low < middle < high:
                return high
            up_to = _gaps_up_to(middle, first, slope, n)
            if below + int((up_to * weight).sum()) > rank:
                high = middle
                undecided = first <= high
            else:
                low = middle
                undecided = up_to < n
            if 2 * np.count_nonzero(undecided) < len(undecided):
                below += int((up_to * weight)[~undecided].sum())
                first, slope, n, weight = (column[undecided] for column in (first, slope, n, weight))

    def _count_up_to(self, x: float) -> int:
        return int((_gaps_up_to(x, self._first, self._slope, self._n) * self._weight).sum())


def _gaps_up_to(x: float, first: Floats, slope: Floats, n: Floats) -> Floats:
    """How many of each run's ``n`` gaps, of ``first`` s and then ``slope`` longer each, are up to ``x``."""
    above = x - first
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(slope > 0, np.floor(above / slope) + 1, n)
    counts: Floats = np.where(above >= 0, np.minimum(steps, n), 0.0)
    return counts
