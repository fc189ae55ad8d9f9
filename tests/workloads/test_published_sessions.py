"""The recorded Claude Code sessions: what their description says beyond lengths and hits.

Of a call's fields, a trace has neither ``stop`` nor ``ttft``, and of a session's neither ``tool_tokens``
nor ``system_tokens``; they are read from the rows that the importer is given. Not computed: the figures of
upstream's 739 sessions, of which 357 are here, how many of upstream's files could be had, and that two
blocks of one id are the same content (the importer relies on it).
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.workloads.published import at, raw, read, sessions
from workloads.content import ROOT
from workloads.formats.jsonl import Row
from workloads.shapes import common_tokens

FAMILIES = ((9, 239), (380, 409, 445), (382, 417), (396, 438), (414, 423), (392, 493), (413, 453))
"""Sessions that were captured twice, by the numbers in their names."""


@pytest.fixture(scope="module")
def path(shared_data: Path) -> Path:
    """The file."""
    return shared_data / "claude_code_sessions" / "sessions.jsonl.gz"


@pytest.fixture(scope="module")
def rows(path: Path) -> list[Row]:
    """Its sessions."""
    return raw(path)


def test_fields(rows: list[Row]) -> None:
    """Sections 1 and 4: sub-agents, absent fields, the head of tools and system prompt."""
    agents = [[entry for entry in row["requests"] if entry["type"] == "subagent"] for row in rows]
    assert (sum(map(len, agents)), sum(map(bool, agents))) == (30, 10)
    calls = [
        call
        for row in rows
        for entry in row["requests"]
        for call in (entry["requests"] if entry["type"] == "subagent" else [entry])
    ]
    assert [sum(key not in call for call in calls) for key in ("think_time", "api_time")] == [54, 2020]
    assert Counter(call["type"] for call in calls if "ttft" in call) == {"s": 2013}
    for key, mean, *expected in (
        ("tool_tokens", 11_542, 9292, 12_262, 12_974, 15_137, 16_022),
        ("system_tokens", 2767, 1906, 2774, 3767, 5960, 7462),
    ):
        values = [row[key] for row in rows]
        assert round(float(np.mean(values))) == mean
        assert [round(value) for value in at(values, 10, 50, 90, 99, 100)] == expected
    assert np.median([row["tool_tokens"] + row["system_tokens"] for row in rows]) == 14_951


def test_think_times(path: Path, rows: list[Row]) -> None:
    """Section 7, by the stop of the call before.

    The description fits ``think_time`` as it is recorded. The trace differs from it where its second trap
    forbids that: behind calls without ``api_time``, and these are all but 26 of those without a stop and
    one that ended a turn.
    """
    trace = read("claude_code_compact", path, subagents="exclude", loop="closed")
    assert trace.request_ids is not None
    thought = {trace.request_ids[after]: trace.think_s[after] for after in trace.follower if after >= 0}
    recorded: dict[str, list[float]] = {}
    gaps: dict[str, list[float]] = {}
    differ: Counter[str] = Counter()
    for row in rows:
        calls = [entry for entry in row["requests"] if entry["type"] != "subagent"]
        for turn, (before, call) in enumerate(pairwise(calls), start=2):
            stop, think_s = before["stop"], thought[f"{row['id']}/{turn}"]
            gaps.setdefault(stop, []).append(call["t"] - before["t"])
            if "think_time" in call:
                recorded.setdefault(stop, []).append(call["think_time"])
            if "api_time" in before and "think_time" in call:
                assert think_s == call["think_time"]
            elif "api_time" not in before:
                assert think_s == call["t"] - before["t"]
            differ[stop] += think_s != call.get("think_time")
    assert differ == {"tool_use": 0, "end_turn": 1, "": 1985}
    for stop, transitions, zeros, mu, sigma, median_s, percentiles, over_300_s, over_3600_s, starts in (
        ("tool_use", 20_233, 61, 2.5256, 1.2472, 12.5, [4, 9, 78, 644], 3.1, 0.08, [8, 17, 99]),
        ("end_turn", 1081, 5, 5.4001, 2.0695, 221.4, [10, 220, 2771, 38_443], 44.3, 6.5, [23, 228, 2764]),
    ):
        values = np.array(recorded[stop])
        positive = values[values > 0]
        logs = np.log(positive)
        assert (len(values), (values == 0).sum()) == (transitions, zeros)
        assert (round(logs.mean(), 4), round(logs.std(), 4)) == (mu, sigma)
        assert round(float(np.exp(logs.mean())), 1) == median_s
        assert [round(value) for value in at(positive, 10, 50, 90, 99)] == percentiles
        assert round(100 * (positive > 300).mean(), 1) == over_300_s
        assert round(100 * (positive > 3600).mean(), 2 if over_3600_s < 1 else 1) == over_3600_s
        assert [round(value) for value in at(gaps[stop], 10, 50, 90)] == starts
    assert len(gaps[""]) == 2011 and at(gaps[""], 10, 50, 90) == [7, 14, 100]


def test_previous_call_only(path: Path) -> None:
    """Section 6, caches that know nothing but the session's previous call; the fourth trap."""
    trace = read("claude_code_compact", path, subagents="exclude")
    lifetimes_s = {60: 0.780728, 300: 0.914018, 600: 0.932604, 3600: 0.959401, float("inf"): 0.961690}
    hits = dict.fromkeys(lifetimes_s, 0)
    chains = sessions(trace)
    for session in chains:
        for (earlier_s, before), (at_s, i) in pairwise(session):
            shared = common_tokens(trace, before, i) // 64 * 64
            for lifetime_s in hits:
                hits[lifetime_s] += shared * (at_s - earlier_s <= lifetime_s)
    inputs = trace.input_tokens
    assert {key: round(found / sum(inputs), 6) for key, found in hits.items()} == lifetimes_s
    assert round(float(np.mean([inputs[session[0][1]] > 50_000 for session in chains])), 2) == 0.40


def test_ideal_of_each_session(path: Path, rows: list[Row]) -> None:
    """Section 5: the mean over sessions, and all of them without those that were captured twice."""
    trace = read("claude_code_compact", path)
    content, known = trace.content, {ROOT}
    assert trace.named_blocks is not None
    names = sorted(row["id"] for row in rows)
    hits: Counter[str] = Counter()
    blocks: Counter[str] = Counter()
    for _, i in trace.instant_order():
        node, new = trace.prompt[i], []
        while node not in known:
            new.append(node)
            node = content.parent[node]
        known.update(new)
        name = names[trace.session[i]]
        hits[name] += content.end[node] // 64
        blocks[name] += trace.named_blocks[i]
    assert (hits.total(), blocks.total()) == (41_520_367, 43_158_856)
    assert round(float(np.mean([hits[name] / blocks[name] for name in names])), 3) == 0.927
    for _, *copies in FAMILIES:
        for copy in copies:
            del hits[f"trace_{copy:04d}"], blocks[f"trace_{copy:04d}"]
    assert round(hits.total() / blocks.total(), 5) == 0.96178
