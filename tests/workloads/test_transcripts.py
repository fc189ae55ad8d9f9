"""What transcripts of coding agents do besides talking: tools, compaction, rewinds, sub-agents, copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.workloads.test_one_chat import shared
from tests.workloads.two_sessions import Row, iso, lines
from workloads.checking import check
from workloads.formats.claude_code import ClaudeCodeLog
from workloads.formats.codex import CodexLog
from workloads.trace import NONE, Trace

BASE = {"sessionId": "s", "version": "2.1", "cwd": "/p", "isSidechain": False}


def _build(path: Path, **settings: Any) -> Trace:
    config = {"kind": "trace", "format": "claude_code", "path": str(path)} | settings
    trace = ClaudeCodeLog.model_validate(config).build(0, path)
    check(trace)
    return trace


def _user(at: float, content: Any, **more: Any) -> Row:
    message = {"role": "user", "content": content}
    return {**BASE, "type": "user", "timestamp": iso(at), "uuid": f"u{at}", "message": message, **more}


def _reply(at: float, name: str, block: Row, total: int, out: int, **more: Any) -> Row:
    used = {"input_tokens": 4, "cache_creation_input_tokens": 6, "cache_read_input_tokens": total - 10}
    message = {"id": name, "model": "m", "content": [block], "usage": used | {"output_tokens": out}}
    if "model" in more:
        message["model"] = more.pop("model")
    return {**BASE, "type": "assistant", "timestamp": iso(at), "uuid": f"a{at}", "message": message, **more}


def _text(text: str) -> Row:
    return {"type": "text", "text": text}


def _tool(number: int) -> Row:
    return {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {"command": f"ls {number}"}}


def _result(number: int, text: str) -> list[Row]:
    return [{"type": "tool_result", "tool_use_id": f"t{number}", "content": text}]


HEAD = 994
"""Tokens of the head of the calls below."""
LOOP = [
    _user(0, "x" * 400),
    _reply(5, "A", _text("I look"), 1100, 1),
    _reply(6, "A", _tool(1), 1100, 1),
    _reply(7, "A", _tool(2), 1100, 40),
    _user(9, _result(1, "r" * 4000), toolUseResult={}, parentUuid="a6.0"),
    _user(10, _result(2, "q" * 400), toolUseResult={}, parentUuid="a7.0"),
    _reply(15, "B", _text("done"), 2300, 30),
    _reply(16, "B", _text("done"), 2300, 0),
    _user(100, "thanks", parentUuid="a16"),
    _reply(104, "C", _text("welcome"), 2340, 20),
]


def test_a_tool_loop(tmp_path: Path) -> None:
    """Ten rows are three calls; each contains the one before, its reply, and all results of its tools."""
    trace = _build(lines(tmp_path / "s.jsonl", LOOP))
    assert trace.request_ids == ["s/1", "s/2", "s/3"]
    assert (trace.input_tokens, trace.output_tokens) == ([1100, 2300, 2340], [40, 30, 20])
    assert trace.arrival_s == [0.0, 10.0, 100.0]
    assert shared(trace, trace.prompt[1], trace.reply[0]) == 1140
    assert shared(trace, trace.prompt[2], trace.reply[1]) == 2330
    assert list(_build(tmp_path, loop="closed").think_s) == [0.0, 3.0, 84.0]
    sizes = [trace.content.end[s] - trace.content.end[trace.content.parent[s]]
             for s in trace.content.path(trace.prompt[1])]  # fmt: skip
    scale = (1160 + 10) / (1100 + 6 / 4)  # what turns add, by what their texts have
    assert sizes[3:] == [round(scale * 1000), 1160 - round(scale * 1000)], "results by their lengths"
    assert sizes[:2] == [HEAD, 1100 - HEAD] and round(1100 - scale * 100) == HEAD, "the head is the rest"


def test_replies_are_counted_not_rows(tmp_path: Path) -> None:
    """Eight messages of two rows each are eight requests; what the client made up is none."""
    rows: list[Row] = []
    for n in range(8):
        rows.append(_user(20 * n, f"question {n}"))
        rows += [_reply(20 * n + 1 + part, f"m{n}", _text(f"{part}"), 1000 + 50 * n, 10) for part in (0, 1)]
    rows.append(_reply(500, "x", _text("API error"), 10, 0, model="<synthetic>"))
    rows.append({**BASE, "type": "system", "subtype": "turn_duration", "timestamp": iso(501)})
    trace = _build(lines(tmp_path / "s.jsonl", rows))
    assert len(trace) == 8 and trace.output_tokens == [10] * 8


def test_compaction(tmp_path: Path) -> None:
    """Behind a boundary only the head is shared; a falling total without one shares what was read."""
    boundary = {**BASE, "type": "system", "subtype": "compact_boundary", "timestamp": iso(150)}
    after = [
        boundary,
        _user(150, "summary of it all", isCompactSummary=True),
        _reply(160, "D", _text("go on"), 1300, 10),
    ]
    trace = _build(lines(tmp_path / "s.jsonl", [*LOOP, *after]))
    assert trace.input_tokens[3] == 1300
    assert shared(trace, trace.prompt[3], trace.reply[2]) == HEAD
    fallen = _reply(160, "D", _text("go on"), 1300, 10)
    fallen["message"]["usage"] |= {"cache_read_input_tokens": 1100, "cache_creation_input_tokens": 196}
    trace = _build(lines(tmp_path / "s.jsonl", [*LOOP, _user(150, "next", parentUuid="a104"), fallen]))
    assert trace.input_tokens[3] == 1300
    assert shared(trace, trace.prompt[3], trace.reply[2]) == 1100
    assert any("fewer tokens than the messages they share" in note for note in trace.notes)


def test_a_rewind(tmp_path: Path) -> None:
    """A question whose parent is an earlier reply goes on from there."""
    again = [_user(200, "another way", parentUuid="a16"), _reply(205, "D", _text("ok"), 2350, 10)]
    trace = _build(lines(tmp_path / "s.jsonl", [*LOOP, *again]))
    assert shared(trace, trace.prompt[3], trace.reply[2]) == 2330
    assert shared(trace, trace.prompt[3], trace.reply[1]) == 2330
    assert trace.continues[3] == 1


def test_another_model_shares_nothing(tmp_path: Path) -> None:
    """Its cache is another one: the same messages stand behind another head."""
    more = [_user(200, "more"), _reply(205, "D", _text("ok"), 2400, 10, model="other")]
    trace = _build(lines(tmp_path / "s.jsonl", [*LOOP, *more]))
    assert trace.input_tokens[3] == 2400
    assert shared(trace, trace.prompt[3], trace.reply[2]) == 0


def test_sub_agents(tmp_path: Path) -> None:
    """In files of their own, in progress rows, or as side chains: sessions that know their parent."""
    lines(tmp_path / "p" / "s.jsonl", LOOP)
    own = {"isSidechain": True, "agentId": "x"}
    agent = [_user(7.5, "find it", **own), _reply(8, "E", _text("found"), 700, 5, **own)]
    lines(tmp_path / "p" / "s" / "subagents" / "agent-x.jsonl", agent)
    trace = _build(tmp_path / "p")
    assert trace.request_ids is not None
    assert sorted(trace.request_ids) == ["s/1", "s/2", "s/3", "s/x/1"]
    child, parent = trace.session[trace.request_ids.index("s/x/1")], trace.session[0]
    assert trace.parents == {child: parent}

    wrapped = [{**BASE, "type": "progress", "data": {"agentId": "x", "message": row}} for row in agent]
    trace = _build(lines(tmp_path / "q" / "s.jsonl", [*LOOP[:4], *wrapped, *LOOP[4:]]))
    assert trace.request_ids is not None and sorted(trace.request_ids)[-1] == "s/x/1"
    assert len(trace) == 4

    side = []
    for n in (1, 2):  # two at once, their rows mixed
        chain = {"isSidechain": True}
        side.append(_user(7.5 + n / 10, f"find {n}", **chain, parentUuid=None))
        side.append(_reply(8 + n, f"E{n}", _text("found"), 700, 5, **chain, parentUuid=f"u{7.5 + n / 10}"))
    side = [side[0], side[2], side[3], side[1]]
    trace = _build(lines(tmp_path / "r" / "s.jsonl", [*LOOP[:4], *side, *LOOP[4:]]))
    assert len(set(trace.session)) == 3 and len(trace) == 5
    assert trace.input_tokens.count(700) == 2


def test_a_resumed_session_repeats_its_history(tmp_path: Path) -> None:
    """Calls that two files have count once; the second file's new call contains them."""
    lines(tmp_path / "1.jsonl", LOOP)
    resumed = [row | {"sessionId": "s2"} for row in LOOP]
    more = [_user(300, "again"), _reply(305, "D", _text("yes"), 2400, 10)]
    lines(tmp_path / "2.jsonl", [*resumed, *[row | {"sessionId": "s2"} for row in more]])
    trace = _build(tmp_path)
    assert trace.request_ids == ["s/1", "s/2", "s/3", "s2/1"]
    assert shared(trace, trace.prompt[3], trace.reply[2]) == 2360
    assert trace.continues == [NONE, 0, 1, 2]


