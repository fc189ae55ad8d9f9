"""ARC: one list for what was used once, one for the rest, and a border that adapts."""

from __future__ import annotations

from collections.abc import Iterator

from sim.caches.eviction.base import Eviction, PolicySetting
from sim.caches.eviction.ghosts import Ghosts
from sim.caches.runs import Run, RunList


class _Part(RunList):
    """Idle runs, least recently used first, and ghosts of those that were evicted from here."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = 0
        self.ghosts = Ghosts()

    def check(self) -> None:
        """Assert that the counts are right."""
        assert self.blocks == sum(run.hi - run.lo for run in self)
        self.ghosts.check()


class Arc(Eviction):
    """Adaptive replacement: T1 holds runs used once, T2 runs used again; each evicts its oldest.

    Source: N. Megiddo, D. Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003
    (figure 4). ``target`` is p there, the size that T1 should have: it grows when content returns that
    T1 evicted (ghosts B1) and shrinks when content returns that T2 evicted (B2), by the ratio of
    the two or at least 1 per block. T1 and B1 remember at most the capacity, all four twice that.

    Sizes count idle blocks. A cache of blocks knows what returns only when it is released for the first
    time, when its room is made already: the target then moves one step late. A piece that is cut off
    stands right before its run. O(1) per operation.
    """

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        self.target = 0.0
        self._once, self._again = _Part(), _Part()
        self._missed: int | None = None  # the segment that gets room now
        self._returns: _Part | None = None  # the part that evicted it

    def miss(self, segment: int) -> None:
        once, again = self._once.ghosts, self._again.ghosts
        sizes = once.blocks, again.blocks
        self._missed, self._returns = segment, None
        if blocks := once.pop(segment):
            self._returns = self._once
            grown = self.target + blocks * max(1.0, sizes[1] / sizes[0])
            self.target = min(grown, float(self.setting.capacity_blocks))
        elif blocks := again.pop(segment):
            self._returns = self._again
            self.target = max(self.target - blocks * max(1.0, sizes[0] / sizes[1]), 0.0)

    def release(self, run: Run, request: int) -> None:
        if run.place is None:
            if self._missed != run.node:
                self.miss(run.node)
            run.place = self._once if self._returns is None and run.uses == 1 else self._again
            self._missed = self._returns = None
        else:
            run.place = self._again
        run.place.append(run)
        run.place.blocks += run.hi - run.lo
        self._forget()

    def take(self, run: Run) -> None:
        run.place.remove(run)
        run.place.blocks -= run.hi - run.lo

    def split(self, run: Run, deep: Run) -> None:
        deep.place = run.place
        if not run.refs:
            run.place.insert(deep, run)

    def victim(self) -> Run:
        once, again = self._once, self._again
        from_once = once.blocks > self.target or (self._returns is again and once.blocks == self.target)
        part = once if once.blocks and (from_once or not again.blocks) else again
        run = part.oldest
        assert run is not None
        return run

    def evict(self, run: Run, blocks: int) -> None:
        run.place.blocks -= blocks
        run.place.ghosts.add(run.node, blocks)
        if blocks == run.hi - run.lo:
            run.place.remove(run)

    def idle(self) -> Iterator[Run]:
        return (run for part in (self._once, self._again) for run in part)

    def check(self) -> None:
        super().check()
        self._once.check()
        self._again.check()
        assert 0 <= self.target <= self.setting.capacity_blocks

    def _forget(self) -> None:
        once, again, capacity = self._once, self._again, self.setting.capacity_blocks
        once.ghosts.shrink(max(0, capacity - once.blocks))
        again.ghosts.shrink(max(0, 2 * capacity - once.blocks - again.blocks - once.ghosts.blocks))
