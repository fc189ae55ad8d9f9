"""The block prefix cache of vLLM's V1 engine, exactly, at a cost of O(nodes on the route + runs).

Semantics as read from vLLM 0.33.0 (``v1/core/block_pool.py``, ``kv_cache_manager.py``): a flat map from
chained block hashes to blocks and one free queue. Because all content is known, a block needs no hash: it
is named by the node of the tree in which it ends and its position. Nodes are segments or, where the order
of eviction stays the same, chains of segments (``workloads/chains.py``). The map and the queue are in
``block_pool.py``; here is what requests do with them.

Example: the second turn of a chat finds one run, the first turn's, lets it grow by its own blocks and
releases it as one run again; so does the two thousandth.
"""

from __future__ import annotations

from sim.caches.block_pool import UNLIMITED as UNLIMITED
from sim.caches.block_pool import BlockPool
from sim.caches.eviction import Eviction
from sim.caches.node_runs import NodeRuns
from sim.caches.runs import Evicted as Evicted
from sim.caches.runs import Run
from sim.caches.tables import MISS as MISS
from sim.caches.tables import BlockTable as BlockTable
from sim.caches.tables import Hit as Hit
from workloads.content import Tree
from workloads.subclassing import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class BlockCache(BlockPool):
    """Prefix cache and block pool in one, as in the engine.

    * Only full blocks are cached; a lookup returns at most (known tokens - 1) // block_size blocks, so
      a fully cached prompt computes one whole block again and stores a second copy of it.
    * Blocks are published when they are allocated and never deduplicated; among copies the earliest
      published survivor is found.
    * A release walks the request's blocks from the last to the first: cached blocks go to the end of
      the free queue, others to its head. Eviction takes single blocks from the head.

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
        super().__init__(block_size, capacity_blocks, queue, evicted)
        self.content = content
        """In whose nodes blocks lie: the routes of requests go through them."""
        self.caching = caching
        self.cache_reply = cache_reply
        self._publishes_all = caching and cache_reply

    def lookup(self, table: BlockTable, known_tokens: int) -> Hit:
        """Longest cached prefix of the first ``known_tokens`` tokens; O(nodes on the route + runs found).

        Changes nothing, but for a policy with a lifetime: it first drops what is too old at ``now_s``.
        """
        route, size = table.route, self.block_size
        if not self.caching or known_tokens <= size:
            return MISS
        if self._expires:
            self._expire()
        if route.nodes[0] not in self.resident and route.ends[0] >= size:
            return MISS  # nothing of it, as of most content that is new
        return self.leading(route, 0, (known_tokens - 1) // size)

    def acquire(self, table: BlockTable, hit: Hit) -> int:
        """Make ``table`` a holder of the blocks of ``hit``, which must be fresh; their tokens."""
        entries = table.entries
        for run, lo, hi in hit.pieces:
            if lo != run.lo:
                while run.hi <= lo:  # cut by an earlier piece of this hit
                    assert run.deeper is not None
                    run = run.deeper
                if lo != run.lo:
                    run = self.split(run, lo)
            if hi < run.hi:
                self.split(run, hi)
            if not run.refs:
                self.queue.take(run)
                self.free_blocks -= hi - lo
            run.refs += 1
            run.uses += 1
            run.grows = False
            entries.append((run, hi))
        table.published = hit.blocks
        return hit.blocks * self.block_size

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

    def publish(self, table: BlockTable, tokens: int) -> None:
        """Enter the request's full blocks among its first ``tokens`` tokens into the map.

        The blocks must have been allocated with ``take``.
        """
        if not self._publishes_all:
            if not self.caching:
                return
            tokens = min(tokens, table.prompt_tokens)
        size, run = self.block_size, table.growing
        stop = tokens // size
        if run is not None and run.grows and stop <= table.until:  # no look at the map: this is hot
            if run.hi < stop:
                run.hi = table.published = stop
                table.entries[-1] = (run, stop)
            return
        pos, at, route = table.published, table.at, table.route
        while pos < stop:
            upto = route.ends[at] // size
            if upto <= pos:
                at += 1
                continue
            table.until = upto
            if upto > stop:
                upto = stop
            table.growing = self.add(table, route.nodes[at], pos, upto)
            pos = upto
        table.published, table.at = pos, at

    def add(self, table: BlockTable, node: int, lo: int, hi: int) -> Run:
        """Enter blocks ``lo .. hi - 1`` of ``table``, which lie in ``node``, into the map; their run."""
        entries, runs = table.entries, self.resident.get(node)
        if runs is None:
            run = Run(node, lo, hi, table.owner, 1)
            run.grows = True
            self.resident[node] = NodeRuns(run)
        else:
            if entries:
                run, end = entries[-1]
                if lo == end and self._may_grow(run, runs, table, lo, hi):
                    if self._evicted and run.owner_of(lo - 1) != table.owner:
                        run.add_owner(lo, table.owner)
                    run.hi = hi
                    run.grows = runs.copies is None
                    entries[-1] = (run, hi)
                    return run
            if self._owed_blocks:  # what is in the way may be gone
                self._settle()
                return self.add(table, node, lo, hi)
            run = Run(node, lo, hi, table.owner, 1)
            runs.add(run)
        entries.append((run, hi))
        return run

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

    def release(self, table: BlockTable, blocks: int) -> None:
        """Give back all ``blocks`` blocks of the request, its published ones from deep to shallow."""
        private, owner = blocks - table.published, table.owner
        self.free_blocks += private
        self.empty_blocks += private
        for run, hi in reversed(table.entries):
            if run.hi < hi:
                self._release_pieces(run, hi, owner)
            else:
                run.refs -= 1
                if not run.refs:
                    self.let_go(run, owner)
        table.entries = []
        table.growing = None
        table.published = table.at = 0

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
