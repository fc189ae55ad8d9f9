"""A trace whose segments hold several messages gives every answer of one with a segment per message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sim.caches import CacheConfig
from sim.providers import rulebook
from sim.providers.latency import HostedLatency
from sim.providers.marks import Caching
from sim.providers.serve import serve
from tests.chats import HABITS, chat, workload
from workloads.trace import Trace

CACHES: list[dict[str, Any]] = [
    {"kind": "message", "capacity_tokens": 300},
    {"kind": "message", "match": "whole"},
    {"kind": "layered", "conversation": {"capacity_tokens": 200}},
    {"kind": "ideal"},
    {"kind": "radix", "capacity_tokens": 600},
    *(
        {"kind": "block", "block_size": 4, "capacity_blocks": 120, "eviction": eviction}
        for eviction in ("lru", "lfu", "arc", "s3-fifo", "gdsf", "session-aware", "sieve", "belady")
    ),
    *(
        {"kind": "tiered", "block_size": 4, "write": write,
         "tiers": [{"name": "gpu", "capacity_blocks": 120}, {"name": "host", "capacity_blocks": 60}]}
        for write in ("write_through", "write_through_selective", "write_back")
    ),
]  # fmt: skip
CONFIGS: TypeAdapter[Any] = TypeAdapter(CacheConfig)


def _replayed(trace: Trace, cache: dict[str, Any]) -> list[Any]:
    replay = CONFIGS.validate_python(cache).replay(trace, "cache")
    served = [replay.serve(request, at) for at, request in trace.instant_order()]
    replay.check()
    return [*served, replay.evicted_blocks, replay.evicted_tokens]


@settings(derandomize=True, max_examples=60)
@given(HABITS, st.integers(0, 1000), st.sampled_from(CACHES))
def test_caches(habits: dict[str, Any], seed: int, cache: dict[str, Any]) -> None:
    """Hits, tiers and evictions of every kind of cache."""
    trace = chat(habits, seed).trace
    assert _replayed(trace, cache) == _replayed(trace.by_message, cache)


@pytest.mark.parametrize("provider", rulebook.names())
@settings(derandomize=True, max_examples=15)
@given(HABITS, st.integers(0, 1000))
def test_providers(provider: str, habits: dict[str, Any], seed: int) -> None:
    """What each provider reads, writes and rents, under each of its records and modes."""
    shape = {"system_prompt": {"tokens": 1500}, "user_tokens": 400, "reply_tokens": 300}
    trace = workload(habits, **shape).build(seed, Path())
    for rules in rulebook.provider(provider).records:
        for mode in rules.modes:
            caching = Caching.model_validate({"mode": mode}).filled(rules)
            one, other = (serve(t, rules, caching, HostedLatency()) for t in (trace, trace.by_message))
            assert vars(one.found) == vars(other.found)
            assert one.overflows == other.overflows
