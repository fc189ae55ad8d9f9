"""The block prefix cache of vLLM's V1 engine, exactly, at a cost of O(segments) per request.

Semantics as read from vLLM 0.33.0 (``v1/core/block_pool.py``, ``kv_cache_manager.py``): a flat map from
chained block hashes to blocks and one free queue. Because all content is known (the content tree), a
block needs no hash: it is named by the segment in which it ends and its position. Blocks that are used
together stay together as runs (``runs.py``), so the queue is a counter of free blocks without content,
which always go first, and a list of runs. That list is an eviction policy (``eviction/``): least recently
used is the engine's, any other one is a what-if.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.caches.eviction import Eviction, Lru, PolicySetting
from sim.caches.runs import Run, earliest
from workloads.content import ContentTree

UNLIMITED = 1 << 60
Evicted = Callable[[int, int, int], None]
"""Called with (owner, first, last) for evicted blocks, ``first >= last``, counting down."""


class BlockTable:
    """What one request holds: the cached runs it took or published, and how far it has come."""

    __slots__ = ("at", "entries", "owner", "path", "prompt_tokens", "published")

    def __init__(self, path: list[int], prompt_tokens: int, owner: int) -> None:
        self.path = path
        self.prompt_tokens = prompt_tokens
        self.owner = owner
        self.entries: list[tuple[Run, int]] = []  # (run, its hi when taken)
        self.published = 0  # leading blocks of the request that are in the map
        self.at = 0  # index in path of the segment in which the next block ends


class Hit:
    """The answer of a lookup: ``blocks`` leading blocks are cached, ``idle`` of them held by nobody."""

    __slots__ = ("blocks", "idle", "pieces")

    def __init__(self, blocks: int, idle: int, pieces: list[tuple[Run, int, int]]) -> None:
        self.blocks = blocks
        self.idle = idle
        self.pieces = pieces  # (run, lo, hi)


MISS = Hit(0, 0, [])


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
        content: ContentTree,
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
        self._end = content.end
        self._runs: dict[int, list[Run]] = {}  # segment -> runs, earliest published first
        self._queue = Lru(PolicySetting(self.capacity_blocks)) if queue is None else queue
        self._evicted = evicted

    @property
    def has_clock(self) -> bool:
        """Whether what goes first may depend on the time at which it goes."""
        return not isinstance(self._queue, Lru)

    @property
    def now_s(self) -> float:
        """Simulated time in s, for policies that ask; whoever drives the cache sets it."""
        return self._queue.now_s

    @now_s.setter
    def now_s(self, now_s: float) -> None:
        self._queue.now_s = now_s

    @property
    def free_blocks(self) -> int:
        """Blocks that can be allocated: without content, or cached and held by nobody."""
        return self.empty_blocks + self._queue.blocks

    @property
    def cached_blocks(self) -> int:
        """Blocks with content that a lookup could find, copies counted each. O(runs)."""
        return sum(run.hi - run.lo for runs in self._runs.values() for run in runs)

    def lookup(self, table: BlockTable, known_tokens: int) -> Hit:
        """Longest cached prefix of the first ``known_tokens`` tokens; O(path).

        Changes nothing, but for a policy with a lifetime: it first drops what is too old at ``now_s``.
        """
        cap = (known_tokens - 1) // self.block_size
        if not self.caching or cap == 0:
            return MISS
        if self._queue.expires:
            self._expire()
        end, size, resident = self._end, self.block_size, self._runs
        pos = idle = 0
        pieces = []
        for segment in table.path:
            stop = end[segment] // size
            stop = min(stop, cap)
            if pos < stop:
                runs = resident.get(segment)
                if runs is None:
                    break
                while pos < stop:
                    run = runs[0]
                    if len(runs) == 1 and run.lo <= pos < run.hi:
                        upto = run.hi
                    else:
                        found = earliest(runs, pos)
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
        path, end, size, at = table.path, self._end, self.block_size, table.at
        while at < len(path) and end[path[at]] // size <= hit.blocks:
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
        pos, stop, size = table.published, tokens // self.block_size, self.block_size
        while pos < stop:
            segment = table.path[table.at]
            last = self._end[segment] // size
            upto = min(stop, last)
            if pos < upto:
                self._add(table, segment, pos, upto)
                pos = upto
            if last <= stop:
                table.at += 1
        table.published = pos

    def release(self, table: BlockTable, blocks: int) -> None:
        """Give back all ``blocks`` blocks of the request, its published ones from deep to shallow."""
        self.empty_blocks += blocks - table.published
        queue = self._queue
        for run, hi in reversed(table.entries):
            if run.hi < hi:
                self._release_pieces(run, hi, table.owner)
            else:
                run.refs -= 1
                if not run.refs:
                    queue.release(run, table.owner)
        table.entries = []
        table.published = table.at = 0

    def check(self) -> None:
        """Assert the invariants; O(runs)."""
        self._queue.check()
        assert 0 <= self.empty_blocks <= self.capacity_blocks
        free = {id(run) for run in self._queue.idle()}
        end, size = self._end, self.block_size
        held = 0
        for segment, runs in self._runs.items():
            assert runs
            for run in runs:
                assert run.segment == segment and run.lo < run.hi <= end[segment] // size
                assert (run.refs == 0) == (id(run) in free) and run.refs >= 0
                held += run.hi - run.lo if run.refs else 0
        assert self.cached_blocks == held + self._queue.blocks
        assert self.empty_blocks + self._queue.blocks + held <= self.capacity_blocks

    def _evict(self, blocks: int) -> None:
        queue, report = self._queue, self._evicted
        assert blocks <= queue.blocks, "more blocks taken than are free"
        self.evicted_blocks += blocks
        while blocks:
            run = queue.pop(blocks)
            size = run.hi - run.lo
            if size > blocks:
                if report:
                    report(run.owner, run.hi - 1, run.hi - blocks)
                run.hi -= blocks
                return
            runs = self._runs[run.segment]
            if len(runs) == 1:
                del self._runs[run.segment]
            else:
                runs.remove(run)
            if report:
                report(run.owner, run.hi - 1, run.lo)
            blocks -= size

    def _expire(self) -> None:
        while blocks := self._queue.expired():
            self._evict(blocks)
            self.empty_blocks += blocks

    def _add(self, table: BlockTable, segment: int, lo: int, hi: int) -> None:
        runs = self._runs.get(segment)
        if runs is None:
            run = Run(segment, lo, hi, table.owner, 1)
            self._runs[segment] = [run]
        else:
            run = runs[0]
            if (
                len(runs) == 1
                and run.hi == lo
                and run.refs == 1
                and run.owner == table.owner
                and table.entries
                and table.entries[-1][0] is run
            ):
                run.hi = hi  # nobody else sees this run: let it grow
                table.entries[-1] = (run, hi)
                return
            run = Run(segment, lo, hi, table.owner, 1)
            runs.append(run)
        table.entries.append((run, hi))

    def _split(self, run: Run, at: int) -> Run:
        """Cut ``run`` before block ``at``; returns the deep piece, which takes over ``deeper``."""
        deep = Run(run.segment, at, run.hi, run.owner, run.refs)
        deep.uses = run.uses
        deep.deeper, run.deeper = run.deeper, deep
        run.hi = at
        runs = self._runs[run.segment]
        runs.insert(runs.index(run) + 1, deep)
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
                self._queue.release(piece, request)
