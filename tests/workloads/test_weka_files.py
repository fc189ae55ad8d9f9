"""WEKA session files as the published format has them: spawn times, no scope, indented, in folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.claude_code_compact import ClaudeCodeTrace
from workloads.formats.weka_clock import Meaning, Span, meaning_of
from workloads.trace import NONE, Trace

Row = dict[str, Any]


def _call(t: float, first: int, blocks: int) -> Row:
    return {
        "t": t,
        "type": "s",
        "in": 64 * blocks,
        "out": 3,
        "hash_ids": list(range(first, first + blocks)),
    }


def _agent(t: float, duration_ms: float | None, name: str = "a") -> Row:
    calls = [_call(0.0, 500, 10), _call(60.0, 500, 20)]
    return {"type": "subagent", "agent_id": name, "t": t, "duration_ms": duration_ms, "requests": calls}


def _session(*entries: Row, **more: Any) -> Row:
    return {"id": "one", "models": ["m"], "block_size": 64, "requests": list(entries)} | more


def _build(folder: Path, *sessions: Row, **settings: Any) -> Trace:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(session) + "\n" for session in sessions))
    return _read(path, **settings)


def _read(path: Path, **settings: Any) -> Trace:
    config = {"kind": "trace", "format": "claude_code_compact", "path": str(path)} | settings
    trace = ClaudeCodeTrace.model_validate(config).build(0, path.parent)
    check(trace)
    return trace


SPAWNED = _session(_call(0.0, 1, 20), _agent(30.0, 120_000), _call(155.0, 1, 30), hash_id_scope="local")
ENDED = _session(_call(0.0, 1, 20), _agent(150.0, 120_000), _call(155.0, 1, 30), hash_id_scope="local")


def test_both_meanings_give_one_trace(tmp_path: Path) -> None:
    """The parent waits from 30 to 150 s, whichever end of that the file gives."""
    for session, said in ((SPAWNED, "when it was spawned"), (ENDED, "when it had finished")):
        trace = _build(tmp_path, session)
        assert trace.arrival_s == [0.0, 30.0, 90.0, 155.0]
        assert any(said in note and "1 of 1" in note for note in trace.notes)


def test_the_meaning_can_be_set(tmp_path: Path) -> None:
    """Then nothing is guessed and nothing said; an end before the start is refused."""
    trace = _build(tmp_path, ENDED, subagent_t="spawn")
    assert trace.arrival_s == [0.0, 150.0, 155.0, 210.0]
    assert not any("sub-agent" in note for note in trace.notes)
    with pytest.raises(InputError, match=r"request 2: duration_ms = 120000; .*or subagent_t: spawn"):
        _build(tmp_path, SPAWNED, subagent_t="end")


def test_an_agent_that_nobody_waits_for(tmp_path: Path) -> None:
    """Its duration is not known: it starts at its time."""
    trace = _build(tmp_path, _session(_call(0.0, 1, 20), _agent(30.0, None), _call(40.0, 1, 30)))
    assert trace.arrival_s == [0.0, 30.0, 40.0, 90.0]
    assert any("none says how long it took" in note for note in trace.notes)


def test_an_agent_of_an_older_file(tmp_path: Path) -> None:
    """Neither a duration nor a name: it starts at its time, and is called by its place."""
    older = {key: v for key, v in _agent(30.0, None).items() if key not in ("agent_id", "duration_ms")}
    trace = _build(tmp_path, _session(_call(0.0, 1, 20), older, _call(40.0, 1, 30)))
    assert trace.arrival_s == [0.0, 30.0, 40.0, 90.0]
    assert trace.request_ids == ["one/1", "one/agent 2/1", "one/2", "one/agent 2/2"]


@pytest.mark.parametrize(
    ("span", "vote"),
    [
        (Span("", 134.2, 126.0, 0.0, 153.0), "end"),
        (Span("", 30.0, 120.0, 0.0, 155.0), "spawn"),
        (Span("", 200.0, 120.0, 0.0, 330.0), "spawn"),  # both fit: idle for 10 s behind, not 80 s before
        (Span("", 40.0, 8.5, 30.0, 70.0), "end"),  # both fit: 1.5 s before, not 21.5 s behind
        (Span("", 440_243.0, 94.0, 297_115.0, None), "end"),  # the parent never goes on
        (Span("", 100.0, 50.0, 90.0, 110.0), None),  # the parent goes on meanwhile
        (Span("", 100.0, None, 90.0, 110.0), None),
        (Span("", 100.0, 50.0, None, None), None),
    ],
)
def test_votes(span: Span, vote: Meaning | None) -> None:
    """What the calls of the parent say about one sub-agent."""
    assert span.vote() == vote


def test_the_majority_decides() -> None:
    """Sub-agents that run beside their parent say nothing or the wrong thing; most wait."""
    spawned, ended, none = (Span("", 30.0, 120.0, 0.0, 155.0), Span("", 134.0, 126.0, 0.0, 153.0),
                            Span("", 100.0, 50.0, 90.0, 110.0))  # fmt: skip
    assert meaning_of([spawned, spawned, ended])[0] == "spawn"
    assert meaning_of([spawned, ended, ended, none])[0] == "end"
    assert meaning_of([none])[0] == "end"


def test_no_scope_is_local(tmp_path: Path) -> None:
    """As the published format has it, and it is said; the configuration may say otherwise."""
    sessions = [_session(_call(0.0, 1, 20), id="one"), _session(_call(0.0, 1, 30), id="two")]
    trace = _build(tmp_path, *sessions)
    assert trace.content.path(trace.prompt[0])[0] != trace.content.path(trace.prompt[1])[0]
    assert any("read as local" in note for note in trace.notes)
    trace = _build(tmp_path, *sessions, scope="global")
    assert trace.content.path(trace.prompt[0])[0] == trace.content.path(trace.prompt[1])[0]
    assert not any("read as" in note and "scope" in note for note in trace.notes)


def test_a_folder_of_indented_files(tmp_path: Path) -> None:
    """As upstream has them: one object a file, in a folder."""
    folder = tmp_path / "traces"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / f"{name}.json").write_text(json.dumps(SPAWNED | {"id": name}, indent=2))
    trace = _read(folder)
    assert trace.request_ids is not None
    assert trace.request_ids[:2] == ["a/1", "b/1"] and len(trace) == 8
    (folder / "c.json").write_text(json.dumps(SPAWNED | {"id": "a"}, indent=2))
    with pytest.raises(InputError, match=r"c.json:1: id = 'a' for the second time; allowed: once"):
        _read(folder)


def test_a_cut_indented_file_is_named(tmp_path: Path) -> None:
    """It is neither JSON Lines nor one document."""
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(SPAWNED, indent=2)[:-20])
    with pytest.raises(InputError, match=r"cut.json:1: not JSON"):
        _read(path)


def test_other_block_sizes(tmp_path: Path) -> None:
    """The format names the size; all sessions of a file have one."""
    session = _session({"t": 0, "type": "n", "in": 70, "out": 1, "hash_ids": [1, 2]}, block_size=32)
    trace = _build(tmp_path, session)
    assert (trace.block_id_tokens, trace.named_blocks) == (32, [2])


@pytest.mark.parametrize("wrong", [-1, 10**13, 10**30, -(10**30)])
def test_ids_out_of_bounds(tmp_path: Path, wrong: int) -> None:
    """Negative ones, and those that no number of blocks reaches."""
    session = _session({"t": 0, "type": "n", "in": 128, "out": 1, "hash_ids": [1, wrong]})
    with pytest.raises(InputError, match=rf"hash_ids contains {wrong}; allowed: at least 0, up to"):
        _build(tmp_path, session)


def test_sub_agents_are_chained_in_closed_loop(tmp_path: Path) -> None:
    """Its second call contains its first reply, so it waits for it; the first keeps its time."""
    trace = _build(tmp_path, SPAWNED, loop="closed")
    assert trace.arrival_s == [0.0, 30.0, None, None]
    assert (list(trace.follower), list(trace.think_s)) == ([3, 2, NONE, NONE], [0.0, 0.0, 60.0, 155.0])
    assert trace.continues == [NONE, NONE, 1, 0]
