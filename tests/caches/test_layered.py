"""The layered cache: each message lives in the layer of its class, with that layer's lifetime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sim.caches.layered import LayeredConfig
from sim.caches.message import MessageConfig
from tests.oracles.naive_messages import layered_hits
from workloads.generators.script import ScriptWorkload
from workloads.trace import Trace

LENGTHS = {"system": 50, "a": 5, "b": 4, "c": 12, "reply": 10}
LONG = {"ttl_s": 1000.0}
NAMES = ("system", "conversation", "recent")


def _script(requests: list[tuple[float, list[str]]]) -> Trace:
    rows = [{"prompt": prompt, "reply": "reply", "at_s": at} for at, prompt in requests]
    workload = ScriptWorkload.model_validate({"kind": "script", "messages": LENGTHS, "requests": rows})
    return workload.build(0, Path())


def _serve(trace: Trace, **layers: Any) -> list[dict[str, int]]:
    cache = LayeredConfig.model_validate({"kind": "layered", **layers}).replay(trace, "cache")
    found = []
    for at, request in trace.instant_order():
        found.append(dict(cache.serve(request, at).tiers))
        cache.check()
    return found


TURNS = [
    (0.0, ["system", "a"]),
    (10.0, ["system", "a", "reply", "b"]),
    (20.0, ["system", "a", "reply", "b", "reply", "c"]),
]


def test_messages_move_from_recent_to_conversation() -> None:
    """Turn 2 finds turn 1's message and reply as recent; turn 3 finds them as conversation."""
    found = _serve(_script(TURNS), system=LONG, conversation=LONG, recent=LONG)
    assert found == [
        {},
        {"system": 50, "recent": 15},
        {"system": 50, "conversation": 15, "recent": 14},
    ]


def test_each_layer_has_its_lifetime() -> None:
    """Recent requests are gone after 5 s: turn 2 finds the system message only, turn 3 the history."""
    found = _serve(_script(TURNS), system=LONG, conversation=LONG, recent={"ttl_s": 5.0})
    assert found == [{}, {"system": 50}, {"system": 50, "conversation": 15}]


def test_lookup_stops_at_the_first_gap() -> None:
    """Without the system layer's entry nothing behind it can be used."""
    found = _serve(_script(TURNS), system={"ttl_s": 5.0}, conversation=LONG, recent=LONG)
    assert found == [{}, {}, {}]


def test_each_layer_has_its_capacity() -> None:
    """A conversation layer of 14 tokens cannot keep turn 1's 15 tokens: their tail goes first."""
    found = _serve(_script(TURNS), system=LONG, conversation={"capacity_tokens": 14}, recent=LONG)
    assert found[2] == {"system": 50, "conversation": 5}


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=10))
def test_unlimited_layers_find_what_one_unlimited_store_finds(lists: list[list[str]]) -> None:
    """Without lifetimes and capacities the layers only label what the message cache finds."""
    trace = _script([(float(i), ["system", *prompt]) for i, prompt in enumerate(lists)])
    plain = MessageConfig(kind="message").replay(trace, "cache")
    expected = [plain.serve(request, at).hit_tokens for at, request in trace.instant_order()]
    found = _serve(trace, system={}, conversation={}, recent={})
    assert [sum(tiers.values()) for tiers in found] == expected


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), min_size=1, max_size=10),
    st.lists(st.integers(0, 8), min_size=10, max_size=10),
    st.tuples(*[st.one_of(st.none(), st.integers(1, 12)) for _ in range(3)]),
    st.tuples(*[st.one_of(st.none(), st.integers(1, 90)) for _ in range(3)]),
)
def test_against_a_naive_reference(
    lists: list[list[str]],
    gaps: list[int],
    lifetimes: tuple[int | None, ...],
    capacities: tuple[int | None, ...],
) -> None:
    """Every layer serves what the three naive lists serve."""
    times = [float(sum(gaps[: i + 1])) for i in range(len(lists))]
    trace = _script([(at, ["system", *prompt]) for at, prompt in zip(times, lists, strict=True)])
    whole = [("system", *prompt) for prompt in lists]
    expected = layered_hits(whole, times, LENGTHS, lifetimes, capacities)
    settings = {
        name: {k: v for k, v in (("ttl_s", ttl), ("capacity_tokens", capacity)) if v is not None}
        for name, ttl, capacity in zip(NAMES, lifetimes, capacities, strict=True)
    }
    assert _serve(trace, **settings) == expected
