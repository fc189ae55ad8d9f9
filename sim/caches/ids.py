"""LRU and lifetimes over the trace's own block ids, counted the way published studies count."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pydantic import PositiveFloat, PositiveInt, model_validator

from sim.caches.base import Served
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace

INFINITE = 1 << 60


class IdsCache:
    """At most ``capacity_blocks`` ids, each counting one block whatever its fill.

    A request hits its leading ids that are cached. Then all its ids become the most recently used,
    from the last to the first (``tail_first``, the release order of vLLM's block pool: a request's
    tail goes first) or from the first to the last; then the least recently used ids are evicted until
    the capacity holds. With ``ttl_s`` an id is found only if its last use was at most that long ago.
    Replies are not cached.

    Every request through a segment uses all ids of that segment, so their recency is one: the cache
    keeps a count per segment, and a request costs O(segments), not O(ids).
    """

    evicted_tokens = None

    def __init__(
        self,
        trace: Trace,
        capacity_blocks: int | None,
        *,
        tail_first: bool = True,
        ttl_s: float | None = None,
    ) -> None:
        assert trace.named_blocks is not None and trace.block_id_tokens is not None
        self.evicted_blocks = 0
        self._trace = trace
        self._named = trace.named_blocks
        self._size = trace.block_id_tokens
        self._capacity = INFINITE if capacity_blocks is None else capacity_blocks
        self._tail_first = tail_first
        self._ttl_s = ttl_s
        self._cached = 0
        self._kept: OrderedDict[int, int] = OrderedDict()  # segment -> ids cached, oldest use first
        self._used_s: dict[int, float] = {}

    def serve(self, request: int, at_s: float) -> Served:
        """Count the leading cached ids, then use every id at ``at_s``. O(segments + evictions)."""
        named = self._named[request]
        content, size = self._trace.content, self._size
        spans = []  # (segment, ids of this request in it), shallowest first
        begin = 0
        for segment in content.path(self._trace.prompt[request]):
            end = min(-(-content.end[segment] // size), named)
            if end > begin:
                spans.append((segment, end - begin))
            begin = end
        hits = self._leading(spans, at_s)
        self._use(spans, at_s)
        self._evict()
        return Served(min(hits * size, content.end[self._trace.prompt[request]]), hits, named)

    def _leading(self, spans: list[tuple[int, int]], at_s: float) -> int:
        hits = 0
        for segment, count in spans:
            kept = self._kept.get(segment, 0)
            if self._ttl_s is not None and at_s - self._used_s.get(segment, at_s) > self._ttl_s:
                kept = 0
            if kept < count:
                return hits + kept if self._tail_first else hits
            hits += count
        return hits

    def _use(self, spans: list[tuple[int, int]], at_s: float) -> None:
        kept = self._kept
        for segment, count in reversed(spans) if self._tail_first else spans:
            self._cached += count - kept.get(segment, 0)
            kept[segment] = count
            kept.move_to_end(segment)
            if self._ttl_s is not None:
                self._used_s[segment] = at_s

    def _evict(self) -> None:
        excess = self._cached - self._capacity
        if excess <= 0:
            return
        self.evicted_blocks += excess
        self._cached -= excess
        while excess:
            segment, count = next(iter(self._kept.items()))
            if count > excess:
                self._kept[segment] = count - excess
                return
            del self._kept[segment]
            excess -= count

    def check(self) -> None:
        """Assert that the count is right and the capacity holds."""
        assert sum(self._kept.values()) == self._cached <= self._capacity
        assert all(count > 0 for count in self._kept.values())


class IdsConfig(Schema):
    """``{kind: ids, capacity_blocks, eviction, ttl_s}``; without a capacity the cache is infinite.

    ``eviction``: ``lru`` (or ``lru_tail_first``), ``lru_head_first``, or ``ttl`` with ``ttl_s``.
    """

    kind: Literal["ids"]
    capacity_blocks: PositiveInt | None = None
    eviction: Literal["lru", "lru_tail_first", "lru_head_first", "ttl"] = "lru"
    ttl_s: PositiveFloat | None = None

    @model_validator(mode="after")
    def _ttl_with_its_lifetime(self) -> IdsConfig:
        if (self.eviction == "ttl") != (self.ttl_s is not None):
            raise ValueError("ttl_s goes with eviction: ttl, and only with it")
        return self

    def replay(self, trace: Trace, key: str) -> IdsCache:
        """A fresh cache; the trace must name blocks."""
        if trace.named_blocks is None:
            raise InputError(
                f"{key}.kind = 'ids' counts a trace's own block ids and {trace.origin} has none; "
                "allowed: block or ideal"
            )
        return IdsCache(
            trace,
            self.capacity_blocks,
            tail_first=self.eviction != "lru_head_first",
            ttl_s=self.ttl_s,
        )
