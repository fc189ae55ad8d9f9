"""SIEVE: first in, first out, with a hand that spares what was used since it last came by."""

from __future__ import annotations

from collections.abc import Iterator

from sim.caches.eviction.base import Eviction, PolicySetting
from sim.caches.runs import Run, RunList


class Sieve(Eviction):
    """One list in order of first release; a hand moves from old to new and evicts the unvisited.

    Source: Y. Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024. A run is visited if it was hit since
    the hand passed it (``uses`` > 1; the hand sets it back to 1). Runs keep their place while they are
    held; the hand passes over held ones and leaves their mark. A piece that is cut off stands right
    before its run. Amortised O(1) per eviction, but for the held runs passed.
    """

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        self._runs = RunList()
        self._hand: Run | None = None  # None: at the old end

    def release(self, run: Run, request: int) -> None:
        if run.place is None:
            run.place = self._runs
            self._runs.append(run)

    def take(self, run: Run) -> None:
        """A held run keeps its place."""

    def split(self, run: Run, deep: Run) -> None:
        if run.place is not None:
            deep.place = run.place
            self._runs.insert(deep, run)
            if self._hand is run:
                self._hand = deep

    def victim(self) -> Run:
        run = self._hand or self._runs.oldest
        assert run is not None
        while run.refs or run.uses > 1:
            if not run.refs:
                run.uses = 1
            run = self._runs.after(run) or self._runs.oldest
            assert run is not None
        self._hand = run
        return run

    def evict(self, run: Run, blocks: int) -> None:
        if blocks == run.hi - run.lo:
            if self._hand is run:
                self._hand = self._runs.after(run)
            self._runs.remove(run)

    def idle(self) -> Iterator[Run]:
        return (run for run in self._runs if not run.refs)

    def check(self) -> None:
        super().check()
        assert self._hand is None or self._hand in list(self._runs)