def _codex(path: Path) -> Trace:
    trace = CodexLog.model_validate({"kind": "trace", "format": "codex", "path": str(path)}).build(0, path)
    check(trace)
    return trace


def _item(at: float, kind: str, **payload: Any) -> Row:
    return {"timestamp": iso(at), "type": "response_item", "payload": {"type": kind, **payload}}


def _said(at: float, role: str, text: str) -> Row:
    return _item(at, "message", role=role, content=[{"type": "text", "text": text}])


def _counted(at: float, sent: int, out: int, total: int, reasoning: int = 0) -> Row:
    last = {"input_tokens": sent, "cached_input_tokens": 0, "output_tokens": out,
            "reasoning_output_tokens": reasoning}  # fmt: skip
    info = {"last_token_usage": last, "total_token_usage": {"input_tokens": total}}
    return {"timestamp": iso(at), "type": "event_msg", "payload": {"type": "token_count", "info": info}}


CODEX: list[Row] = [
    {"timestamp": iso(0), "type": "session_meta", "payload": {"id": "c", "cwd": "/p", "cli_version": "1"}},
    {"timestamp": iso(0), "type": "turn_context", "payload": {"model": "g", "effort": "high"}},
    _said(1, "user", "x" * 400),
    _item(5, "reasoning", summary=[]),
    _item(6, "function_call", name="shell", arguments='{"command": ["ls"]}', call_id="1"),
    _item(8, "function_call_output", call_id="1", output="r" * 800),
    _counted(7, 1100, 60, 1100, reasoning=40),
    {"timestamp": iso(8), "type": "event_msg", "payload": {"type": "token_count", "info": None}},
    _said(12, "assistant", "done"),
    _counted(12, 1320, 30, 2420),
    _counted(12.5, 1320, 30, 2420),
]


