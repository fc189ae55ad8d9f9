"""LRU and lifetimes over the trace's own block ids, counted the way published studies count."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pydantic import PositiveFloat, PositiveInt, field_validator, model_validator

from sim.caches.access import AccessCache, IdNumbers
from sim.caches.base import ReplayCache, Served
from sim.caches.eviction import POLICIES, Future, PolicySetting, known
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace

INFINITE = 1 << 60
BY_REQUEST = ("lru_tail_first", "lru_head_first")
"""Orders of eviction that work on whole requests and have no meaning for single accesses."""


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
    """``{kind: ids, capacity_blocks, eviction, count, ttl_s}``; without a capacity the cache is infinite.

    ``lru`` (or ``lru_tail_first``), ``lru_head_first`` and ``ttl`` (with ``ttl_s``) work on whole
    requests and count prefix hits (`IdsCache`). Every other policy takes one access after the other
    (`AccessCache`), as do ``lru`` and ``ttl`` with a ``count``: ``access`` counts every id that is found,
    ``prefix`` only those with nothing missing before them. ``access`` is the default.
    """

    kind: Literal["ids"]
    capacity_blocks: PositiveInt | None = None
    """Capacity in blocks; left out: without limit."""
    eviction: str = "lru"
    """What goes first when it is full: lru, lru_tail_first, lru_head_first, fifo, lfu, ttl, s3-fifo,
    sieve, arc, gdsf, session-aware or belady."""
    count: Literal["access", "prefix"] | None = None
    """What is a hit: `access` counts every id that is found, `prefix` only those with nothing missing
    before them."""
    ttl_s: PositiveFloat | None = None
    """Lifetime since the last use, s; goes with `eviction: ttl`."""

    @field_validator("eviction")
    @classmethod
    def _known_policy(cls, eviction: str) -> str:
        return known(eviction, *BY_REQUEST)

    @model_validator(mode="after")
    def _keys_with_their_policy(self) -> IdsConfig:
        if (self.eviction == "ttl") != (self.ttl_s is not None):
            raise ValueError("ttl_s goes with eviction: ttl, and only with it")
        if self.count and self.eviction in BY_REQUEST:
            raise ValueError(f"count does not go with eviction: {self.eviction}; allowed: eviction: lru")
        return self

    def replay(self, trace: Trace, key: str) -> ReplayCache:
        """A fresh cache; the trace must name blocks."""
        if trace.named_blocks is None:
            raise InputError(
                f"{key}.kind = 'ids' counts a trace's own block ids and {trace.origin} has none; "
                "allowed: any other kind of cache"
            )
        if self.count is None and self.eviction in ("lru", "ttl", *BY_REQUEST):
            return IdsCache(
                trace,
                self.capacity_blocks,
                tail_first=self.eviction != "lru_head_first",
                ttl_s=self.ttl_s,
            )
        assert trace.block_id_tokens is not None
        capacity, numbers = self.capacity_blocks or INFINITE, IdNumbers(trace)
        future = Future(trace, numbers.of)
        setting = PolicySetting(capacity, trace.block_id_tokens, trace.turn, self.ttl_s, future)
        queue = POLICIES[self.eviction](setting)
        return AccessCache(trace, capacity, queue, numbers, prefix=self.count == "prefix")
