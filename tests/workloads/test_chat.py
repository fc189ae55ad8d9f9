"""The chat generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.checking import check
from workloads.content import ROOT
from workloads.generators.chat import ChatWorkload
from workloads.trace import NONE, Trace


def _chat(seed: int = 1, **changes: Any) -> Trace:
    settings: dict[str, Any] = {
        "kind": "chat",
        "sessions": 50,
        "arrival": {"process": "poisson", "rate_per_s": 2},
        "turns": {"distribution": "geometric", "mean": 4},
        "think_time_s": {"distribution": "lognormal", "median": 100, "sigma": 1},
        "system_prompt": {"tokens": 100},
        "user_tokens": {"distribution": "lognormal", "mean": 80, "sigma": 1},
        "reply_tokens": 20,
    }
    trace = ChatWorkload.model_validate(settings | changes).build(seed, Path())
    check(trace)
    return trace


def _heads(trace: Trace) -> list[int]:
    return [trace.content.path(prompt)[0] for prompt in trace.prompt]


def test_a_turn_resends_the_history() -> None:
    """Turn n's path is turn n-1's prompt and reply, then one new user message."""
    trace = _chat()
    for i in range(len(trace)):
        after = trace.follower[i]
        if after != NONE:
            assert trace.session[after] == trace.session[i]
            assert trace.turn[after] == trace.turn[i] + 1
            assert trace.content.path(trace.prompt[after])[:-1] == trace.content.path(trace.reply[i])


@pytest.mark.parametrize(
    ("shared_by", "count"),
    [("all", lambda t: 1), ("tenant", lambda t: 3), ("session", lambda t: 50), ("none", len)],
)
def test_system_prompt_is_shared_by(shared_by: str, count: Any) -> None:
    """One head for all, per tenant, per session, or a new one in every request."""
    trace = _chat(system_prompt={"tokens": 100, "shared_by": shared_by}, tenants=3)
    assert len(set(_heads(trace))) == count(trace)
    if shared_by == "tenant":
        assert len(set(zip(_heads(trace), trace.tenant, strict=True))) == 3


def test_sharing_changes_prefixes_only() -> None:
    """Whoever shares the system prompt: the same arrivals, lengths and replies."""
    a, b = _chat(), _chat(system_prompt={"tokens": 100, "shared_by": "none"})
    assert a.input_tokens == b.input_tokens
    assert (a.arrival_s, a.think_s, a.output_tokens) == (b.arrival_s, b.think_s, b.output_tokens)


def test_without_a_system_prompt_sessions_share_nothing() -> None:
    """Zero tokens of system prompt: every session begins at the root."""
    trace = _chat(system_prompt={"tokens": 0})
    assert len(set(_heads(trace))) == 50
    assert all(trace.content.parent[head] == ROOT for head in _heads(trace))


def test_streams_are_independent() -> None:
    """Changing one distribution leaves all other draws as they were."""
    a, b = _chat(), _chat(think_time_s=5, reply_tokens=30)
    assert (a.arrival_s, a.turn) == (b.arrival_s, b.turn)
    first_turns = [i for i, turn in enumerate(a.turn) if turn == 1]
    assert [a.input_tokens[i] for i in first_turns] == [b.input_tokens[i] for i in first_turns]
    assert _chat(seed=2).arrival_s != a.arrival_s


def test_moments() -> None:
    """20,000 sessions: mean gap, turns, user tokens and median think time within 3 % of the settings."""
    trace = _chat(sessions=20_000)
    starts = [at for at in trace.arrival_s if at is not None]
    assert starts[-1] / len(starts) == pytest.approx(0.5, rel=0.03)
    assert len(trace) / 20_000 == pytest.approx(4, rel=0.03)
    thinks = [think for think, at in zip(trace.think_s, trace.arrival_s, strict=True) if at is None]
    assert np.median(thinks) == pytest.approx(100, rel=0.03)
    users = [n - 100 for n, turn in zip(trace.input_tokens, trace.turn, strict=True) if turn == 1]
    assert np.mean(users) == pytest.approx(80, rel=0.03)
