"""Message caches: whole lists and longest cached prefixes, against an obvious reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import load_config, run
from sim.caches.layered import LayeredConfig
from sim.caches.message import MessageConfig
from tests.oracles.naive_messages import message_hits
from workloads.content import ROOT
from workloads.errors import InputError
from workloads.generators.script import ScriptWorkload
from workloads.trace import Trace

LENGTHS = {"system": 50, "a": 5, "b": 4, "c": 12, "d": 30, "reply": 10}


def _script(prompts: list[list[str]]) -> Trace:
    requests = [{"prompt": prompt, "reply": "reply", "at_s": float(i)} for i, prompt in enumerate(prompts)]
    workload = ScriptWorkload.model_validate({"kind": "script", "messages": LENGTHS, "requests": requests})
    return workload.build(0, Path())


def _hits(trace: Trace, **config: Any) -> list[int]:
    cache = MessageConfig(kind="message", **config).replay(trace, "cache")
    hits = []
    for at, request in trace.instant_order():
        hits.append(cache.serve(request, at).hit_tokens)
        cache.check()
    return hits


def test_longest_cached_prefix_is_whole_messages() -> None:
    """Turn 2 finds system, a and the reply; a sibling finds the system message only."""
    trace = _script([["system", "a"], ["system", "a", "reply", "b"], ["system", "b"]])
    assert _hits(trace) == [0, 65, 50]
    assert _hits(trace, cache_reply=False) == [0, 55, 50]


def test_whole_list_is_found_only_again() -> None:
    """A longer list misses; the same list, or the list that a reply completed, is found entirely."""
    trace = _script(
        [["system", "a"], ["system", "a", "reply", "b"], ["system", "a"], ["system", "a", "reply"]]
    )
    assert _hits(trace, match="whole") == [0, 0, 55, 65]


def test_a_list_loses_its_tail_first() -> None:
    """Capacity 100: after a second list only the shallow part of the first one is left."""
    trace = _script([["system", "a", "d"], ["c"], ["system", "a", "d"]])
    assert _hits(trace, capacity_tokens=100, cache_reply=False) == [0, 0, 85]
    assert _hits(trace, capacity_tokens=80, cache_reply=False) == [0, 0, 55]


def test_whole_lists_share_nothing() -> None:
    """Two lists under one system message take their full lengths each."""
    trace = _script([["system", "a"], ["system", "b"], ["system", "a"]])
    assert _hits(trace, match="whole", capacity_tokens=109, cache_reply=False) == [0, 0, 55]
    assert _hits(trace, match="whole", capacity_tokens=108, cache_reply=False) == [0, 0, 0]


prompts = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4), min_size=1, max_size=12)


@given(prompts, st.sampled_from(["whole", "prefix"]), st.integers(1, 120), st.booleans())
def test_against_a_naive_reference(lists: list[list[str]], match: str, capacity: int, reply: bool) -> None:
    """Both lookups find what the naive list of entries finds."""
    expected = message_hits(lists, LENGTHS, match, capacity, reply)
    assert _hits(_script(lists), match=match, capacity_tokens=capacity, cache_reply=reply) == expected


def test_the_tree(root: Path) -> None:
    """Worked example 6: 50 shared tokens for the second, 65 (reply included) for the third request."""
    settings = ["systems={messages: {kind: cache, cache: {kind: message}}}"]
    result = run(load_config(root / "configs/spec/6-the-tree.yaml", settings))
    assert result.runs["messages"].records.computed_tokens.tolist() == [55, 4, 12]


def test_needs_messages() -> None:
    """A trace that does not say where messages end is refused."""
    with pytest.raises(InputError, match="counts whole messages"):
        MessageConfig(kind="message").replay(Trace(), "systems.x.cache")


@pytest.mark.parametrize("config", [MessageConfig(kind="message"), LayeredConfig(kind="layered")])
def test_a_message_of_two_segments_is_found_whole(config: MessageConfig | LayeredConfig) -> None:
    """The same request again finds all of it; one that goes on otherwise inside the message, nothing."""
    trace = Trace(messages=True)
    start = trace.content.append(ROOT, 10)
    one, other = trace.content.append(start, 5), trace.content.append(start, 7)
    trace.continuations |= {one, other}
    for at, prompt in enumerate((one, one, other)):
        trace.add(prompt=prompt, output_tokens=3, arrival_s=float(at))
    cache = config.replay(trace, "cache")
    assert [cache.serve(i, float(i)).hit_tokens for i in range(3)] == [0, 15, 0]
    no_room = {"recent": {"capacity_tokens": 14}} if config.kind == "layered" else {"capacity_tokens": 14}
    cache = type(config).model_validate({"kind": config.kind, **no_room}).replay(trace, "cache")
    assert [cache.serve(i, float(i)).hit_tokens for i in range(3)] == [0, 0, 0]
