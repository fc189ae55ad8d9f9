"""Iterations as runs of equal ones, as a replica writes them down."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from sim.results.window import Window

RUN = np.dtype(
    [("end_s", "f8"), ("first_s", "f8"), ("slope_s", "f8"), ("iterations", "i8"), ("decodes", "i4"),
     ("first_tokens", "i4")]
)  # fmt: skip
"""A run of iterations in a `StepLog`."""
_packed = Struct("=dddqii").pack


class StepLog:
    """Iterations as runs (``iterations`` equal batches of ``decodes`` decodes) and irregular gaps.

    A run is 40 bytes at the end of one buffer: a run of a million requests has four million of them, and
    writes one at every event.
    """

    __slots__ = ("_runs", "gaps_end_s", "gaps_s")

    def __init__(self) -> None:
        self._runs = bytearray()
        self.gaps_s: list[float] = []
        """Gaps between a request's tokens across a preemption."""
        self.gaps_end_s: list[float] = []

    def add(
        self,
        end: float,
        first: float,
        slope: float,
        iterations: int,
        decodes: int,
        first_tokens: int,
    ) -> None:
        self._runs += _packed(end, first, slope, iterations, decodes, first_tokens)

    def add_gap(self, end: float, gap: float) -> None:
        self.gaps_end_s.append(end)
        self.gaps_s.append(gap)

    def __len__(self) -> int:
        return len(self._runs) // RUN.itemsize

    @property
    def end_s(self) -> array[float]:
        """When the last iteration of each run ends."""
        return array("d", self.table["end_s"].tobytes())

    @property
    def first_s(self) -> array[float]:
        """Duration of the run's first iteration; each further one takes ``slope_s`` longer."""
        return array("d", self.table["first_s"].tobytes())

    @property
    def slope_s(self) -> array[float]:
        return array("d", self.table["slope_s"].tobytes())

    @property
    def iterations(self) -> array[int]:
        return array("q", self.table["iterations"].tobytes())

    @property
    def decodes(self) -> array[int]:
        return array("i", self.table["decodes"].tobytes())

    @property
    def first_tokens(self) -> array[int]:
        """Tokens that completed prefills gave at the end of the run."""
        return array("i", self.table["first_tokens"].tobytes())

    @property
    def table(self) -> NDArray[np.void]:
        """A view, a field per column; nothing can be added while one exists."""
        return np.frombuffer(self._runs, RUN)

    def within(self, window: Window) -> StepLog:
        """The iterations and gaps that end in ``window``; a run of iterations is cut at its edges."""
        start_s, end_s = window.start_s, window.end_s
        runs = self.table
        ends = runs["end_s"]
        # They follow each other, so the last one of the window is the first that ends with it or later.
        runs = runs[bisect_right(ends, start_s) : bisect_left(ends, end_s) + 1].copy()
        n = runs["iterations"]
        begin = runs["end_s"] - (runs["first_s"] * n + runs["slope_s"] * (n * (n - 1) // 2))
        for i in np.flatnonzero((begin < start_s) | (runs["end_s"] > end_s)).tolist():
            end, first, slope, iterations, decodes, tokens = runs[i].tolist()
            skipped, at = 0, float(begin[i])
            while at + first + slope * skipped <= start_s:
                at += first + slope * skipped
                skipped += 1
            done = skipped
            while done < iterations and at + first + slope * done <= end_s:
                at += first + slope * done
                done += 1
            if done < iterations:  # its last iteration, with which prompts are complete, is left out
                tokens, end = 0, at
            runs[i] = (end, first + slope * skipped, slope, done - skipped, decodes, tokens)
        out = StepLog()
        kept = runs["iterations"] > 0
        out._runs += runs.data if kept.all() else runs[kept].data
        for gap_end, gap in zip(self.gaps_end_s, self.gaps_s, strict=True):
            if start_s < gap_end <= end_s:
                out.add_gap(gap_end, gap)
        return out

    @property
    def busy_s(self) -> float:
        """Time in iterations, s."""
        runs = self.table
        n = runs["iterations"]
        return float((runs["first_s"] * n + runs["slope_s"] * (n * (n - 1) // 2)).sum())
