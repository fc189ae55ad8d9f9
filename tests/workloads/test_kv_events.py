"""vLLM's KV events: requests that are put together from stored blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.caches.ideal import IdealConfig
from tests.workloads.other_files import ALL
from tests.workloads.two_sessions import Row, lines, turns
from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.vllm_kv_events import VllmKvEvents
from workloads.trace import NONE, Trace


def _read(path: Path, **settings: Any) -> Trace:
    config = {"kind": "trace", "format": "vllm_kv_events", "path": path} | settings
    trace = VllmKvEvents.model_validate(config).build(0, path.parent)
    check(trace)
    return trace


def _store(at_s: float, parent: Any, *hashes: Any, size: int = 4, **more: Any) -> Row:
    tokens = list(range(size * len(hashes)))
    return {"ts": at_s, "events": [["BlockStored", list(hashes), parent, tokens, size]]} | more


def test_the_conversation(tmp_path: Path) -> None:
    """Lengths, sessions, turns, what continues what, and the hits of a cache that keeps everything."""
    trace = _read(ALL["vllm_kv_events"](tmp_path))
    expected = turns()
    assert trace.input_tokens == [turn.input_tokens for turn in expected]
    assert trace.output_tokens == [turn.output_tokens for turn in expected]
    assert trace.turn == [turn.number for turn in expected]
    assert trace.continues == [NONE, NONE, 0, 1, 2, 3]
    cache = IdealConfig(kind="ideal").replay(trace, "cache")
    for place, (at, request) in enumerate(trace.instant_order()):
        earlier = trace.continues[request]
        known = 0 if earlier == NONE else trace.input_tokens[earlier] + trace.output_tokens[earlier]
        assert cache.serve(request, at).hit_tokens == known, place


def test_chunks_turns_and_branches(tmp_path: Path) -> None:
    """Prefill in chunks is one prompt; blocks behind a known one are a new request; so is a later turn."""
    rows = [
        _store(1, None, "a", "b"),
        _store(2, "b", "c", "d"),  # a second chunk
        _store(3, "d", "e"),  # decode
        _store(4, "e", "f"),
        _store(5, "f", "g", "h"),  # several blocks behind single ones: the next turn
        _store(20, "h", "i"),  # too late to be its reply
        _store(21, "b", "x", "y"),  # another prompt that found a and b
    ]
    trace = _read(lines(tmp_path / "t.jsonl", rows))
    assert trace.input_tokens == [16, 32, 36, 16]
    assert trace.output_tokens == [8, 1, 1, 1]
    assert trace.session == [0, 0, 0, 1] and trace.turn == [1, 2, 3, 1]
    assert trace.arrival_s == [0, 4, 19, 20]
    shared = set(trace.content.path(trace.prompt[0])) & set(trace.content.path(trace.prompt[3]))
    assert max(trace.content.end[node] for node in shared) == 8
    assert _read(tmp_path / "t.jsonl", idle_s=100.0).input_tokens == [16, 32, 16]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    """Blocks of other media and groups, removals, and chains that began before the log."""
    rows = [
        _store(1, None, "a", "b"),
        _store(2, "unknown", "c", "d"),
        _store(3, "d", "e"),
        {"ts": 3, "events": [["BlockStored", ["a"], None, [0, 1, 2, 3], 4, None, "CPU"]]},
        {"ts": 4, "events": [["BlockRemoved", ["a"]], ["AllBlocksCleared"]]},
    ]
    trace = _read(lines(tmp_path / "t.jsonl", rows))
    assert len(trace) == 1
    said = " ".join(trace.notes)
    for text in (
        "a prompt that was found whole in the cache leaves no event",
        "2 events go on from blocks that were stored before the first line",
        "1 BlockStored events of other media",
        "1 BlockRemoved events",
        "1 AllBlocksCleared events",
    ):
        assert text in said


def test_blocks_of_two_sizes(tmp_path: Path) -> None:
    """Cannot be one server's."""
    rows = [_store(1, None, "a"), _store(2, None, "b", size=8)]
    with pytest.raises(InputError, match=r"blocks of \[4, 8\] tokens; allowed: one size"):
        _read(lines(tmp_path / "t.jsonl", rows))


def test_removed_and_stored_again(tmp_path: Path) -> None:
    """Equal hashes are equal content, whenever they were computed."""
    rows = [_store(1, None, "a", "b"), _store(50, None, "a", "b"), _store(60, None, "a", "c")]
    trace = _read(lines(tmp_path / "t.jsonl", rows))
    assert trace.prompt[0] == trace.prompt[1] != trace.prompt[2]
    assert len(set(trace.session)) == 3
