"""SGLang's radix tree over full attention and states: what it did, request by request.

The fields of the recordings are described in tests/fixtures/conformance/sglang_states/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sim.caches import CacheConfig, EngineCache
from sim.caches.radix_hybrid import HybridReplay
from sim.caches.radix_mamba import state_replay
from tests.caches.cases import QUICK, request_lists, trace_of
from tests.caches.recorded import EXCERPTS, read_rows, requests_of
from tests.oracles.naive_radix_states import NaiveRadixStates
from tests.oracles.naive_vllm import NaiveRequest

RECORDED = sorted((EXCERPTS / "sglang_states").glob("*/*.req.jsonl.gz"))
each_recording = pytest.mark.parametrize(
    "path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.name[:-13]}"
)


def _sizes(path: Path) -> tuple[int, int]:
    """The tokens of the pool of full attention, and the slots for states."""
    full, states = re.findall(r"_[fs](\d+)", path.name)
    return int(full), int(states)


@each_recording
def test_oracle(path: Path) -> None:
    """The naive model agrees with the engine in every field, so what is held against it may rely on it."""
    naive, rows = NaiveRadixStates(*_sizes(path)), read_rows(path)
    for request, row in zip(requests_of(EXCERPTS / path.parent.name), rows, strict=False):
        assert naive.serve(request) == row
    assert len(rows) >= 40 and any(row["evicted_full"] for row in rows)
    assert any(row["evicted_states"] for row in rows) and any(row["hit"] < row["full_hit"] for row in rows)


def _serves_as_naive(requests: list[NaiveRequest], full: int, states: int) -> None:
    naive, replay = NaiveRadixStates(full, states), state_replay(trace_of(requests), full, states)
    tree, hits = replay.tree, 0
    for number, request in enumerate(requests):
        before, lost = tree.full.evicted, tree.other.evicted
        want = naive.serve(request)
        assert replay.serve(number, 0.0).hit_tokens == want["hit"]
        replay.check()
        assert tree.full.evicted - before == sum(to - first for _, first, to in want["evicted_full"])
        assert tree.other.evicted - lost == len(want["evicted_states"])
        assert (tree.full.free, tree.other.free) == (want["full_free"], want["states_free"])
        hits += want["hit"]
    event(f"hits: {hits > 0}, evictions: {tree.full.evicted > 0}, {tree.other.evicted > 0}")


@each_recording
def test_replay(path: Path) -> None:
    """Hits, evictions and what is free of either pool are the engine's, through a configuration."""
    full, states = _sizes(path)
    requests, rows = requests_of(EXCERPTS / path.parent.name), read_rows(path)
    config = {"kind": "radix_mamba", "capacity_tokens": full, "state_slots": states}
    replay = TypeAdapter(CacheConfig).validate_python(config).replay(trace_of(requests), "cache")
    assert isinstance(replay, HybridReplay)
    evicted = lost = 0
    for number, row in enumerate(rows):
        assert replay.serve(number, 0.0).hit_tokens == row["hit"]
        replay.check()
        evicted += sum(to - first for _, first, to in row["evicted_full"])
        lost += len(row["evicted_states"])
        tree = replay.tree
        assert (replay.evicted_tokens, tree.other.evicted) == (evicted, lost)
        assert (tree.full.free, tree.other.free) == (row["full_free"], row["states_free"])


@hypothesis_settings(QUICK, max_examples=200)
@given(request_lists(most=12, longest=20), st.integers(0, 60), st.integers(3, 12))
def test_random_requests(requests: list[NaiveRequest], more: int, states: int) -> None:
    """Tiny pools: hits, evictions and what is free are the naive model's."""
    full = max(len(request.prompt) + len(request.output) for request in requests)
    _serves_as_naive(requests, full + more, states)


def test_refused() -> None:
    """Two slots cannot hold a state that is found, one's own and a copy; an engine takes no such cache."""
    with pytest.raises(ValidationError, match="greater than or equal to 3"):
        TypeAdapter(CacheConfig).validate_python({"kind": "radix_mamba", "state_slots": 2})
    with pytest.raises(ValidationError, match="radix_mamba"):
        TypeAdapter(EngineCache).validate_python({"kind": "radix_mamba"})
