"""The agent generator: the loop, compaction, rewritten histories, sub-agents."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.checking import check
from workloads.generators.agent import AgentWorkload
from workloads.trace import NONE, Trace

PLAIN: dict[str, Any] = {
    "kind": "agent", "sessions": 30, "arrival": {"rate_per_s": 1}, "calls": 5, "task_tokens": 300,
    "result_tokens": 40, "user_tokens": 7, "output_tokens": 10, "tool_time_s": 2, "think_time_s": 60,
    "user_share": 0, "rewritten_share": 0, "compaction": None, "subagents": {"share": 0},
    "system_prompt": {"tokens": 1000},
}  # fmt: skip


def _agent(**changes: Any) -> Trace:
    trace = AgentWorkload.model_validate(PLAIN | changes).build(1, Path())
    check(trace)
    return trace


def _chain(trace: Trace, first: int) -> list[int]:
    calls = [first]
    while trace.follower[calls[-1]] != NONE:
        calls.append(trace.follower[calls[-1]])
    return calls


def _common(trace: Trace, one: int, other: int) -> int:
    both = set(trace.content.path(trace.prompt[one])) & set(trace.content.path(trace.prompt[other]))
    return max((trace.content.end[node] for node in both), default=0)


def test_a_loop() -> None:
    """Head and task, then at each call the reply before and a tool's result, after the tool's time."""
    trace = _agent()
    for first in trace.starts():
        calls = _chain(trace, first)
        assert [trace.input_tokens[i] for i in calls] == [1300, 1350, 1400, 1450, 1500]
        assert [trace.think_s[i] for i in calls] == [0, 2, 2, 2, 2]
        for before, call in pairwise(calls):
            assert trace.reply[before] in trace.content.path(trace.prompt[call])
    assert len(trace.tool_turns) == 30 * 4
    assert _common(trace, 0, 5) == 1000


def test_users_speak() -> None:
    """At all calls: their messages and times take the place of the tools'."""
    trace = _agent(user_share=1)
    assert [trace.input_tokens[i] for i in _chain(trace, 0)] == [1300, 1317, 1334, 1351, 1368]
    assert not trace.tool_turns and set(trace.think_s) == {0.0, 60.0}


def test_a_rewritten_history() -> None:
    """As long as it would be, and new behind the head."""
    trace = _agent(rewritten_share=1)
    calls = _chain(trace, 0)
    assert [trace.input_tokens[i] for i in calls] == [1300, 1350, 1400, 1450, 1500]
    assert {_common(trace, before, call) for before, call in pairwise(calls)} == {1000}
    assert len(trace.content) < 3 * len(trace) and len(trace.by_message.content) > 4 * len(trace)


def test_compaction() -> None:
    """A prompt beyond the limit is head, summary and the new result."""
    trace = _agent(compaction={"at_tokens": 1420, "summary_tokens": 100})
    calls = _chain(trace, 0)
    assert [trace.input_tokens[i] for i in calls] == [1300, 1350, 1400, 1140, 1190]
    assert _common(trace, calls[2], calls[3]) == 1000 and _common(trace, calls[3], calls[4]) == 1140


def test_subagents() -> None:
    """Sessions of their own with a parent, a head of their own, and between two calls of it."""
    sub = {"share": 1, "calls": 2, "system_tokens": 500, "task_tokens": 50}
    trace = _agent(sessions=2, calls=2, subagents=sub)
    chain = _chain(trace, 0)
    assert [trace.session[i] for i in chain] == [0, 1, 1, 0, 2, 2]
    assert trace.parents == {1: 0, 2: 0, 4: 3, 5: 3}
    assert [trace.input_tokens[i] for i in chain] == [1300, 550, 600, 1350, 550, 600]
    assert [trace.think_s[i] for i in chain] == [0, 0, 2, 2, 0, 2]
    assert _common(trace, chain[1], chain[4]) == 500 and _common(trace, chain[0], chain[1]) == 0


def test_a_head_of_nobody() -> None:
    """Is refused: every call of a session begins with its head."""
    with pytest.raises(ValueError, match="allowed: all, tenant, session"):
        _agent(system_prompt={"tokens": 100, "shared_by": "none"})


def test_defaults_are_those_of_the_recorded_sessions() -> None:
    """Calls, growth, replies and gaps of 400 sessions near the published medians and means."""
    trace = AgentWorkload.model_validate(
        {"kind": "agent", "sessions": 400, "arrival": {"rate_per_s": 1}}
    ).build(3, Path())
    main = [i for i, session in enumerate(trace.session) if session not in trace.parents]
    calls = np.unique([trace.session[i] for i in main], return_counts=True)[1]
    assert np.median(calls) == pytest.approx(44, rel=0.15) and calls.mean() == pytest.approx(66, rel=0.15)
    assert np.median(trace.output_tokens) == pytest.approx(218, rel=0.03)
    assert np.mean(trace.output_tokens) == pytest.approx(440, rel=0.05)
    tools_s = [trace.think_s[i] for i in main if i in trace.tool_turns]
    assert np.median(tools_s) == pytest.approx(12.5, rel=0.05)
    users = sum(1 for i in main if i not in trace.tool_turns and trace.turn[i] > 1)
    assert users / (len(main) - 400) == pytest.approx(0.051, rel=0.1)
