"""Groups of layers over one pool: recordings of vLLM 0.33.0, a naive model, and what a configuration
says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sim import load_config, run
from sim.caches.base import too_long
from sim.caches.groups.cache import GroupedCache
from sim.caches.groups.config import most_blocks
from sim.caches.groups.kinds import kind_of
from sim.caches.groups.replay import GroupReplay
from sim.caches.replay import BlockConfig
from sim.caches.tables import BlockTable
from tests.caches.cases import QUICK, THOROUGH, request_lists, trace_of
from tests.caches.layers import TEMPLATES, groups_of, may_draft
from tests.caches.recorded import EXCERPTS, LARGEST, Recording, single_blocks_of_groups
from tests.oracles.naive_groups import NaiveGroupPool, serve_sequential_groups
from tests.oracles.naive_vllm import NaiveRequest
from workloads.content import ROOT, ContentTree
from workloads.trace import Trace

BLOCKS = {
    "full_swa128": {"short-s3": [257, 514], "tenants-s2": [513, 1026], "normal-s1": [769, 1538]},
    "full_5swa256": {"short-s3": [771, 1542], "tenants-s2": [1539, 3078], "normal-s1": [2307, 4614]},
    "full_chunk256": {"short-s3": [257, 514], "tenants-s2": [513, 1026], "normal-s1": [769, 1538]},
    "swa256": {"short-s3": [128, 257], "tenants-s2": [256, 513], "normal-s1": [384, 769]},
    "full_eagle": {"short-s3": [257], "tenants-s2": [513], "normal-s1": [769]},
    "full_swa128_eagle": {"short-s3": [514], "tenants-s2": [1026], "normal-s1": [1538]},
}
"""Blocks of the recordings of requests served one after another, by groups and trace."""
ALL = [
    pytest.param(trace, f"{name}_kvm_b{blocks}", marks=LARGEST if trace == "normal-s1" else ())
    for name, traces in BLOCKS.items()
    for trace, sizes in traces.items()
    for blocks in sizes
]
HERE = [
    (trace, f"{name}_kvm_b{traces[trace][0]}")
    for name, traces in BLOCKS.items()
    for trace in ("short-s3", "tenants-s2")
]
LISTS = st.lists(st.sampled_from(TEMPLATES), min_size=1, max_size=4)


def _groups(recording: Recording) -> list[str]:
    names: str = recording.args["groups"]
    return names.split(",")


def _replays_as_recorded(recording: Recording) -> None:
    trace = trace_of(recording.requests)
    evicted: list[tuple[int, ...]] = []
    cache = GroupedCache(
        trace.chains,
        recording.args["block_size"],
        recording.blocks,
        _groups(recording),
        eagle=recording.args["eagle"],
        evicted=lambda *run: evicted.append(run),
    )
    replay = GroupReplay(trace, cache)
    ids = [request.id for request in recording.requests]
    for number, row in enumerate(recording.rows):
        evicted.clear()
        served = replay.serve(number, 0.0)
        replay.check()
        assert served.hit_tokens == row["hit"]
        assert cache.cached_blocks == row["cached_blocks"]
        got = [(ids[owner], *rest) for owner, *rest in single_blocks_of_groups(evicted)]
        assert got == single_blocks_of_groups(row["evicted_prefill"] + row["evicted_decode"])
    assert len(recording.rows) == len(trace)


@pytest.mark.parametrize(("trace", "name"), HERE)
def test_excerpt(trace: str, name: str) -> None:
    """Hits, cached blocks, and which blocks of which group are evicted in which order."""
    _replays_as_recorded(Recording.read(EXCERPTS / "hybrid" / trace, name, EXCERPTS))


@pytest.mark.parametrize(("trace", "name"), ALL)
def test_whole_recording(shared_data: Path, trace: str, name: str) -> None:
    """The same, of the whole recordings."""
    folder = shared_data / "conformance"
    _replays_as_recorded(Recording.read(folder / "hybrid" / trace, name, folder))


@pytest.mark.parametrize(("trace", "name"), HERE)
def test_oracle(trace: str, name: str) -> None:
    """The naive model agrees with the engine in every field, so the other tests may rely on it."""
    recording = Recording.read(EXCERPTS / "hybrid" / trace, name, EXCERPTS)
    pool = NaiveGroupPool(recording.blocks, 16, _groups(recording), recording.args["eagle"])
    for request, row in zip(recording.requests[:25], recording.rows, strict=False):
        got = serve_sequential_groups(pool, request)
        for field in ("evicted_prefill", "evicted_decode"):
            row[field] = [tuple(run) for run in row[field]]
        assert got | {"ok": True} == row
        pool.check([])


def _serves_as_naive(
    requests: list[NaiveRequest], templates: list[str], size: int, spare: int, eagle: bool
) -> None:
    groups = groups_of(templates, size)
    trace = trace_of(requests)
    blocks = max(
        most_blocks(groups, len(r.prompt), len(r.prompt) + len(r.output) - 1, len(r.prompt), size)
        for r in requests
    )
    pool = NaiveGroupPool(blocks + spare, size, groups, eagle)
    evicted: list[tuple[int, ...]] = []
    hits = 0
    cache = GroupedCache(
        trace.chains, size, blocks + spare, groups, eagle=eagle, evicted=lambda *run: evicted.append(run)
    )
    replay = GroupReplay(trace, cache)
    for number, request in enumerate(requests):
        evicted.clear()
        want = serve_sequential_groups(pool, request)
        assert replay.serve(number, 0.0).hit_tokens == want["hit"]
        hits += want["hit"]
        replay.check()
        got = [(requests[owner].id, *rest) for owner, *rest in single_blocks_of_groups(evicted)]
        assert got == single_blocks_of_groups(want["evicted_prefill"] + want["evicted_decode"])
        assert cache.cached_blocks == want["cached_blocks"]
    event(f"evictions: {bool(pool.evictions)}, hits: {bool(hits)}")


@settings(QUICK, max_examples=300)
@given(request_lists(most=8, longest=14), LISTS, st.integers(1, 4), st.integers(0, 12), st.booleans())
def test_random_requests(
    requests: list[NaiveRequest], groups: list[str], size: int, spare: int, eagle: bool
) -> None:
    """Random groups and tiny pools: hits, evictions in order and cached blocks are the naive model's."""
    _serves_as_naive(requests, groups, size, spare, eagle and may_draft(groups))


