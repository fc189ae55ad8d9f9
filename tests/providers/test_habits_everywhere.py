"""Client habits under every record of rules: a provider finds what was sent before, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.providers import rulebook
from sim.providers.marks import Caching
from sim.providers.schema import Rules
from sim.providers.serve import HostedTimes, serve
from tests.chats import HABITS, Chat, chat, common
from tests.oracles import naive_prompts
from tests.providers.script import INSTANT, made, read, send, written
from workloads.checking import check
from workloads.errors import InputError
from workloads.tenants import salted
from workloads.trace import Trace

LARGER = 100
"""Tokens of the prompts per token of the small ones that are compared: above most minimums then."""
MODES = [
    (f"{name} {rules.match} {mode}", mode, rules)
    for name in rulebook.names()
    for rules in rulebook.provider(name).records
    for mode in rules.modes
]
"""Every record that ships in each of its modes."""
STRATEGIES = [None, "system", "last", "window", "all"]
TENANTS = {"tenants": 2, "think_time_s": {"distribution": "exponential", "mean": 60}}
ENDLESS = [{"name": "x", "seconds": 1e12, "write_mult": 1.25}]


def _larger(trace: Trace) -> Trace:
    """The same trace with ``LARGER`` times as many tokens everywhere, a segment for every message."""
    trace = trace.by_message
    for segment, end in enumerate(trace.content.end):
        trace.content.end[segment] = LARGER * end
    trace.output_tokens[:] = [LARGER * tokens for tokens in trace.output_tokens]
    check(trace)
    return trace


def _earlier(served: HostedTimes) -> list[list[int]]:
    """For each request those that were served before it."""
    order = sorted(range(len(served.arrival_s)), key=lambda i: (served.arrival_s[i], i))
    before: list[list[int]] = [[] for _ in order]
    for place, request in enumerate(order):
        before[request] = order[:place]
    return before


def _asked(rules: Rules, mode: str, strategy: str | None) -> Caching:
    """What the client asks for: its marks where the rules take them, else the default ones."""
    asked = Caching.model_validate({"mode": mode, "marks": strategy}).filled(rules)
    try:
        asked.check(rules, "test", "caching")
    except InputError:
        asked = Caching.model_validate({"mode": mode}).filled(rules)
    return asked


def _sent(small: Chat, replies: list[int], i: int) -> list[naive_prompts.Token]:
    """Request ``i``'s prompt and its reply behind it."""
    return small.whole()[i] + naive_prompts.words(replies[i], "reply", i)


@settings(derandomize=True, max_examples=100)
@given(HABITS, st.integers(0, 1000), st.sampled_from(STRATEGIES), st.booleans())
def test_reads_are_prefixes_that_were_sent_before(
    habits: dict[str, Any], seed: int, strategy: str | None, apart: bool
) -> None:
    """Reads are no longer than the longest prefix shared with an earlier prompt of the same scope.

    Providers that keep ends of outputs may find a prompt and its reply; an object that the request made
    itself is its own. ``apart``: tenants share nothing.
    """
    small = chat(habits, seed, **TENANTS)
    replies = list(small.trace.output_tokens)
    trace = _larger(small.trace)
    if apart:
        trace = salted(trace)
    prompts = small.whole()
    texts = [_sent(small, replies, i) for i in range(len(prompts))]
    n, tenant = len(prompts), trace.tenant
    shared = [
        [common(prompts[i], texts[j]) if not apart or tenant[i] == tenant[j] else 0 for j in range(n)]
        for i in range(n)
    ]
    for name, mode, rules in MODES:
        done = serve(trace, rules, _asked(rules, mode, strategy), INSTANT)
        for i, earlier in enumerate(_earlier(done)):
            if rules.kind == "object" and done.found.created_tokens[i]:
                assert read(done)[i] == done.found.created_tokens[i]
                continue
            replies_too = rules.kind == "unit"
            longest = max(
                (shared[i][j] if replies_too else min(shared[i][j], len(prompts[j])) for j in earlier),
                default=0,
            )
            assert read(done)[i] <= LARGER * longest, name


@settings(derandomize=True, max_examples=150)
@given(HABITS, st.integers(0, 1000))
def test_a_habit_leaves_exactly_the_prefix_that_it_should(habits: dict[str, Any], seed: int) -> None:
    """With nothing forgotten: all tokens shared with an earlier prompt, or all of an earlier prompt."""
    small = chat(habits, seed, **TENANTS)
    prompts, messages = small.whole(), small.prompts
    tokens = send(small.trace, made("grid", lifetimes=ENDLESS))
    ends = send(small.trace, made("breakpoint", auto_mark=True, lifetimes=ENDLESS))
    for i, earlier in enumerate(_earlier(tokens)):
        assert read(tokens)[i] == max((common(prompts[i], prompts[j]) for j in earlier), default=0)
        wholes = [j for j in earlier if messages[i][: len(messages[j])] == messages[j]]
        assert read(ends)[i] == max((len(prompts[j]) for j in wholes), default=0)
        assert written(ends)[i] == len(prompts[i]) - read(ends)[i]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing_is_found_behind_a_clock(strategy: str | None) -> None:
    """The time at token 0 of the system message: no provider reads anything, in any mode."""
    clock = _larger(
        chat({"system_prompt": {"kind": "clock", "at_token": 0, "tokens": 20}, **GOOD}, 3).trace
    )
    for name, mode, rules in MODES:
        done = serve(clock, rules, _asked(rules, mode, strategy), INSTANT)
        own = done.found.created_tokens
        assert [r - made_here for r, made_here in zip(read(done), own, strict=True)] == [0] * len(clock), (
            name
        )


GOOD: dict[str, Any] = {"dynamic_fields": {"kind": "none"}, "history": {"kind": "append"}}


def test_good_habits_are_found_everywhere() -> None:
    """The same chats without a clock: every record reads something, so that the tests above can fail."""
    plain = _larger(chat({"system_prompt": {"kind": "fixed"}, **GOOD}, 3).trace)
    for name, mode, rules in MODES:
        done = serve(plain, rules, _asked(rules, mode, None), INSTANT)
        assert sum(read(done)) > sum(done.found.created_tokens), name


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("mode", "strategy"), [("automatic", None), ("explicit", "all")])
def test_fields_in_the_user_message(kept: bool, mode: str, strategy: str | None) -> None:
    """Dropped fields lie before the moving mark: nothing is read. One before the newest message is found.

    Kept fields are part of the history: the moving mark finds the whole earlier prompt.
    """
    fields = {"dynamic_fields": {"kind": "user", "tokens": 5, "kept": kept}}
    settings_of_all = {"system_prompt": {"kind": "fixed"}, "history": {"kind": "append"}, **fields}
    one = {"sessions": 1, "turns": 6, "think_time_s": 1}
    small = chat(settings_of_all, 1, **one)
    lengths = [[len(message) for message in prompt] for prompt in small.prompts]
    trace = _larger(small.trace)
    rules = rulebook.record("anthropic", "claude-opus-5", mode, "x")
    reads = read(serve(trace, rules, _asked(rules, mode, strategy), INSTANT))
    if strategy == "all":  # the system message, then the history before the question of the turn before
        expected = [sum(before[:-1]) for before in lengths[:-1]]
    else:
        expected = [sum(before) if kept else 0 for before in lengths[:-1]]
    assert reads == [0, *(LARGER * tokens for tokens in expected)]
