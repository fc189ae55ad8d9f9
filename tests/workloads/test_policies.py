"""Keep-warm pings and compaction at a size, at hosted APIs and own engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.config import Config
from sim.experiment import build_trace, run
from tests.workloads.one_chat import UNTIMED, WRITERS
from workloads.checking import check
from workloads.compaction import Compact
from workloads.errors import InputError
from workloads.keep_warm import KeepWarm
from workloads.policies import ClientPolicies
from workloads.registry import FORMATS
from workloads.trace import NONE, Trace

SCRIPT: dict[str, Any] = {
    "name": "x",
    "workload": {
        "kind": "chat",
        "sessions": 1,
        "arrival": {"process": "poisson", "rate_per_s": 1.0},
        "turns": 3,
        "think_time_s": 900.0,
        "system_prompt": {"tokens": 5000, "shared_by": "all"},
        "user_tokens": 100,
        "reply_tokens": 200,
    },
    "systems": {"anthropic": {"kind": "provider", "provider": "anthropic", "model": "claude-opus-5"}},
}
OWN = {"kind": "engine", "model": "llama-3.1-8b", "hardware": "h200", "cache": {"kind": "block"}}


def _trace(**clients: Any) -> Trace:
    trace = build_trace(Config.model_validate({**SCRIPT, **clients}).resolved())
    check(trace)
    return trace


def _chain(trace: Trace) -> list[int]:
    """The requests of the one session, in the order in which they come."""
    found = [trace.starts()[0]]
    while trace.follower[found[-1]] != NONE:
        found.append(trace.follower[found[-1]])
    return found


def test_pings_come_between_turns_and_after_the_last() -> None:
    """900 s of thinking: pings at 270, 540 and 810 s, the turn 90 s later; after the last up to 1,800 s."""
    trace = _trace(clients={"keep_warm": {}})
    chain = _chain(trace)
    pings = [request >= 3 for request in chain]
    assert pings == [False, True, True, True] * 2 + [False] + [True] * 6
    assert [trace.think_s[request] for request in chain[1:5]] == [270, 270, 270, 90]
    for request, before in zip(chain[1:4], chain[:3], strict=True):
        assert trace.prompt[request] == trace.prompt[before] and trace.output_tokens[request] == 1
    assert any("12 requests are keep-warm pings" in note for note in trace.notes)
    assert len(_trace(clients={"keep_warm": {"after_last": False}})) == 3 + 6
    assert len(_trace(clients={"keep_warm": {"until_s": 600}})) == 3 + 3 * 2


def test_pings_keep_what_expires_at_a_provider() -> None:
    """Without pings every turn writes its prompt anew after 900 s; with them it reads it."""
    cold = run(Config.model_validate(SCRIPT).resolved())
    warm = run(Config.model_validate({**SCRIPT, "clients": {"keep_warm": {"interval_s": 270}}}).resolved())
    read = {name: result.runs["anthropic"].records.hosted for name, result in (("c", cold), ("w", warm))}
    assert read["c"] is not None and read["w"] is not None
    assert read["c"].calls.read_tokens.tolist() == [0, 0, 0]
    assert read["w"].calls.read_tokens.tolist()[:3] == [0, 5100, 5400]


def test_a_long_history_becomes_a_summary() -> None:
    """The third prompt would have 5,700 tokens; above 5,500 it is cut to 5,300 and 100 new."""
    trace = _trace(clients={"compact": {"at_tokens": 5500, "to_tokens": 5300}})
    chain = _chain(trace)
    assert [trace.input_tokens[request] for request in chain] == [5100, 5400, 5600, 5400]
    assert [request >= 3 for request in chain] == [False, False, True, False]
    summary = chain[2]
    assert trace.output_tokens[summary] == 300, "5,000 of the 5,300 are the system message"
    assert trace.think_s[summary] == 900 and trace.think_s[chain[3]] == 0
    shared = set(trace.content.path(trace.prompt[chain[3]])) & set(trace.content.path(trace.prompt[0]))
    assert [trace.content.end[node] for node in sorted(shared)] == [5000]


def test_later_turns_go_on_from_the_summary() -> None:
    """Six turns: each prompt after the cut begins with the one before it and its reply."""
    workload = {**SCRIPT["workload"], "turns": 6}
    trace = _trace(workload=workload, clients={"compact": {"at_tokens": 5500, "to_tokens": 5300}})
    turns = [request for request in _chain(trace) if request < 6]
    lengths = [trace.input_tokens[request] for request in turns]
    assert lengths == [5100, 5400, 5400, 5400, 5400, 5400]
    long = _trace(workload=workload, clients={"compact": {"at_tokens": 5800, "to_tokens": 5300}})
    turns = [request for request in _chain(long) if request < 6]
    assert [long.input_tokens[request] for request in turns] == [5100, 5400, 5700, 5400, 5700, 5400]
    assert long.reply[turns[3]] in long.content.path(long.prompt[turns[4]])


@pytest.mark.parametrize("policy", [{"keep_warm": {}}, {"compact": {"at_tokens": 5500, "to_tokens": 5300}}])
def test_both_worlds_serve_them(policy: dict[str, Any]) -> None:
    """The same clients at a provider and on a GPU: every request is answered."""
    systems = {**SCRIPT["systems"], "own": OWN}
    result = run(Config.model_validate({**SCRIPT, "systems": systems, "clients": policy}).resolved())
    assert {len(one.records) for one in result.runs.values()} == {len(result.trace)}
    assert all(one.records.completed.all() for one in result.runs.values())


def test_a_recorded_trace_keeps_its_blocks(tmp_path: Path) -> None:
    """Blocks of 64 tokens stay whole; pings come at times of their own between recorded calls."""
    requests = [
        {
            "t": t,
            "type": "s",
            "model": "m",
            "in": 64 * n,
            "out": 1,
            "hash_ids": list(range(n)),
            "api_time": 1,
        }
        for t, n in ((0, 100), (600, 120), (660, 140))
    ]
    row = {"id": "a", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "requests": requests}
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row))
    workload = {"kind": "trace", "format": "claude_code_compact", "path": str(path)}
    trace = _trace(
        workload=workload,
        clients={"compact": {"at_tokens": 7000, "to_tokens": 3000}, "keep_warm": {"until_s": 600}},
    )
    # The second prompt: a summary of 46 whole blocks and its 20 new ones. The third goes on from there.
    assert trace.input_tokens[:3] == [6400, 64 * 66, 64 * 86]
    pings = [at for at, tokens in zip(trace.arrival_s, trace.output_tokens, strict=True) if tokens == 1]
    assert {270.0, 540.0} <= set(pings)


def test_bad_policies() -> None:
    for clients, said in (
        ({}, "no policy"),
        ({"compact": {"at_tokens": 10, "to_tokens": 10}}, "must be less than at_tokens"),
        ({"keep_warm": {"interval_s": 0}}, "greater than 0"),
    ):
        with pytest.raises(ValueError, match=said):
            Config.model_validate({**SCRIPT, "clients": clients})
    with pytest.raises(InputError, match="does not say what prompts share"):
        Compact().apply(Trace(lengths_only=True))


@given(
    turns=st.integers(1, 12),
    think_s=st.integers(0, 900),
    at_tokens=st.integers(400, 3000),
    share=st.floats(0.1, 0.95),
    open_loop=st.booleans(),
)
@settings(max_examples=40)
def test_any_chat_stays_whole(
    turns: int, think_s: int, at_tokens: int, share: float, open_loop: bool
) -> None:
    """Whatever the sizes: the tree is sound, every turn comes once, and none is longer than it may be."""
    workload = SCRIPT["workload"] | {
        "sessions": 2, "turns": turns, "think_time_s": float(think_s),
        "system_prompt": {"tokens": 200, "shared_by": "all"},
    }  # fmt: skip
    plain = _trace(workload=workload)
    compact = Compact(at_tokens=at_tokens, to_tokens=max(1, int(share * at_tokens)))
    trace = _trace(workload=workload)
    if open_loop:  # times of their own, as recorded ones have
        for request in range(len(trace)):
            if trace.arrival_s[request] is None:
                before = trace.follower.index(request)
                trace.arrival_s[request] = (trace.arrival_s[before] or 0.0) + think_s + 1
                trace.continues[request], trace.follower[before] = before, NONE
    ClientPolicies(compact=compact, keep_warm=KeepWarm(interval_s=200, until_s=500)).apply(trace)
    check(trace)
    assert len(trace.instant_order()) == len(trace) >= len(plain)
    room = compact.to_tokens > 200  # else the system message alone is longer than what is to be left
    for request, tokens in enumerate(plain.input_tokens):
        now = trace.input_tokens[request]
        assert trace.output_tokens[request] == plain.output_tokens[request]
        assert now == tokens or room
        new = 100  # of the user, which no summary holds
        assert now <= max(at_tokens, compact.to_tokens + new, 0 if room else tokens, 200 + 300)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "agent_text_logs"])
def test_policies_on_any_log(tmp_path: Path, name: str) -> None:
    """Every importer's trace stays sound under both policies."""
    kind, write = WRITERS[name]
    config: dict[str, Any] = {"kind": "trace", "format": kind, "path": str(write(tmp_path))}
    if name in UNTIMED:
        config["arrival"] = {"process": "closed_loop", "concurrency": 2}
    trace: Trace = FORMATS[kind].model_validate(config).build(0, tmp_path)
    before, longest = len(trace), max(trace.input_tokens)
    shortest = min(trace.input_tokens)
    policies = ClientPolicies(
        compact=Compact(at_tokens=longest - 1, to_tokens=shortest - 1),
        keep_warm=KeepWarm(interval_s=1, until_s=3),
    )
    policies.apply(trace)
    check(trace)
    assert len(trace) > before
    assert max(trace.input_tokens[:before]) < longest
