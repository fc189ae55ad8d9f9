"""Laws that hold for every trace: what no memory, and no cache, can do better than another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.caches.base import ReplayCache
from sim.caches.block import BlockCache
from sim.caches.ideal import IdealCache
from sim.caches.replay import BlockReplay
from tests.caches.cases import QUICK, blocks_of, request_lists, trace_of
from tests.oracles.naive_vllm import NaiveRequest
from workloads.generators.script import ScriptWorkload
from workloads.trace import Trace

SPEC_6 = {
    "kind": "script",
    "messages": {
        "system": 50,
        "hello": 5,
        "hi": 4,
        "reply-1": 10,
        "reply-2": 10,
        "go on": 12,
        "reply-3": 9,
    },
    "requests": [
        {"prompt": ["system", "hello"], "reply": "reply-1"},
        {"prompt": ["system", "hi"], "reply": "reply-2"},
        {"prompt": ["system", "hello", "reply-1", "go on"], "reply": "reply-3"},
    ],
}
"""Worked example 6: one system message, two first user messages, one conversation goes on."""


def _hits(cache: ReplayCache, trace: Trace) -> list[int]:
    hits = []
    for request in range(len(trace)):
        hits.append(cache.serve(request, 0.0).hit_tokens)
        cache.check()
    return hits


def _block(trace: Trace, block_size: int, blocks: int | None = None, **options: Any) -> BlockReplay:
    return BlockReplay(trace, BlockCache(trace.content, block_size, blocks, **options))


@pytest.mark.parametrize(
    ("block_size", "cache_reply", "hits"),
    [
        (1, True, [0, 50, 64]),  # the reply's last token has no KV
        (1, False, [0, 50, 55]),
        (16, True, [0, 48, 64]),
        (16, False, [0, 48, 48]),
    ],
)
def test_worked_example_6(block_size: int, cache_reply: bool, hits: list[int]) -> None:
    """Prompts of 55, 54 and 77 tokens share 50 and 65; whole blocks of that are found."""
    trace = ScriptWorkload.model_validate(SPEC_6).build(0, Path())
    assert _hits(_block(trace, block_size, cache_reply=cache_reply), trace) == hits


def test_worked_example_6_at_best() -> None:
    """The ideal finds all that is shared, with or without the reply."""
    trace = ScriptWorkload.model_validate(SPEC_6).build(0, Path())
    assert _hits(IdealCache(trace, cache_reply=True), trace) == [0, 50, 65]
    assert _hits(IdealCache(trace, cache_reply=False), trace) == [0, 50, 55]


@QUICK
@given(request_lists(), st.integers(1, 4), st.integers(0, 20))
def test_no_memory_beats_an_infinite_one(requests: list[NaiveRequest], block_size: int, spare: int) -> None:
    """In replay, every single request finds at least as much with endless memory."""
    trace = trace_of(requests)
    some = _hits(_block(trace, block_size, blocks_of(requests, block_size) + spare), trace)
    endless = _hits(_block(trace, block_size), trace)
    assert all(a <= b for a, b in zip(some, endless, strict=True))


@QUICK
@given(request_lists(), st.integers(1, 4))
def test_no_block_cache_beats_the_ideal(requests: list[NaiveRequest], block_size: int) -> None:
    """Whole blocks, a last token to compute and one without KV: all of that only loses tokens."""
    trace = trace_of(requests)
    blocks = _hits(_block(trace, block_size), trace)
    ideal = _hits(IdealCache(trace, cache_reply=True), trace)
    assert all(a <= b for a, b in zip(blocks, ideal, strict=True))


@QUICK
@given(request_lists(), st.booleans())
def test_the_ideal_computes_every_token_once(requests: list[NaiveRequest], cache_reply: bool) -> None:
    """A prompt token costs once, with all before it; never, if a reply of that content came first."""
    trace = trace_of(requests)
    known: set[tuple[int, ...]] = set()
    for request, hit in zip(requests, _hits(IdealCache(trace, cache_reply), trace), strict=True):
        new = _prefixes(request.prompt) - known
        assert len(request.prompt) - hit == len(new)
        known |= new
        if cache_reply:
            known |= _prefixes([*request.prompt, *request.output])


@QUICK
@given(request_lists())
def test_the_ideal_computes_the_tree(requests: list[NaiveRequest]) -> None:
    """Without replies it computes as many tokens as the segments of all prompts have, each once."""
    trace = trace_of(requests)
    content = trace.content
    segments = {segment for prompt in trace.prompt for segment in content.path(prompt)}
    tokens = sum(content.end[segment] - content.end[content.parent[segment]] for segment in segments)
    hits = _hits(IdealCache(trace, cache_reply=False), trace)
    assert sum(trace.input_tokens) - sum(hits) == tokens


def _prefixes(tokens: Sequence[int]) -> set[tuple[int, ...]]:
    return {tuple(tokens[: i + 1]) for i in range(len(tokens))}
