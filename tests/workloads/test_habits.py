"""Client habits: each changes exactly the prefixes that it should, and nothing else."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches.ideal import IdealConfig
from sim.caches.message import MessageConfig
from tests.chats import HABITS, TEXT, common, drawn, workload
from tests.oracles import naive_prompts
from tests.oracles.plain_chat import plain_chat
from workloads.checking import check
from workloads.content import ROOT
from workloads.habits import Habits
from workloads.messages_before import messages_before
from workloads.tenants import salted
from workloads.trace import NONE, Trace


def _chat(habits: dict[str, Any], seed: int = 1, **changes: Any) -> Trace:
    trace = workload(habits, **changes).build(seed, Path())
    check(trace)
    return trace


def _common(trace: Trace, one: int, other: int) -> int:
    """Tokens that the prompts of two requests share."""
    both = set(trace.content.path(trace.prompt[one])) & set(trace.content.path(trace.prompt[other]))
    return max((trace.content.end[segment] for segment in both), default=0)


def _after(trace: Trace) -> list[tuple[int, int]]:
    """Each request with the next one of its session."""
    return [(i, after) for i, after in enumerate(trace.follower) if after != NONE]


def _base(trace: Trace) -> tuple[Any, ...]:
    """What habits must not touch."""
    return (
        trace.arrival_s, trace.think_s, trace.follower, trace.output_tokens, trace.session, trace.turn,
        trace.tenant,
    )  # fmt: skip


SHARED_BY = st.sampled_from(["all", "tenant", "session", "none"])


@settings(derandomize=True, max_examples=150)
@given(HABITS, SHARED_BY, st.integers(0, 1000))
def test_against_a_client_that_writes_prompts_out(
    habits: dict[str, Any], shared_by: str, seed: int
) -> None:
    """Any habits together: messages of every prompt, which of them are replies, and common prefixes."""
    shape = {"system_prompt": {"tokens": TEXT, "shared_by": shared_by}, "tenants": 2}
    trace, plain = _chat(habits, seed, **shape), _chat({}, seed, **shape).by_message
    assert _base(trace) == _base(plain)
    whole, trace = trace, trace.by_message
    check(trace)
    assert [whole.message_tree.route(prompt).nodes for prompt in whole.prompt] == [
        trace.content.path(prompt) for prompt in trace.prompt
    ]
    texts = {"all": [0] * len(trace), "tenant": trace.tenant, "session": trace.session}
    prompts = naive_prompts.prompts(
        drawn(plain), texts.get(shared_by, list(range(len(trace)))), TEXT, habits
    )
    ends, before = trace.content.end, messages_before(trace)
    for request, prompt in enumerate(prompts):
        starts = [0, *(ends[segment] for segment in trace.message_path(trace.prompt[request]))]
        lengths = [end - start for start, end in pairwise(starts)]
        assert lengths == [len(message) for message in prompt]
        path = trace.message_path(trace.prompt[request])
        assert path[0] in trace.system_messages
        assert [before[segment] for segment in path] == [ROOT, *path[:-1]]
        replies = [segment in trace.resent_replies or segment in trace.reply for segment in path]
        assert replies == [message[0][0] == "reply" for message in prompt]
    flat = [[token for message in prompt for token in message] for prompt in prompts]
    for one, other in combinations(range(len(trace)), 2):
        shared = common(flat[one], flat[other])
        assert _common(trace, one, other) == _common(whole, one, other) == shared


@settings(derandomize=True, max_examples=50)
@given(HABITS, st.integers(0, 1000))
def test_what_an_ideal_cache_finds(habits: dict[str, Any], seed: int) -> None:
    """Hits are the longest prefix shared with any earlier prompt and its reply, written out as text."""
    trace, plain = _chat(habits, seed), _chat({}, seed)
    prompts = naive_prompts.prompts(drawn(plain), [0] * len(trace), TEXT, habits)
    cache = IdealConfig(kind="ideal").replay(trace, "cache")
    known: list[list[Any]] = []
    for at, request in trace.instant_order():
        prompt = [token for message in prompts[request] for token in message]
        expected = max((common(prompt, text) for text in known), default=0)
        assert cache.serve(request, at).hit_tokens == expected
        known.append(prompt + naive_prompts.words(trace.output_tokens[request], "reply", request))


def _columns(trace: Trace) -> tuple[Any, ...]:
    return (*_base(trace), trace.prompt, trace.reply, trace.content.parent, trace.content.end)


@pytest.mark.parametrize("shared_by", ["all", "tenant", "session", "none"])
@pytest.mark.parametrize("tokens", [0, TEXT])
def test_good_habits_are_the_plain_chat(shared_by: str, tokens: int) -> None:
    """By default the trace is, segment by segment, that of a generator that knows no habits."""
    prompt = {"tokens": tokens, "shared_by": shared_by}
    configured = workload({}, system_prompt=prompt, tenants=2)
    trace = configured.build(5, Path())
    spelled_out = {"system_prompt": "fixed", "dynamic_fields": "none", "history": "append"}
    assert _columns(_chat(spelled_out, 5, system_prompt=prompt, tenants=2)) == _columns(trace)
    assert _columns(plain_chat(configured, 5)) == _columns(trace.by_message)
    assert not trace.continuations


# What turn k and turn k + 1 share, in closed form: P is the prompt of turn k, S the system message.


@given(st.integers(0, TEXT), st.integers(1, 9))
def test_clock(at_token: int, tokens: int) -> None:
    """Any two requests share the system message up to the clock; prompts are longer by the clock."""
    trace = _chat({"system_prompt": {"kind": "clock", "tokens": tokens, "at_token": at_token}})
    for one, other in combinations(range(len(trace)), 2):
        assert _common(trace, one, other) == at_token
    assert trace.input_tokens == [n + tokens for n in _chat({}).input_tokens]


def test_append() -> None:
    """Turn k + 1 resends all of P."""
    trace = _chat({})
    assert len(_after(trace)) > 10
    for one, other in _after(trace):
        assert _common(trace, one, other) == trace.input_tokens[one]


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_window(turns: int) -> None:
    """P while the history fits, S alone once it slides; the last turns and the new message are sent."""
    trace = _chat({"history": {"kind": "window", "turns": turns}}, sessions=30)
    said = drawn(_chat({}, sessions=30))
    for one, other in _after(trace):
        fits = trace.turn[one] <= turns
        assert _common(trace, one, other) == (trace.input_tokens[one] if fits else TEXT)
        session, turn = said[trace.session[other]], trace.turn[other]
        history = session[max(0, turn - 1 - turns) : turn - 1]
        sent = TEXT + sum(user + reply for user, reply in history) + session[turn - 1][0]
        assert trace.input_tokens[other] == sent


def test_summarise() -> None:
    """S alone whenever a summary is written: over 3 turns, so before turns 5, 8, 11, ...; P otherwise."""
    trace = _chat(
        {"history": {"kind": "summarise", "turns": 3, "keep_turns": 1, "tokens": 7}}, turns=12, sessions=3
    )
    said = drawn(_chat({}, turns=12, sessions=3))
    for one, other in _after(trace):
        turn = trace.turn[other]
        written = turn in (5, 8, 11)
        assert _common(trace, one, other) == (TEXT if written else trace.input_tokens[one])
        if written:
            (user, reply), (newest, _) = said[trace.session[other]][turn - 2 : turn]
            assert trace.input_tokens[other] == TEXT + 7 + user + reply + newest


@pytest.mark.parametrize("turn", [1, 3, -1, -2])
def test_edit(turn: int) -> None:
    """What comes before the rewritten message, P while that does not exist yet; lengths stay."""
    trace, plain = _chat({"history": {"kind": "edit", "turn": turn}}), _chat({})
    assert trace.input_tokens == plain.input_tokens
    said = drawn(plain)
    for one, other in _after(trace):
        edited = turn if turn > 0 else trace.turn[other] + turn
        before = TEXT + sum(user + reply for user, reply in said[trace.session[one]][: edited - 1])
        exists = 1 <= edited < trace.turn[other]
        assert _common(trace, one, other) == (before if exists else trace.input_tokens[one])


@given(st.none() | st.integers(0, TEXT), st.integers(1, 9))
def test_dynamic_fields(at_token: int | None, tokens: int) -> None:
    """The same tokens in another place: all of P but the fields, or the system message up to them."""
    user = _chat({"dynamic_fields": {"kind": "user", "tokens": tokens}})
    system = _chat({"dynamic_fields": {"kind": "system", "tokens": tokens, "at_token": at_token}})
    assert user.input_tokens == system.input_tokens == [n + tokens for n in _chat({}).input_tokens]
    for one, other in _after(user):
        assert _common(user, one, other) == user.input_tokens[one] - tokens
        assert _common(system, one, other) == (TEXT if at_token is None else at_token)


def test_kept_fields() -> None:
    """Fields that stay in the history: all of P is resent, and turn k carries k times the fields."""
    trace, plain = _chat({"dynamic_fields": {"kind": "user", "tokens": 4, "kept": True}}), _chat({})
    extra = [a - b for a, b in zip(trace.input_tokens, plain.input_tokens, strict=True)]
    assert extra == [4 * turn for turn in trace.turn]
    for one, other in _after(trace):
        assert _common(trace, one, other) == trace.input_tokens[one]


def test_a_message_cache_sees_whole_messages() -> None:
    """A clock behind 10 tokens: a block of them is shared, but no message; dropped fields: not the last."""
    clock = _chat({"system_prompt": {"kind": "clock", "at_token": 10}}, sessions=1, turns=4)
    assert _message_hits(clock) == [0, 0, 0, 0]
    fields = _chat({"dynamic_fields": "user"}, sessions=1, turns=4)
    said = drawn(_chat({}, sessions=1, turns=4))[0]
    # Turn k sent user message k with fields, turn k + 1 without them: another message.
    expected = [0] + [TEXT + sum(u + r for u, r in said[:k]) for k in range(3)]
    assert _message_hits(fields) == expected


def _message_hits(trace: Trace) -> list[int]:
    cache = MessageConfig(kind="message").replay(trace, "cache")
    return [cache.serve(request, at).hit_tokens for at, request in trace.instant_order()]


def test_tenants_keep_their_message_boundaries() -> None:
    """A salt copies the content; where messages end stays known."""
    trace = _chat({"system_prompt": {"kind": "clock", "at_token": 10}}, tenants=2)
    apart, trace = salted(trace).by_message, trace.by_message
    check(apart)
    for one, other in zip(trace.prompt, apart.prompt, strict=True):
        ends = [trace.content.end[segment] for segment in trace.message_path(one)]
        assert [apart.content.end[segment] for segment in apart.message_path(other)] == ends
        assert apart.message_path(other)[0] in apart.system_messages
        replies = [segment in trace.resent_replies for segment in trace.message_path(one)]
        assert [segment in apart.resent_replies for segment in apart.message_path(other)] == replies
    assert apart.resent_replies


def test_a_word_is_a_habit_with_its_defaults() -> None:
    """``history: window`` means the same as ``history: {kind: window, turns: 5}``."""
    short = Habits.model_validate(
        {"system_prompt": "clock", "dynamic_fields": "system", "history": "window"}
    )
    written = Habits.model_validate(
        {
            "system_prompt": {"kind": "clock", "tokens": 20, "at_token": 0},
            "dynamic_fields": {"kind": "system", "tokens": 100, "at_token": None},
            "history": {"kind": "window", "turns": 5},
        }
    )
    assert short == written
