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
from sim.caches.runs import BRAID, Run
from sim.caches.runs import Evicted as Evicted
from sim.caches.tables import MISS as MISS
from sim.caches.tables import BlockTable as BlockTable
from sim.caches.tables import Hit as Hit
from sim.caches.tables import leading
from workloads.content import Tree
from workloads.subclassing import mypyc_attr

UNLIMITED = 1 << 60


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
        self.resident: dict[int, NodeRuns] = {}
        """The runs of each node that has any."""
        self.queue = Lru(PolicySetting(self.capacity_blocks)) if queue is None else queue
        self.has_clock = not isinstance(self.queue, Lru)
        """Whether what goes first may depend on the time at which it goes."""
        self.asks_time = type(self.queue) is not Lru
        """Whether ``now_s`` has to be kept up to date."""
        self._joins = self.queue.joins
        self._evicted = evicted

    @property
    def now_s(self) -> float:
        """Simulated time in s, for policies that ask; the cache's user sets it."""
        return self.queue.now_s

    @now_s.setter
    def now_s(self, now_s: float) -> None:
        self.queue.now_s = now_s

    @property
    def free_blocks(self) -> int:
        """Blocks that can be allocated: without content, or cached and held by no request."""
        return self.empty_blocks + self.queue.blocks

    @property
    def cached_blocks(self) -> int:
        """Blocks with content that a lookup could find, copies counted each. O(runs)."""
        return sum(run.hi - run.lo for runs in self.resident.values() for run in runs)

    @property
    def runs(self) -> int:
        """Pieces in which they are kept: what a request costs grows with those on its route. O(runs)."""
        return sum(1 for runs in self.resident.values() for _ in runs)

    def lookup(self, table: BlockTable, known_tokens: int) -> Hit:
        """Longest cached prefix of the first ``known_tokens`` tokens; O(nodes on the route + runs found).

        Changes nothing, but for a policy with a lifetime: it first drops what is too old at ``now_s``.
        """
        cap = (known_tokens - 1) // self.block_size
        if not self.caching or cap == 0:
            return MISS
        if self.queue.expires:
            self._expire()
        return leading(self.resident, table.route, self.block_size, 0, cap)

    def acquire(self, table: BlockTable, hit: Hit) -> int:
        """Make ``table`` a holder of the blocks of ``hit``, which must be fresh; their tokens."""
        entries = table.entries
        for found, lo, hi in hit.pieces:
            while found.hi <= lo:  # cut by an earlier piece of this hit
                assert found.deeper is not None
                found = found.deeper
            run = found if lo == found.lo else self.split(found, lo)
            if hi < run.hi:
                self.split(run, hi)
            if not run.refs:
                self.queue.take(run)
            run.refs += 1
            run.uses += 1
            entries.append((run, hi))
        table.published = hit.blocks
        ends, size, at = table.route.ends, self.block_size, table.at
        while at < len(ends) and ends[at] // size <= hit.blocks:
            at += 1
        table.at = at
        return hit.blocks * size

    def fits(
        self, table: BlockTable, hit: Hit, known_tokens: int, upto: int, in_flight_tokens: int, spare: int
    ) -> bool:
        """Whether a request with ``hit`` can be admitted and leaves ``spare`` blocks free.

        Room for its first ``upto`` tokens is needed, or for all ``known_tokens`` if that is more;
        ``in_flight_tokens``, what an engine computes at a time, does not matter where nothing is given
        back.
        """
        blocks = -(-max(known_tokens, upto) // self.block_size)
        return blocks - hit.blocks + hit.idle + spare <= self.free_blocks

    def grow(self, table: BlockTable, before: int, upto: int) -> None:
        """Allocate the blocks with which a request goes on from ``before`` tokens to ``upto``."""
        self.take(-(-upto // self.block_size) - -(-before // self.block_size))

    def private_blocks(self, table: BlockTable, blocks: int) -> int:
        """Blocks held by the request of ``blocks`` blocks that are not in the map."""
        return blocks - table.published

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
            upto = last if last < stop else stop  # no call: this is hot
            if pos < upto:
                self.add(table, route.nodes[table.at], pos, upto)
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
                    self.let_go(run, table.owner)
        table.entries = []
        table.published = table.at = 0

    def check(self) -> None:
        """Assert the invariants; O(runs)."""
        self.queue.check()
        assert 0 <= self.empty_blocks <= self.capacity_blocks
        free = {id(run) for run in self.queue.idle()}
        held = idle = 0
        for node, runs in self.resident.items():
            runs.check()
            for run in runs.found if runs.copies is None else runs:
                assert run.node == node
                if run.refs:
                    assert run.refs > 0 and id(run) not in free
                    held += run.hi - run.lo
                else:
                    assert id(run) in free
                    idle += run.hi - run.lo
        assert idle == self.queue.blocks
        assert self.empty_blocks + self.queue.blocks + held <= self.capacity_blocks

    def _evict(self, blocks: int) -> None:
        queue, evicted, resident = self.queue, self._evicted, self.resident
        assert blocks <= queue.blocks, "more blocks taken than are free"
        self.evicted_blocks += blocks
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

    def _expire(self) -> None:
        while blocks := self.queue.expired():
            self._evict(blocks)
            self.empty_blocks += blocks

    def add(self, table: BlockTable, node: int, lo: int, hi: int) -> None:
        """Enter blocks ``lo .. hi - 1`` of ``table``, which lie in ``node``, into the map."""
        entries, runs = table.entries, self.resident.get(node)
        if runs is None:
            run = Run(node, lo, hi, table.owner, 1)
            self.resident[node] = NodeRuns(run)
        else:
            if entries:
                run, end = entries[-1]
                if lo == end and self._may_grow(run, runs, table, lo, hi):
                    if self._evicted and run.owner_of(lo - 1) != table.owner:
                        run.add_owner(lo, table.owner)
                    run.hi = hi
                    entries[-1] = (run, hi)
                    return
            run = Run(node, lo, hi, table.owner, 1)
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

    def split(self, run: Run, at: int) -> Run:
        """Cut ``run`` before block ``at``; returns the deep piece, which takes over ``deeper``."""
        deep = Run(run.node, at, run.hi, run.owner, run.refs)
        deep.uses = run.uses
        deep.deeper, run.deeper = run.deeper, deep
        deep.up = run.up
        run.cut_owners(deep)
        self.resident[run.node].split(run, deep)
        run.hi = at
        self.queue.split(run, deep)
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
                self.let_go(piece, request)

    def let_go(self, run: Run, request: int) -> None:
        """No request holds ``run`` any more; join it with what goes right before it, if that follows it."""
        self.queue.release(run, request)
        if self._joins:
            deep = run.older
            assert deep is not None
            if deep.lo == run.hi and deep.node == run.node and deep.place == run.place and not deep.up:
                self.join(run, deep)

    def join(self, run: Run, deep: Run) -> None:
        """``deep`` goes on where ``run`` ends and stands right beside it in the queue: make them one,
        unless a copy forbids it."""
        if self.resident[run.node].joins(run, deep):
            self.queue.join(run, deep)
            if self._evicted:
                run.add_owners_of(deep)
            run.hi = deep.hi
            run.deeper = None  # holders of pieces are gone