@pytest.mark.slow
@THOROUGH
@given(request_lists(most=14, longest=30), LISTS, st.integers(1, 4), st.integers(0, 40), st.booleans())
def test_random_requests_thoroughly(
    requests: list[NaiveRequest], groups: list[str], size: int, spare: int, eagle: bool
) -> None:
    """The same on many more and longer traces."""
    _serves_as_naive(requests, groups, size, spare, eagle and may_draft(groups))


def _two_chats() -> Trace:
    trace = Trace()
    first = trace.content.append(ROOT, 1000)
    reply = trace.content.append(first, 100)
    trace.add(prompt=first, reply=reply, output_tokens=100, arrival_s=0.0)
    second = trace.content.append(reply, 60)
    trace.add(prompt=second, reply=trace.content.append(second, 40), output_tokens=40, arrival_s=1.0)
    return trace


def test_a_window_keeps_its_last_blocks() -> None:
    """A reply of 100 tokens leaves a window of 128 behind; the next turn needs its last 8 blocks only."""
    trace = _two_chats()
    cache = GroupedCache(trace.chains, 16, None, ["full", "swa:128"])
    replay = GroupReplay(trace, cache)
    assert replay.serve(0, 0.0).hit_tokens == 0
    table = BlockTable(trace.chains.route(trace.prompt[1]), 1160, 1)
    hit = cache.lookup(table, 1160)
    assert hit.blocks == (1100 - 1) // 16 and hit.groups is not None
    assert [sum(hi - lo for _, lo, hi in (part or hit).pieces) for part in hit.groups] == [68, 8]
    assert replay.serve(1, 1.0).hit_tokens == 68 * 16