def test_codex_tool_loop_with_reasoning(tmp_path: Path) -> None:
    """Results of tools belong to the next prompt; reasoning is not resent; repeats count once."""
    trace = _codex(lines(tmp_path / "rollout-1.jsonl", CODEX))
    assert (trace.input_tokens, trace.output_tokens) == ([1100, 1320], [60, 30])
    assert trace.arrival_s == [0.0, 7.0]
    assert shared(trace, trace.prompt[1], trace.prompt[0]) == 1100
    assert shared(trace, trace.prompt[1], trace.reply[0]) == 1100
    assert trace.continues == [NONE, 0]
    assert any("1 replies are not resent whole (reasoning)" in note for note in trace.notes)


def test_codex_resends_reasoning_within_a_turn(tmp_path: Path) -> None:
    """What a prompt has grown by tells: here by all of the reply and the result of the tool."""
    rows = [row for row in CODEX if row["type"] != "event_msg"]
    counts = [_counted(7, 1100, 60, 1100, reasoning=40), _counted(12, 1360, 30, 2460)]
    trace = _codex(lines(tmp_path / "r.jsonl", [*rows[:6], counts[0], rows[6], counts[1]]))
    assert trace.input_tokens == [1100, 1360]
    assert shared(trace, trace.prompt[1], trace.reply[0]) == 1160
    assert not any("reasoning" in note for note in trace.notes)


