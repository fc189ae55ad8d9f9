"""Blocks of KV memory as vLLM's block pool keeps them: which can be found, and which are given out next.

Blocks that are used together stay together as runs (``runs.py``), so the free queue is a counter of blocks
without content, which always go first, and a list of runs. That list is an eviction policy (``eviction/``):
least recently used is the engine's, any other one is a what-if.
"""

from __future__ import annotations

from sim.caches.eviction import Eviction, Lru, PolicySetting
from sim.caches.node_runs import NodeRuns
from sim.caches.runs import BRAID, Evicted, Run
from sim.caches.tables import MISS, Hit
from workloads.content import Route
from workloads.subclassing import mypyc_attr

UNLIMITED = 1 << 60
MOST_OWED_BLOCKS = 4096
"""So many blocks are evicted late at most, lest what is gone fills the memory of this machine."""


@mypyc_attr(allow_interpreted_subclasses=True)
class BlockPool:
    """The map from content to blocks, the free queue, and what passes between them.

    Eviction takes single blocks from the head of the queue, what is let go goes to its end. ``queue`` is
    another eviction policy in its place: it names the run that goes next, whose blocks then go from the
    last to the first. Blocks without content still go before all. ``evicted`` is told what is evicted.

    *Blocks are evicted late*, where the order is the engine's and nobody is told: `take` only counts what
    is owed. That is the head of the queue whenever it is evicted, for what is let go goes to the end. So
    the evictions of several requests are one, made when somebody comes across a run that may be gone.
    """

    def __init__(
        self, block_size: int, capacity_blocks: int | None, queue: Eviction | None, evicted: Evicted | None
    ) -> None:
        self.block_size = block_size
        self.capacity_blocks = UNLIMITED if capacity_blocks is None else capacity_blocks
        self.free_blocks = self.capacity_blocks
        """Blocks that can be allocated: without content, or cached and held by no request."""
        self.empty_blocks = self.capacity_blocks
        """Free blocks without content: the head of vLLM's free queue."""
        self._owed_blocks = 0  # allocated, and still to be evicted
        self._gone_blocks = 0  # evicted so far
        self.resident: dict[int, NodeRuns] = {}
        """The runs of each node that has any; some of those that nobody holds may be owed."""
        self.queue = Lru(PolicySetting(self.capacity_blocks)) if queue is None else queue
        self.has_clock = not isinstance(self.queue, Lru)
        """Whether what goes first may depend on the time at which it goes."""
        self.asks_time = type(self.queue) is not Lru
        """Whether ``now_s`` has to be kept up to date."""
        self._expires, self._joins = self.queue.expires, self.queue.joins
        self._evicted = evicted
        self._most_owed = 0 if self.asks_time or evicted is not None else MOST_OWED_BLOCKS

    @property
    def now_s(self) -> float:
        """Simulated time in s, for policies that ask; the cache's user sets it."""
        return self.queue.now_s

    @now_s.setter
    def now_s(self, now_s: float) -> None:
        self.queue.now_s = now_s

    @property
    def evicted_blocks(self) -> int:
        """Blocks evicted so far."""
        return self._gone_blocks + self._owed_blocks

    @property
    def cached_blocks(self) -> int:
        """Blocks with content that a lookup could find, copies counted each. O(runs)."""
        self._settle()
        return sum(run.hi - run.lo for runs in self.resident.values() for run in runs)

    @property
    def runs(self) -> int:
        """Pieces in which they are kept: what a request costs grows with those on its route. O(runs)."""
        self._settle()
        return sum(1 for runs in self.resident.values() for _ in runs)

    # -- the head of the queue -----------------------------------------------------------------------

    def take(self, blocks: int) -> None:
        """Allocate free blocks: those without content first, then evict what the policy names."""
        self.free_blocks -= blocks
        short = blocks - self.empty_blocks
        if short <= 0:
            self.empty_blocks = -short
            return
        self.empty_blocks = 0
        self._owed_blocks += short
        if self._owed_blocks > self._most_owed:
            self._settle()

    def give_back(self, blocks: int) -> None:
        """Return ``blocks`` allocated blocks that got no content."""
        self.free_blocks += blocks
        self.empty_blocks += blocks

    def _settle(self) -> None:
        """Evict what is owed."""
        assert self.free_blocks >= 0, "more blocks taken than are free"
        blocks, self._owed_blocks = self._owed_blocks, 0
        self._evict(blocks)

    def _expire(self) -> None:
        while blocks := self.queue.expired():
            self._evict(blocks)
            self.empty_blocks += blocks

    def _evict(self, blocks: int) -> None:
        queue, evicted, resident = self.queue, self._evicted, self.resident
        self._gone_blocks += blocks
        while blocks:
            run = queue.pop(blocks)
            size = run.hi - run.lo
            if run.node == BRAID:
                self._unravel(run, min(blocks, size))
                blocks -= min(blocks, size)
                continue
            if evicted:
                run.report(blocks if blocks < size else size, evicted)
            if blocks < size:
                if run.up:
                    run.lo += blocks
                else:
                    run.hi -= blocks
                return
            runs = resident[run.node]
            found = runs.found
            if runs.copies is None and found[0] is run:  # nearly always
                if len(found) == 1:
                    del resident[run.node]
                else:
                    del found[0]
            elif not runs.remove(run):
                del resident[run.node]
            blocks -= size

    def _unravel(self, braid: Run, blocks: int) -> None:
        """The first ``blocks`` blocks of the runs that ``braid`` stands for are evicted."""
        raise NotImplementedError("only a cache with groups of layers has braids")

    # -- the map -------------------------------------------------------------------------------------

    def leading(self, route: Route, begin: int, cap: int) -> Hit:
        """The blocks on ``route`` from number ``begin`` on, in order, up to the first that is missing.

        At most those before ``cap``; ``Hit.blocks`` is then the number of the first one that is not found.
        O(nodes on the route + runs found).
        """
        resident, size = self.resident, self.block_size
        pos, idle = begin, 0
        pieces = []
        for node, end in zip(route.nodes, route.ends):  # noqa: B905 (as long as each other, and this is hot)
            stop = end // size
            stop = stop if stop < cap else cap  # no call: this is hot
            while pos < stop:
                runs = resident.get(node)
                if runs is None:
                    break
                run = runs.found[0] if runs.found else None
                if run is not None and run.lo <= pos < run.hi:
                    upto = run.hi
                else:
                    found = runs.at(pos)
                    if found is None:
                        break
                    run, upto = found
                upto = upto if upto < stop else stop
                if not run.refs:
                    if self._owed_blocks:  # it may be gone
                        self._settle()
                        continue
                    idle += upto - pos
                pieces.append((run, pos, upto))
                pos = upto
            if pos < stop:
                break
        return Hit(pos, idle, pieces) if pos else MISS

    def split(self, run: Run, at: int) -> Run:
        """Cut ``run`` before block ``at``; returns the deep piece, which takes over ``deeper``."""
        deep = Run(run.node, at, run.hi, run.owner, run.refs)
        deep.uses = run.uses
        deep.deeper, run.deeper = run.deeper, deep
        deep.up = run.up
        run.cut_owners(deep)
        self.resident[run.node].split(run, deep)
        run.hi = at
        run.grows = False
        self.queue.split(run, deep)
        return deep

    def join(self, run: Run, deep: Run) -> None:
        """``deep`` goes on where ``run`` ends and stands right beside it in the queue: make them one,
        unless a copy forbids it."""
        if self.resident[run.node].joins(run, deep):
            self.queue.join(run, deep)
            if self._evicted:
                run.add_owners_of(deep)
            run.hi = deep.hi
            run.deeper = None  # holders of pieces are gone

    # -- the end of the queue ------------------------------------------------------------------------

    def let_go(self, run: Run, request: int) -> None:
        """No request holds ``run`` any more; join it with what goes right before it, if that follows it."""
        self.free_blocks += run.hi - run.lo
        self.queue.release(run, request)
        if self._joins:
            deep = run.older
            assert deep is not None
            if deep.lo == run.hi and deep.node == run.node and deep.place == run.place and not deep.up:
                self.join(run, deep)

    def check(self) -> None:
        """Assert the invariants; O(runs)."""
        self._settle()
        self.queue.check()
        assert 0 <= self.empty_blocks <= self.free_blocks <= self.capacity_blocks
        free = {id(run) for run in self.queue.idle()}
        held = idle = 0
        for node, runs in self.resident.items():
            runs.check()
            for run in runs.found if runs.copies is None else runs:
                assert run.node == node
                if run.refs:
                    assert run.refs > 0 and id(run) not in free
                    assert not run.grows or (run.refs, runs.copies, runs.found[-1]) == (1, None, run)
                    held += run.hi - run.lo
                else:
                    assert id(run) in free
                    idle += run.hi - run.lo
        assert idle == self.free_blocks - self.empty_blocks
        assert self.free_blocks + held <= self.capacity_blocks
