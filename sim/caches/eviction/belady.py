"""The offline optimum, a bound for all others."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

from sim.caches.eviction.base import PolicySetting
from sim.caches.eviction.future import NEVER
from sim.caches.eviction.keyed import Keyed
from sim.caches.runs import Run


class Belady(Keyed):
    """The run whose next use lies farthest in the future goes first; what is never used again is farthest.

    Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems
    Journal 5(2), 1966. For ids in access counting no policy has more hits. For blocks it is a yardstick
    and no proven bound: held blocks cannot go, and a lookup also needs all blocks before. Only a
    replay knows the future.
    """

    needs_future = True

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        assert setting.future is not None
        self._future = setting.future
        self._due: dict[int, list[Run]] = {}  # rank -> runs that are to be used then
        self._ranks: list[int] = []  # those ranks, as a heap
        self._deepest: dict[int, int] = {}  # rank -> the largest ``lo`` of those

    def release(self, run: Run, request: int) -> None:
        rank = self._future.rank(request)
        if run.hi > self._deepest.get(rank, run.hi):
            rank += 1  # blocks are released tail first, ids used head first: all are found or missed
        while self._ranks and self._ranks[0] < rank:
            # What a request wanted but did not reach (a block before it was missing) waits for the next.
            passed = heappop(self._ranks)
            for missed in self._due.pop(passed):
                idle = missed.place is not None and not missed.refs and missed is not run
                if idle and missed.place[0] == -passed:
                    self._push(missed, self.key(missed, request))
            del self._deepest[passed]
        super().release(run, request)

    def key(self, run: Run, request: int) -> Any:
        rank = self._future.after(run.node, request)
        self._expect(run, rank)
        return -rank

    def split(self, run: Run, deep: Run) -> None:
        super().split(run, deep)
        if deep.place is not None:
            self._expect(deep, -deep.place[0])

    def _expect(self, run: Run, rank: int) -> None:
        if rank < NEVER:
            if rank not in self._due:
                self._due[rank] = []
                heappush(self._ranks, rank)
            self._due[rank].append(run)
            self._deepest[rank] = max(run.lo, self._deepest.get(rank, 0))
