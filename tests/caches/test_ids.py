"""LRU over a trace's own block ids: published counts, a naive list, and the inclusion property."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.caches.ids import IdsConfig
from tests.caches.cases import QUICK
from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.mooncake import MooncakeTrace
from workloads.trace import Trace

BLOCK = 512
Requests = list[tuple[list[int], int]]
"""(ids, input tokens) each."""
Row = tuple[int, int, int]
"""Hit blocks, hit tokens, blocks evicted so far."""
CAPACITY = st.one_of(st.none(), st.integers(1, 12))
SMALL: Requests = [
    ([1, 2, 3], 1400),
    ([1, 2, 4], 1536),
    ([5, 6], 900),
    ([1, 2, 3], 1400),
    ([1, 7], 1000),
    ([5, 6], 900),
    ([1, 2, 4], 1536),
]


def _trace(requests: Requests) -> Trace:
    trace = Trace(named_blocks=[], block_id_tokens=BLOCK)
    assert trace.named_blocks is not None
    for at, (ids, tokens) in enumerate(requests):
        fills = [BLOCK] * (len(ids) - 1) + [tokens - BLOCK * (len(ids) - 1)]
        prompt = trace.content.insert(list(zip(ids, fills, strict=True)))
        trace.add(prompt=prompt, output_tokens=1, arrival_s=float(at))
        trace.named_blocks.append(len(ids))
    check(trace)
    return trace


def _serve(
    trace: Trace,
    capacity: int | None,
    eviction: str = "lru",
    ttl_s: float | None = None,
    times: list[float] | None = None,
) -> list[Row]:
    config = {"kind": "ids", "capacity_blocks": capacity, "eviction": eviction, "ttl_s": ttl_s}
    cache = IdsConfig.model_validate(config).replay(trace, "cache")
    rows = []
    for request in range(len(trace)):
        served = cache.serve(request, times[request] if times else 0.0)
        assert cache.evicted_blocks is not None
        rows.append((served.hit_blocks, served.hit_tokens, cache.evicted_blocks))
    cache.check()
    return rows


def _naive(
    requests: Requests,
    capacity: int | None,
    eviction: str,
    ttl_s: float = 0.0,
    times: list[float] | None = None,
) -> list[Row]:
    """The definition, on a list of ids, most recently used last."""
    recency: list[int] = []
    used_s: dict[int, float] = {}
    evicted = 0
    rows = []
    for request, (ids, tokens) in enumerate(requests):
        now = times[request] if times else 0.0
        hits = 0
        while hits < len(ids) and ids[hits] in recency and now - used_s[ids[hits]] <= ttl_s:
            hits += 1
        for block in ids if eviction == "lru_head_first" else reversed(ids):
            recency = [*(other for other in recency if other != block), block]
            used_s[block] = now
        if capacity is not None:
            evicted += max(0, len(recency) - capacity)
            recency = recency[-capacity:]
        rows.append((hits, min(hits * BLOCK, tokens), evicted))
    return rows


def _total(rows: list[Row]) -> tuple[int, int]:
    return sum(blocks for blocks, _, _ in rows), sum(tokens for _, tokens, _ in rows)


@st.composite
def id_requests(draw: Any) -> Requests:
    """Prompts over two kinds of blocks; an id stands for a block and all before it.

    A partial last block has an id of its own.
    """
    ids: dict[tuple[int, ...], int] = {}
    requests = []
    prompts = st.lists(st.integers(0, 1), min_size=1, max_size=6)
    for prompt in draw(st.lists(prompts, min_size=1, max_size=12)):
        tokens = BLOCK * len(prompt)
        if draw(st.booleans()):
            prompt, tokens = [*prompt[:-1], 2], tokens - 100
        chain = [tuple(prompt[: i + 1]) for i in range(len(prompt))]
        requests.append(([ids.setdefault(prefix, len(ids)) for prefix in chain], tokens))
    return requests


@pytest.mark.parametrize(
    ("capacity", "blocks", "tokens"), [(3, 5, 2560), (4, 6, 3072), (5, 8, 4096), (None, 11, 5372)]
)
def test_small_example(capacity: int | None, blocks: int, tokens: int) -> None:
    """The counts of the small check that comes with the Mooncake trace's expected hits."""
    assert _total(_serve(_trace(SMALL), capacity)) == (blocks, tokens)


@pytest.mark.parametrize(
    ("capacity", "blocks", "tokens"), [(3, 3, 1536), (4, 4, 2048), (5, 6, 3072), (None, 11, 5372)]
)
def test_small_example_head_first(capacity: int | None, blocks: int, tokens: int) -> None:
    """The same requests when a prompt's first blocks go before its last ones."""
    assert _total(_serve(_trace(SMALL), capacity, "lru_head_first")) == (blocks, tokens)


@QUICK
@given(id_requests(), CAPACITY, st.sampled_from(["lru", "lru_tail_first", "lru_head_first"]))
def test_naive_list(requests: Requests, capacity: int | None, eviction: str) -> None:
    """Every request's hits and evictions are those of a plain list of ids."""
    assert _serve(_trace(requests), capacity, eviction) == _naive(requests, capacity, eviction)


@QUICK
@given(id_requests(), CAPACITY, st.integers(1, 5), st.data())
def test_lifetime(requests: Requests, capacity: int | None, ttl_s: int, data: st.DataObject) -> None:
    """With a lifetime, an id counts as cached up to ``ttl_s`` after its last use, that instant included."""
    gaps = st.lists(st.integers(0, 4), min_size=len(requests), max_size=len(requests))
    times = [float(at) for at in accumulate(data.draw(gaps))]
    want = _naive(requests, capacity, "lru", ttl_s, times)
    assert _serve(_trace(requests), capacity, "ttl", ttl_s, times) == want


@QUICK
@given(id_requests(), st.integers(1, 12), st.integers(1, 12))
def test_more_capacity_never_loses_a_hit(requests: Requests, capacity: int, more: int) -> None:
    """Inclusion: a larger LRU cache holds all that a smaller one does, at every request."""
    trace = _trace(requests)
    small, large, endless = [_serve(trace, size) for size in (capacity, capacity + more, None)]
    for one, two, three in zip(small, large, endless, strict=True):
        assert one[0] <= two[0] <= three[0]


def test_a_trace_without_ids_is_refused() -> None:
    """The message says what to use instead."""
    with pytest.raises(
        InputError, match=r"cache.kind = 'ids' .* generated has none; allowed: any other kind"
    ):
        IdsConfig(kind="ids").replay(Trace(), "cache")


def test_conversation_trace(shared_data: Path) -> None:
    """Every capacity of the expected hits of the Mooncake conversation trace: blocks and tokens."""
    folder = shared_data / "mooncake"
    expected = json.loads((folder / "expected_hits.json").read_text())
    config = {"kind": "trace", "format": "mooncake", "path": expected["trace"]}
    trace = MooncakeTrace.model_validate(config).build(0, folder)
    for order in ("lru_tail_first", "lru_head_first"):
        for capacity, blocks in expected["capacity_blocks"].items():
            rows = _serve(trace, None if capacity == "infinite" else int(capacity), order)
            tokens = expected["hit_tokens_by_capacity_blocks"][capacity]
            assert _total(rows) == (blocks[order], tokens[order])
