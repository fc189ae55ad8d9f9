"""Policies that are a sort key: the idle run with the smallest key goes first."""

from __future__ import annotations

import heapq
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from sim.caches.eviction.base import Eviction, PolicySetting
from sim.caches.runs import Run

Entry = tuple[Any, int, int, Run]  # (key, -lo, serial number, run): equal keys go deep end first


class Keyed(Eviction):
    """Idle runs in a heap; O(log runs) per operation.

    A run's entry is its ``place``, kept while the run is held. Entries of runs that were taken or
    released again stay in the heap, stale, until they come up or outnumber the others.
    """

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        self.releases = 0
        """Releases so far; a key that ends in it prefers the least recently used."""
        self._heap: list[Entry] = []
        self._pushed = 0
        self._idle_runs = 0

    @abstractmethod
    def key(self, run: Run, request: int) -> Any:
        """The sort key of ``run``, which ``request`` releases now."""

    def release(self, run: Run, request: int) -> None:
        self.releases += 1
        self._idle_runs += 1
        self._push(run, self.key(run, request))

    def take(self, run: Run) -> None:
        self._idle_runs -= 1

    def split(self, run: Run, deep: Run) -> None:
        if run.place is not None:
            self._idle_runs += not run.refs
            self._push(deep, run.place[0], idle=not run.refs)

    def victim(self) -> Run:
        heap = self._heap
        while not _current(heap[0]):
            heapq.heappop(heap)
        return heap[0][3]

    def evict(self, run: Run, blocks: int) -> None:
        if blocks == run.hi - run.lo:
            self._idle_runs -= 1
            run.place = None

    def idle(self) -> Iterator[Run]:
        return (entry[3] for entry in self._heap if _current(entry))

    def check(self) -> None:
        super().check()
        assert self._idle_runs == sum(1 for _ in self.idle())
        assert all(entry[1] == -entry[3].lo for entry in self._heap)

    def _push(self, run: Run, key: Any, idle: bool = True) -> None:
        self._pushed += 1
        entry = run.place = (key, -run.lo, self._pushed, run)
        if not idle:
            return
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * self._idle_runs + 64:
            self._heap = [entry for entry in self._heap if _current(entry)]
            heapq.heapify(self._heap)


def _current(entry: Entry) -> bool:
    run = entry[3]
    return run.place is not None and run.place[2] == entry[2] and not run.refs