def test_codex_counts_alone(tmp_path: Path) -> None:
    """Old files may have nothing but totals; their rows' times count."""
    rows = []
    for at, total in ((60, 1000), (120, 1600)):
        row = _counted(at, 0, 0, total)
        used = {"input_tokens": total, "cached_input_tokens": 100, "output_tokens": total // 5}
        row["payload"]["info"] = {"total_token_usage": used}
        rows.append(row)
    trace = _codex(lines(tmp_path / "r.jsonl", rows))
    assert (trace.input_tokens, trace.output_tokens) == ([1000, 600], [200, 120])
    assert trace.arrival_s == [0.0, 60.0]


def test_codex_sub_agents_and_copies(tmp_path: Path) -> None:
    """A child's file repeats its parent's rows; archived copies lose; another effort is another head."""
    lines(tmp_path / "sessions" / "rollout-1.jsonl", CODEX)
    lines(tmp_path / "archived_sessions" / "rollout-1.jsonl", CODEX)
    source = {"subagent": {"thread_spawn": {"parent_thread_id": "c"}}}
    meta = {
        "timestamp": iso(20),
        "type": "session_meta",
        "payload": {"id": "d", "cwd": "/p", "source": source},
    }
    child = [
        meta,
        *CODEX,
        _said(30, "user", "go"),
        _said(33, "assistant", "ok"),
        _counted(33, 1400, 5, 3840),
    ]
    lines(tmp_path / "sessions" / "rollout-2.jsonl", child)
    trace = _codex(tmp_path)
    assert trace.request_ids == ["c/1", "c/2", "d/1"]
    assert trace.parents == {1: 0}
    context = {"timestamp": iso(40), "type": "turn_context", "payload": {"model": "g", "effort": "low"}}
    more = [context, _said(41, "user", "and?"), _said(42, "assistant", "so"), _counted(42, 1500, 5, 3940)]
    trace = _codex(lines(tmp_path / "other" / "rollout-3.jsonl", [*CODEX, *more]))
    assert shared(trace, trace.prompt[2], trace.reply[1]) == 0


def test_codex_compaction_and_old_counts(tmp_path: Path) -> None:
    """A compacted row starts anew; without last_token_usage the totals are subtracted."""
    summary = {"timestamp": iso(50), "type": "compacted", "payload": {"message": "summary " * 20}}
    last = _counted(60, 0, 0, 3500)
    last["payload"]["info"] = {"total_token_usage": {"input_tokens": 3500, "output_tokens": 25}}
    trace = _codex(lines(tmp_path / "r.jsonl", [*CODEX, summary, _said(60, "assistant", "ok"), last]))
    assert trace.input_tokens == [1100, 1320, 1080] and trace.output_tokens[2] == 25
    head = trace.content.end[trace.content.path(trace.prompt[0])[0]]
    assert 900 < head < 1100 and shared(trace, trace.prompt[2], trace.reply[1]) == head


def test_rows_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    """Whatever else a client writes; null payloads too."""
    extra: list[Row] = [
        {"type": "file-history-snapshot", "messageId": "m"},
        {"type": "user", "sessionId": "s"},
        {"type": "progress", "data": {"type": "hook"}},
        {"type": "queue-operation", "sessionId": "s", "operation": "enqueue"},
    ]
    path = lines(tmp_path / "s.jsonl", [*extra, *LOOP])
    assert len(_build(path)) == 3
    path.write_text(path.read_text() + json.dumps({"type": "response_item", "payload": None}) + "\n")
    assert len(_build(path)) == 3
