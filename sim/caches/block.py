"""The block prefix cache of vLLM's V1 engine, exactly, at a cost of O(nodes on the route + runs).

Semantics as read from vLLM 0.33.0 (``v1/core/block_pool.py``, ``kv_cache_manager.py``): a flat map from
chained block hashes to blocks and one free queue. Because all content is known, a block needs no hash: it
is named by the node of the tree in which it ends and its position. Nodes are segments or, where the order
of eviction stays the same, chains of segments (``workloads/chains.py``). Blocks that are used together
stay together as runs (``runs.py``), so the queue is a counter of free blocks without content, which always
go first, and a list of runs. That list is an eviction policy (``eviction/``): least recently used is the
engine's, any other one is a what-if.

Example: the second turn of a chat finds one run, the first turn's, lets it grow by its own blocks and
releases it as one run again; so does the two thousandth.
"""

from __future__ import annotations

from sim.caches.eviction import Eviction, Lru, PolicySetting
from sim.caches.node_runs import NodeRuns
from sim.caches.runs import Evicted as Evicted
from sim.caches.runs import Run
from workloads.content import Route, Tree
from workloads.subclassing import mypyc_attr

UNLIMITED = 1 << 60


class BlockTable:
    """What one request holds: the cached runs it took or published, and how far it has come."""

    __slots__ = ("at", "entries", "owner", "prompt_tokens", "published", "route")

    def __init__(self, route: Route, prompt_tokens: int, owner: int) -> None:
        self.route = route
        self.prompt_tokens = prompt_tokens
        self.owner = owner
        self.entries: list[tuple[Run, int]] = []  # (run, its hi when taken)
        self.published = 0  # leading blocks of the request that are in the map
        self.at = 0  # index in the route of the node in which the next block ends


class Hit:
    """The answer of a lookup: ``blocks`` leading blocks are cached, ``idle`` of them held by no request."""

    __slots__ = ("blocks", "idle", "pieces")

    def __init__(self, blocks: int, idle: int, pieces: list[tuple[Run, int, int]]) -> None:
        self.blocks = blocks
        self.idle = idle
        self.pieces = pieces  # (run, lo, hi)


MISS = Hit(0, 0, [])


