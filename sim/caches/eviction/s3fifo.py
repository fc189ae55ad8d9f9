"""S3-FIFO: a small queue sorts out what is used once before it reaches the main one."""

from __future__ import annotations

from collections.abc import Iterator

from sim.caches.eviction.base import Eviction, PolicySetting
from sim.caches.eviction.ghosts import Ghosts
from sim.caches.runs import Run, RunList

SMALL_PERCENT = 10
"""Share of the capacity that the small queue may fill before it is the one that evicts."""
MOST_HITS = 3
"""Hits of a run are counted up to here (two bits)."""
HITS_TO_STAY = 2
"""Hits in the small queue from which a run moves on instead of being evicted ("more than once")."""


class _Queue(RunList):
    """Runs in order of entry, held ones included, and the number of idle blocks among them."""

    blocks = 0

    def check(self) -> None:
        """Assert that the count is right."""
        assert self.blocks == sum(run.hi - run.lo for run in self if not run.refs)


class S3Fifo(Eviction):
    """Small and main queue, first in, first out, and ghosts of what the small one evicted.

    Source: J. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023. New runs enter
    the small queue, or the main one if their segment is among the ghosts. At the head of the small
    queue a run hit more than once moves to the main queue, its hits forgotten; others go and leave
    a ghost. At the head of the main queue a run with hits goes back to its end with one less. The
    small queue evicts if it holds 10 % of the capacity, the main one otherwise, and also when a run
    moving in makes it exceed 90 %. There are at most as many ghosts as blocks in those 90 %.

    Runs keep their place while they are held; a held one at a head goes to the end of its queue. A
    piece that is cut off stands right before its run. Amortised O(1), but for the held runs passed.
    """

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        self._small, self._main, self._ghosts = _Queue(), _Queue(), Ghosts()
        self._most_ghosts = setting.capacity_blocks * (100 - SMALL_PERCENT) // 100

    def release(self, run: Run, request: int) -> None:
        run.uses = min(run.uses, 1 + MOST_HITS)
        if run.place is None:
            run.place = self._main if self._ghosts.pop(run.node) else self._small
            run.place.append(run)
        run.place.blocks += run.hi - run.lo

    def take(self, run: Run) -> None:
        run.place.blocks -= run.hi - run.lo

    def split(self, run: Run, deep: Run) -> None:
        if run.place is not None:
            deep.place = run.place
            run.place.insert(deep, run)

    def victim(self) -> Run:
        small, main, capacity = self._small, self._main, self.setting.capacity_blocks
        while small.blocks and (100 * small.blocks >= SMALL_PERCENT * capacity or not main.blocks):
            run = _first_idle(small)
            if run.uses <= HITS_TO_STAY:
                return run
            size = run.hi - run.lo
            small.remove(run)
            small.blocks -= size
            main.append(run)
            main.blocks += size
            run.place, run.uses = main, 1
            if 100 * main.blocks > (100 - SMALL_PERCENT) * capacity:
                break
        while (run := _first_idle(main)).uses > 1:
            run.uses -= 1
            main.remove(run)
            main.append(run)
        return run

    def evict(self, run: Run, blocks: int) -> None:
        run.place.blocks -= blocks
        if run.place is self._small:
            self._ghosts.add(run.node, blocks)
            self._ghosts.shrink(self._most_ghosts)
        if blocks == run.hi - run.lo:
            run.place.remove(run)

    def idle(self) -> Iterator[Run]:
        return (run for queue in (self._small, self._main) for run in queue if not run.refs)

    def check(self) -> None:
        super().check()
        for part in (self._small, self._main, self._ghosts):
            part.check()
        assert self._ghosts.blocks <= self._most_ghosts


def _first_idle(queue: _Queue) -> Run:
    run = queue.oldest
    assert run is not None
    while run.refs:
        queue.remove(run)
        queue.append(run)
        run = queue.oldest
        assert run is not None
    return run
