"""Any eviction policy over the trace's own block ids, one access after the other."""

from __future__ import annotations

from collections.abc import Iterator

from sim.caches.base import Served
from sim.caches.eviction import Eviction
from sim.caches.runs import Run
from workloads.trace import Trace


class IdNumbers:
    """The ids of a trace as numbers: those of a segment are consecutive, shallowest first.

    A segment gets its numbers when it is first met. O(1) per segment.
    """

    def __init__(self, trace: Trace) -> None:
        assert trace.named_blocks is not None and trace.block_id_tokens is not None
        self._trace = trace
        self._named = trace.named_blocks
        self._size = trace.block_id_tokens
        self._base: dict[int, int] = {}
        self._count = 0

    def of(self, request: int) -> Iterator[int]:
        """The ids of the request's prompt, from the first to the last; O(ids)."""
        content, size, named = self._trace.content, self._size, self._named[request]
        begin = 0
        for segment in content.path(self._trace.prompt[request]):
            end = -(-content.end[segment] // size)
            base = self._base.get(segment)
            if base is None:
                base = self._base[segment] = self._count
                self._count += end - begin
            yield from range(base, base + min(end, named) - begin)
            begin = min(end, named)


class AccessCache:
    """At most ``capacity_blocks`` ids, used one by one in the order of the trace.

    The trace is one sequence of single accesses: the ids of the first request from first to last, then
    those of the second. A missing id is always inserted; if the cache is full, the policy's victim goes
    first. With ``prefix`` an access counts as a hit only if all ids before it in its request hit too,
    as a lookup of a prefix cache does; what is cached is the same. Replies are not cached.

    To the policy an id is a run of one block, idle at once. O(ids) per request.
    """

    evicted_tokens = None

    def __init__(
        self,
        trace: Trace,
        capacity_blocks: int,
        queue: Eviction,
        numbers: IdNumbers,
        *,
        prefix: bool = False,
    ) -> None:
        assert trace.named_blocks is not None and trace.block_id_tokens is not None
        self.evicted_blocks = 0
        self._trace = trace
        self._named = trace.named_blocks
        self._size = trace.block_id_tokens
        self._capacity = capacity_blocks
        self._queue = queue
        self._numbers = numbers
        self._prefix = prefix
        self._cached: dict[int, Run] = {}

    @property
    def cached_ids(self) -> frozenset[int]:
        """The ids that are cached, as numbers of ``IdNumbers``. O(ids)."""
        return frozenset(self._cached)

    def serve(self, request: int, at_s: float) -> Served:
        """Access the ids of ``request`` at ``at_s``."""
        queue, cached = self._queue, self._cached
        queue.now_s = at_s
        if queue.expires:
            self._expire()
        hits = prefix = depth = 0
        last = False
        for number in self._numbers.of(request):
            run = cached.get(number)
            last = run is not None
            if run is not None:
                prefix += hits == depth
                hits += 1
                queue.take(run)
                run.uses += 1
            else:
                queue.miss(number)
                if len(cached) == self._capacity:
                    self._evict()
                run = cached[number] = Run(number, depth, depth + 1, request, 0)
            queue.release(run, request)
            depth += 1
        if self._prefix:
            hits, last = prefix, prefix == depth
        return Served(self._tokens(request, hits, last), hits, depth)

    def _tokens(self, request: int, hits: int, last: bool) -> int:
        """Tokens of ``hits`` ids; the last id of a prompt may name fewer than the others."""
        prompt = self._trace.content.end[self._trace.prompt[request]]
        missing = self._size * self._named[request] - prompt
        return hits * self._size - (missing if last and missing > 0 else 0)

    def _evict(self) -> None:
        run = self._queue.pop(1)
        del self._cached[run.node]
        self.evicted_blocks += 1

    def _expire(self) -> None:
        while self._queue.expired():
            self._evict()

    def check(self) -> None:
        """Assert that the capacity holds and that the policy can choose among all ids."""
        self._queue.check()
        assert len(self._cached) <= self._capacity
        assert {run.node: run for run in self._queue.idle()} == self._cached
