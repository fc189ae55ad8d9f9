"""Blocks that go to the free queue in turns: of several windows, or of several requests that decode.

Each takes its turn once per block of tokens, so a few numbers say in which order all their blocks stand in
the queue, however many they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace

from sim.caches.block import BlockCache
from sim.caches.eviction.base import PolicySetting
from sim.caches.eviction.lru import Lru
from sim.caches.node_runs import NodeRuns
from sim.caches.runs import BRAID, Run


class Strand:
    """A run that is going to be a part of a braid: block b of ``run`` goes to the queue in step ``begin`` +
    b x (tokens of a block), among others of that step by ``order``."""

    __slots__ = ("begin", "braid", "order", "run")

    def __init__(self, run: Run, begin: int, order: tuple[int, int]) -> None:
        self.run = run
        self.begin = begin
        self.order = order
        self.braid: Braid | None = None


class Braid(Run):
    """Idle runs whose blocks stand in the queue in turns, the shallowest of each first.

    To the queue it is one run of all their blocks. Example, blocks of 16 tokens: two decodes give back
    their blocks 5, 6 and 7 in steps 3, 19 and 35, and 9 and 10 in steps 8 and 24. In the queue stand 5, 9,
    6, 10, 7.
    """

    __slots__ = ("period", "turns")

    def __init__(self, strands: list[Strand], period: int) -> None:
        super().__init__(BRAID, 0, 0, -1, 0)
        self.period = period
        self.turns: list[tuple[int, tuple[int, int], Strand]] = []
        """A heap: (step of its next block, order, strand); what left the braid since is passed over."""
        for strand in strands:
            run = strand.run
            strand.braid = self
            run.place = strand
            run.up = True
            self.hi += run.hi - run.lo
            self.turns.append((strand.begin + run.lo * period, strand.order, strand))
        heapify(self.turns)

    def has(self, strand: Strand) -> bool:
        """Whether ``strand`` is still a part."""
        return strand.run.place is strand

    def runs(self) -> Iterator[Run]:
        """The runs that are parts now."""
        for _, _, strand in self.turns:
            if self.has(strand):
                yield strand.run

    def put(self, strand: Strand) -> None:
        """Add ``strand``, which was cut off another one; its blocks were counted with that one."""
        strand.braid = self
        strand.run.place = strand
        heappush(self.turns, (strand.begin + strand.run.lo * self.period, strand.order, strand))


class BraidedLru(Lru):
    """The free queue, with braids among its runs."""

    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(PolicySetting(capacity_blocks))

    def take(self, run: Run) -> None:
        run.up = False
        strand = run.place
        if strand is None:
            older, newer = run.older, run.newer
            assert older is not None and newer is not None
            older.newer, newer.older = newer, older
            run.older = run.newer = None
            return
        run.place = None
        braid = strand.braid
        braid.hi -= run.hi - run.lo
        if not braid.hi:
            self._runs.remove(braid)

    def split(self, run: Run, deep: Run) -> None:
        strand = run.place
        if strand is None or run.refs:
            super().split(run, deep)
        else:
            strand.braid.put(Strand(deep, strand.begin, strand.order))

    def idle(self) -> Iterator[Run]:
        for run in self._runs:
            if isinstance(run, Braid):
                yield from run.runs()
            else:
                yield run


class GroupPool(BlockCache):
    """A pool of blocks with braids in its queue."""

    def lay(self, new: list[Run]) -> None:
        """Enter ``new``, which lie one behind the other in one node, into the map. O(runs in ``new``)."""
        first = new[0]
        runs = self.resident.get(first.node)
        if runs is None:
            runs = self.resident[first.node] = NodeRuns(first)
            runs.found = new
        elif runs.vacant(first.lo, new[-1].hi):
            runs.add_new(new)
        else:
            for run in new:
                runs.add(run)

    def put(self, run: Run, owner: int) -> None:
        """``run``, which nobody holds, goes to the end of the queue; ``owner`` held it last."""
        self.free_blocks += run.hi - run.lo
        self.queue.release(run, owner)

    def put_in_turns(self, strands: list[Strand]) -> None:
        """The runs of ``strands``, which nobody holds, go to the end of the queue block by block."""
        self.put(Braid(strands, self.block_size), -1)

    def _unravel(self, braid: Run, blocks: int) -> None:
        assert isinstance(braid, Braid)
        turns, period, evicted = braid.turns, braid.period, self._evicted
        if blocks == braid.hi and evicted is None:
            for run in braid.runs():
                self._remove(run)
            return
        braid.hi -= blocks
        while blocks:
            step, order, strand = turns[0]
            run = strand.run
            if not braid.has(strand):
                heappop(turns)
                continue
            if evicted:
                run.report(1, evicted)
            run.lo += 1
            blocks -= 1
            if run.lo < run.hi:
                heapreplace(turns, (step + period, order, strand))
            else:
                heappop(turns)
                run.place = None
                self._remove(run)

    def _remove(self, run: Run) -> None:
        runs = self.resident[run.node]
        if not runs.remove(run):
            del self.resident[run.node]
