"""LRU over the trace's own block ids, counted the way published studies count."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pydantic import PositiveInt

from sim.caches.base import Served
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace


class IdsCache:
    """At most ``capacity_blocks`` ids, each counting one block whatever its fill.

    A request hits its leading ids that are cached. Then all its ids, from the last to the first,
    become the most recently used, so that its tail goes first; then the least recently used ids are
    evicted until the capacity holds. This is the release order of vLLM's block pool. A partial last
    block counts like any other, and replies are not cached.
    """

    evicted_tokens = None

    def __init__(
        self,
        block_ids: list[list[int]],
        block_size: int,
        input_tokens: list[int],
        capacity_blocks: int | None,
    ) -> None:
        self.evicted_blocks = 0
        self._block_ids = block_ids
        self._block_size = block_size
        self._input_tokens = input_tokens
        self._capacity = capacity_blocks
        self._recency: OrderedDict[int, None] = OrderedDict()

    def serve(self, request: int) -> Served:
        """Count the leading cached ids, then touch every id. O(ids)."""
        ids, recency = self._block_ids[request], self._recency
        hits = 0
        for block in ids:
            if block not in recency:
                break
            hits += 1
        for block in reversed(ids):
            recency[block] = None
            recency.move_to_end(block)
        if self._capacity is not None:
            for _ in range(len(recency) - self._capacity):
                recency.popitem(last=False)
                self.evicted_blocks += 1
        return Served(min(hits * self._block_size, self._input_tokens[request]), hits, len(ids))

    def check(self) -> None:
        """Assert that the capacity holds."""
        assert self._capacity is None or len(self._recency) <= self._capacity


class IdsConfig(Schema):
    """``{kind: ids, capacity_blocks, eviction: lru}``; without a capacity the cache is infinite."""

    kind: Literal["ids"]
    capacity_blocks: PositiveInt | None = None
    eviction: Literal["lru"] = "lru"

    def replay(self, trace: Trace, key: str) -> IdsCache:
        """A fresh cache; the trace must carry block ids."""
        if trace.block_ids is None or trace.block_id_tokens is None:
            raise InputError(
                f"{key}.kind = 'ids' counts a trace's own block ids and {trace.origin} has none; "
                "allowed: block or ideal"
            )
        return IdsCache(trace.block_ids, trace.block_id_tokens, trace.input_tokens, self.capacity_blocks)
