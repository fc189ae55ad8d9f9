"""Iterations as runs of equal ones, as a replica writes them down."""

from __future__ import annotations

from array import array
from struct import Struct

import numpy as np
from numpy.typing import NDArray

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

    @property
    def end_s(self) -> array[float]:
        """When the last iteration of each run ends."""
        return array("d", self._table["end_s"].tobytes())

    @property
    def first_s(self) -> array[float]:
        """Duration of the run's first iteration; each further one takes ``slope_s`` longer."""
        return array("d", self._table["first_s"].tobytes())

    @property
    def slope_s(self) -> array[float]:
        return array("d", self._table["slope_s"].tobytes())

    @property
    def iterations(self) -> array[int]:
        return array("q", self._table["iterations"].tobytes())

    @property
    def decodes(self) -> array[int]:
        return array("i", self._table["decodes"].tobytes())

    @property
    def first_tokens(self) -> array[int]:
        """Tokens that completed prefills gave at the end of the run."""
        return array("i", self._table["first_tokens"].tobytes())

    @property
    def _table(self) -> NDArray[np.void]:
        """A view, a field per column; nothing can be added while one exists."""
        return np.frombuffer(self._runs, RUN)

    def after(self, start_s: float) -> StepLog:
        """The iterations and gaps that end after ``start_s``."""
        out = StepLog()
        for end, first, slope, iterations, decodes, first_tokens in self._table.tolist():
            if end <= start_s:
                continue
            before, at = 0, end - (first * iterations + slope * (iterations * (iterations - 1) // 2))
            while at + first + slope * before <= start_s:
                at += first + slope * before
                before += 1
            out.add(end, first + slope * before, slope, iterations - before, decodes, first_tokens)
        for end, gap in zip(self.gaps_end_s, self.gaps_s, strict=True):
            if end > start_s:
                out.add_gap(end, gap)
        return out

    @property
    def busy_s(self) -> float:
        """Time in iterations, s."""
        runs = self._table
        n = runs["iterations"]
        return float((runs["first_s"] * n + runs["slope_s"] * (n * (n - 1) // 2)).sum())