def test_through_the_public_api(tmp_path: Path) -> None:
    """A configured replay has the hits of the recording; an engine takes the same groups, and so does its
    twin."""
    recording = Recording.read(EXCERPTS / "hybrid" / "short-s3", "full_swa128_kvm_b257", EXCERPTS)
    cache = {"kind": "block", "groups": ["full", "swa:128"]}
    engine = {"kind": "engine", "cache": cache, "memory": {"kv_blocks": 256}}
    config = {
        "name": "groups",
        "workload": {
            "kind": "trace",
            "format": "tokens",
            "path": str(EXCERPTS / "short-s3" / "trace.jsonl.gz"),
        },
        "systems": {
            "replay": {"kind": "cache", "cache": {**cache, "capacity_blocks": recording.blocks}},
            "engine": {**engine, "latency": {"kind": "constant", "iteration_s": 0.01}},
        },
    }
    (tmp_path / "groups.yaml").write_text(yaml.safe_dump(config))
    result = run(load_config(tmp_path / "groups.yaml"))
    table = result.requests().query("system == 'replay'").set_index("request_id")["cache_read_input_tokens"]
    assert table.to_dict() == {row["id"]: row["hit"] for row in recording.rows}
    systems = result.summary()["systems"]
    evicted = sum(row["evict_prefill"] + row["evict_decode"] for row in recording.rows)
    assert systems["replay"]["cache"]["evicted_blocks"] == evicted
    assert result.requests().query("system == 'engine'")["cache_read_input_tokens"].sum() > 0
    assert (result.requests()["status"] == "completed").all()


def test_what_does_not_go_together() -> None:
    """Each refusal names what is allowed."""
    refused: list[tuple[dict[str, Any], str]] = [
        ({"groups": []}, "at least 1"),
        ({"groups": ["swa"]}, "full, swa:W and chunk:C"),
        ({"groups": ["chunk:24"]}, "a chunk of whole blocks"),
        ({"groups": ["swa:1"]}, "full, swa:W and chunk:C"),
        ({"groups": ["full", "swa:8"], "eviction": "lfu"}, "eviction: lru"),
        ({"groups": ["full", "swa:8"], "cache_reply": False}, "cache_reply: true"),
        ({"eagle": True, "groups": ["full", "mamba:align"]}, "mamba:align"),
        ({"eagle": True, "groups": ["chunk:32"]}, "a full group"),
    ]
    for cache, message in refused:
        with pytest.raises(ValueError, match=message):
            BlockConfig.model_validate({"kind": "block", **cache})


def test_a_pool_that_is_too_small() -> None:
    """63 blocks of either group for a prompt of 1,000 tokens; the reply needs fewer of the window's."""
    trace = _two_chats()
    config: dict[str, Any] = {"kind": "block", "groups": ["full", "swa:128"], "capacity_blocks": 145}
    assert too_long(BlockConfig.model_validate(config), trace) == 1
    assert too_long(BlockConfig.model_validate({**config, "capacity_blocks": 146}), trace) == 0


def test_how_far_kinds_look_back() -> None:
    """After 100 tokens: what the next one does not see; and with how many tokens the next block of 16 is
    left behind."""
    want = {"full": (0, None), "swa:20": (81, 115), "chunk:64": (64, 128), "mamba:align": (99, 113)}
    for name, (skipped, following) in want.items():
        kind = kind_of(name)
        assert kind.skipped_tokens(100) == skipped
        left = [tokens for tokens in range(100, 200) if kind.skipped_tokens(tokens) // 16 > skipped // 16]
        assert (left[0] if left else None) == following
        if kind.behind >= 0:
            assert following == (skipped // 16 + 1) * 16 + kind.behind
        assert (kind.leap > 0) == (name == "chunk:64")


def test_equal_groups_need_the_block_each() -> None:
    """Two windows: what only one of them still has is no hit."""
    tree = ContentTree()
    prompt = tree.append(ROOT, 8)
    cache = GroupedCache(tree, 2, 8, ["swa:3", "swa:3"])
    table = BlockTable(tree.route(prompt), 8, 0)
    cache.grow(table, 0, 8)
    cache.publish(table, 8)
    cache.release(table, 4)
    assert cache.lookup(BlockTable(tree.route(prompt), 8, 1), 8).blocks == 3
    cache.take(2)  # the deepest blocks of the first window
    assert cache.lookup(BlockTable(tree.route(prompt), 8, 1), 8).blocks == 2
    cache.give_back(2)
    cache.check()