@mypyc_attr(allow_interpreted_subclasses=True)
class BlockCache:
    """Prefix cache and block pool in one, as in the engine.

    * Only full blocks are cached; a lookup returns at most (known tokens - 1) // block_size blocks, so
      a fully cached prompt computes one whole block again and stores a second copy of it.
    * Blocks are published when they are allocated and never deduplicated; among copies the earliest
      published survivor is found.
    * A release walks the request's blocks from the last to the first: cached blocks go to the end of
      the free queue, others to its head. Eviction takes single blocks from the head.

    ``queue`` is another eviction policy in the place of the free queue: it names the run that goes next,
    whose blocks then go from the last to the first. Blocks without content still go before all.

    ``caching=False`` is the engine with prefix caching off. ``cache_reply=False`` leaves blocks with
    generated tokens unpublished (no engine does; the source's first example counts that way).
    """

    def __init__(
        self,
        content: Tree,
        block_size: int,
        capacity_blocks: int | None = None,
        *,
        caching: bool = True,
        cache_reply: bool = True,
        queue: Eviction | None = None,
        evicted: Evicted | None = None,
    ) -> None:
        self.block_size = block_size
        self.capacity_blocks = UNLIMITED if capacity_blocks is None else capacity_blocks
        self.caching = caching
        self.cache_reply = cache_reply
        self.evicted_blocks = 0
        self.empty_blocks = self.capacity_blocks
        """Free blocks without content: the head of vLLM's free queue."""
        self.content = content
        """In whose nodes blocks lie: the routes of requests go through them."""
        self._runs: dict[int, NodeRuns] = {}  # by node
        self._queue = Lru(PolicySetting(self.capacity_blocks)) if queue is None else queue
        self._joins = self._queue.joins
        self._evicted = evicted

    @property
    def has_clock(self) -> bool:
        """Whether what goes first may depend on the time at which it goes."""
        return not isinstance(self._queue, Lru)

    @property
    def now_s(self) -> float:
        """Simulated time in s, for policies that ask; the cache's user sets it."""
        return self._queue.now_s

    @now_s.setter
    def now_s(self, now_s: float) -> None:
        self._queue.now_s = now_s

    @property
    def free_blocks(self) -> int:
        """Blocks that can be allocated: without content, or cached and held by no request."""
        return self.empty_blocks + self._queue.blocks

    @property
    def cached_blocks(self) -> int:
        """Blocks with content that a lookup could find, copies counted each. O(runs)."""
        return sum(run.hi - run.lo for runs in self._runs.values() for run in runs)

    @property
    def runs(self) -> int:
        """Pieces in which they are kept: what a request costs grows with those on its route. O(runs)."""
        return sum(1 for runs in self._runs.values() for _ in runs)

    def lookup(self, table: BlockTable, known_tokens: int) -> Hit:
        """Longest cached prefix of the first ``known_tokens`` tokens; O(nodes on the route + runs found).

        Changes nothing, but for a policy with a lifetime: it first drops what is too old at ``now_s``.
        """
        cap = (known_tokens - 1) // self.block_size
        if not self.caching or cap == 0:
            return MISS
        if self._queue.expires:
            self._expire()
        size, resident, route = self.block_size, self._runs, table.route
        pos = idle = 0
        pieces = []
        for node, end in zip(route.nodes, route.ends):  # noqa: B905 (as long as each other, and this is hot)
            stop = end // size
            stop = min(stop, cap)
            if pos < stop:
                runs = resident.get(node)
                if runs is None:
                    break
                while pos < stop:
                    run = runs.found[0] if runs.found else None
                    if run is not None and run.lo <= pos < run.hi:
                        upto = run.hi
                    else:
                        found = runs.at(pos)
                        if found is None:
                            break
                        run, upto = found
                    upto = min(upto, stop)
                    pieces.append((run, pos, upto))
                    if not run.refs:
                        idle += upto - pos
                    pos = upto
                if pos < stop:
                    break
            if pos == cap:
                break
        return Hit(pos, idle, pieces) if pos else MISS

    def acquire(self, table: BlockTable, hit: Hit) -> int:
        """Make ``table`` a holder of the blocks of ``hit``, which must be fresh; their tokens."""
        entries = table.entries
        for found, lo, hi in hit.pieces:
            while found.hi <= lo:  # cut by an earlier piece of this hit
                assert found.deeper is not None
                found = found.deeper
            run = found if lo == found.lo else self._split(found, lo)
            if hi < run.hi:
                self._split(run, hi)
            if not run.refs:
                self._queue.take(run)
            run.refs += 1
            run.uses += 1
            entries.append((run, hi))
        table.published = hit.blocks
        ends, size, at = table.route.ends, self.block_size, table.at
        while at < len(ends) and ends[at] // size <= hit.blocks:
            at += 1
        table.at = at
        return hit.blocks * size

    def take(self, blocks: int) -> None:
        """Allocate free blocks: those without content first, then evict what the policy names."""
        if blocks <= self.empty_blocks:
            self.empty_blocks -= blocks
            return
        blocks -= self.empty_blocks
        self.empty_blocks = 0
        self._evict(blocks)

    def give_back(self, blocks: int) -> None:
        """Return ``blocks`` allocated blocks that got no content."""
        self.empty_blocks += blocks

    def publish(self, table: BlockTable, tokens: int) -> None:
        """Enter the request's full blocks among its first ``tokens`` tokens into the map.

        The blocks must have been allocated with ``take``.
        """
        if not self.caching:
            return
        if not self.cache_reply and tokens > table.prompt_tokens:
            tokens = table.prompt_tokens
        pos, stop, size, route = table.published, tokens // self.block_size, self.block_size, table.route
        while pos < stop:
            last = route.ends[table.at] // size
            upto = min(stop, last)
            if pos < upto:
                self._add(table, route.nodes[table.at], pos, upto)
                pos = upto
            if last <= stop:
                table.at += 1
        table.published = pos

    def release(self, table: BlockTable, blocks: int) -> None:
        """Give back all ``blocks`` blocks of the request, its published ones from deep to shallow."""
        self.empty_blocks += blocks - table.published
        for run, hi in reversed(table.entries):
            if run.hi < hi:
                self._release_pieces(run, hi, table.owner)
            else:
                run.refs -= 1
                if not run.refs:
                    self._let_go(run, table.owner)
        table.entries = []
        table.published = table.at = 0

    def check(self) -> None:
        """Assert the invariants; O(runs)."""
        self._queue.check()
        assert 0 <= self.empty_blocks <= self.capacity_blocks
        free = {id(run) for run in self._queue.idle()}
        held = 0
        for node, runs in self._runs.items():
            runs.check()
            assert runs.found or runs.copies
            for run in runs:
                assert run.node == node
                assert (run.refs == 0) == (id(run) in free) and run.refs >= 0
                held += run.hi - run.lo if run.refs else 0
        assert self.cached_blocks == held + self._queue.blocks
        assert self.empty_blocks + self._queue.blocks + held <= self.capacity_blocks

    def _evict(self, blocks: int) -> None:
        queue, evicted = self._queue, self._evicted
        assert blocks <= queue.blocks, "more blocks taken than are free"
        self.evicted_blocks += blocks
        while blocks:
            run = queue.pop(blocks)
            size = run.hi - run.lo
            if evicted:
                run.report(blocks if blocks < size else size, evicted)
            if blocks < size:
                run.hi -= blocks
                return
            if not self._runs[run.node].remove(run):
                del self._runs[run.node]
            blocks -= size

    def _expire(self) -> None:
        while blocks := self._queue.expired():
            self._evict(blocks)
            self.empty_blocks += blocks

    def _add(self, table: BlockTable, node: int, lo: int, hi: int) -> None:
        entries, runs, owner = table.entries, self._runs.get(node), table.owner
        if runs is None:
            run = Run(node, lo, hi, owner, 1)
            self._runs[node] = NodeRuns(run)
        else:
            if entries and lo == entries[-1][1] and self._may_grow(entries[-1][0], runs, table, lo, hi):
                run = entries[-1][0]
                if self._evicted and run.owner_of(lo - 1) != owner:
                    run.add_owner(lo, owner)
                run.hi = hi
                entries[-1] = (run, hi)
                return
            run = Run(node, lo, hi, owner, 1)
            runs.add(run)
        entries.append((run, hi))

    def _may_grow(self, run: Run, runs: NodeRuns, table: BlockTable, lo: int, hi: int) -> bool:
        """Whether the last run of ``table`` may take in its next blocks: no other request sees the run, and
        no other run has these blocks. A policy that tells runs apart wants one owner, too."""
        found = runs.found
        return (
            run.refs == 1
            and run.hi == lo
            and (self._joins or run.owner == table.owner)
            and bool(found)
            and found[-1] is run
            and (not runs.copies or runs.vacant(lo, hi))
        )

    def _split(self, run: Run, at: int) -> Run:
        """Cut ``run`` before block ``at``; returns the deep piece, which takes over ``deeper``."""
        deep = Run(run.node, at, run.hi, run.owner, run.refs)
        deep.uses = run.uses
        deep.deeper, run.deeper = run.deeper, deep
        run.cut_owners(deep)
        self._runs[run.node].split(run, deep)
        run.hi = at
        self._queue.split(run, deep)
        return deep

    def _release_pieces(self, run: Run, hi: int, request: int) -> None:
        pieces = [run]
        while pieces[-1].hi < hi:
            deeper = pieces[-1].deeper
            assert deeper is not None
            pieces.append(deeper)
        for piece in reversed(pieces):
            piece.refs -= 1
            if not piece.refs:
                self._let_go(piece, request)

    def _let_go(self, run: Run, request: int) -> None:
        """No request holds ``run`` any more; join it with what goes right before it, if that follows it."""
        self._queue.release(run, request)
        if self._joins:
            deep = run.older
            assert deep is not None
            if deep.lo == run.hi and deep.node == run.node and deep.place == run.place:
                self._join(run, deep)

    def _join(self, run: Run, deep: Run) -> None:
        if self._runs[run.node].joins(run, deep):
            self._queue.join(run, deep)
            if self._evicted:
                run.add_owners_of(deep)
            run.hi = deep.hi
            run.deeper = None  # holders of pieces are gone
