"""In closed loop no request comes before a reply that its prompt contains; in open loop it is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from sim import load_config, run
from workloads.checking import check
from workloads.clients import Clients
from workloads.content import ROOT
from workloads.formats.timing import close_loop, link_replies
from workloads.formats.tokens import TokensTrace
from workloads.trace import NONE, Trace

CLOSED = {"process": "closed_loop", "concurrency": 4}
PROMPT, REPLY, NEW = list(range(64)), list(range(1000, 1100)), list(range(200, 232))
Row = dict[str, Any]


def _row(name: str, at: float, tokens: list[int], reply: list[int], **more: Any) -> Row:
    return {"id": name, "arrival": at, "tokens": tokens, "output_tokens": reply} | more


def _write(folder: Path, rows: list[Row]) -> Path:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "t.jsonl"


def _build(folder: Path, rows: list[Row], **settings: Any) -> Trace:
    config = {"kind": "trace", "format": "tokens", "path": str(_write(folder, rows))} | settings
    trace = TokensTrace.model_validate(config).build(0, folder)
    check(trace)
    return trace


CHAT = [
    _row("a1", 0, PROMPT, REPLY, session=0, turn=1),
    _row("b1", 1, [7, *PROMPT], REPLY, session=1, turn=1),
    _row("a2", 2, PROMPT + REPLY + NEW, [1, 2, 3], session=0, turn=2),
]


def test_a_turn_waits_for_the_reply_before(tmp_path: Path) -> None:
    """With the session in the file, and without it: the content alone says what follows what."""
    nameless = [{key: value for key, value in row.items() if key != "session"} for row in CHAT]
    for rows in (CHAT, nameless):
        trace = _build(tmp_path, rows, arrival=CLOSED)
        assert trace.continues == [NONE, NONE, 0]
        clients = Clients(trace)
        assert [request for _, request in clients.opening()] == [0, 1]
        assert clients.after(1, 5.0) is None
        assert clients.after(0, 7.0) == (7.0, 2)
    assert _build(tmp_path, CHAT).arrival_s == [0.0, 1.0, 2.0]


def test_a_turn_without_the_reply_waits_for_the_turn_before(tmp_path: Path) -> None:
    """Dropped reasoning, edited history: session and number of the turn say what follows what."""
    dropped = _row("a2", 2, PROMPT + REPLY[80:] + NEW, [1, 2, 3], session=0, turn=2)
    beside = _row("a2'", 3, [*PROMPT, 9], [1], session=0, turn=2)
    trace = _build(tmp_path, [*CHAT[:2], dropped, beside], arrival=CLOSED)
    assert trace.continues == [NONE, NONE, 0, 0]
    assert _build(tmp_path, [*CHAT[:2], dropped]).continues == [NONE] * 3, "in open loop times are kept"


def test_two_questions_behind_one_reply(tmp_path: Path) -> None:
    """Both contain the first reply and wait for it; a client may also have had every prompt beforehand."""
    rows = [*CHAT, _row("a2'", 3, [*PROMPT, *REPLY, 5, 6], [1], session=0, turn=2)]
    trace = _build(tmp_path, rows, arrival=CLOSED)
    assert trace.continues == [NONE, NONE, 0, 0]
    clients = Clients(trace)
    clients.opening()
    assert [clients.after(0, 1.0), clients.after(2, 2.0), clients.after(3, 3.0)] == [
        (1.0, 2),
        (2.0, 3),
        None,
    ]
    known = _build(tmp_path, rows, arrival=CLOSED | {"equal_arrival": False})
    assert [request for _, request in Clients(known).opening()] == [0, 1, 2, 3]


def _run(folder: Path, workload: Row) -> tuple[list[float], list[float], list[str]]:
    system = {"kind": "engine", "model": "llama-3-8b", "hardware": "h200"}
    workload = {"kind": "trace", "format": "tokens", "path": "t.jsonl"} | workload
    (folder / "c.yaml").write_text(
        yaml.safe_dump({"name": "t", "workload": workload, "systems": {"e": system}})
    )
    result = run(load_config(folder / "c.yaml"))
    records, notes = result.runs["e"].records, result.summary()["systems"]["e"]["notes"]
    return records.arrival_s.tolist(), records.finished_s.tolist(), notes


def test_closed_loop_on_an_engine(tmp_path: Path) -> None:
    """The turn arrives when the reply before it is complete, to the last digit, and hits all of it."""
    _write(tmp_path, CHAT)
    arrival_s, finished_s, notes = _run(tmp_path, {"arrival": CLOSED})
    assert arrival_s[2] == finished_s[0] > 0
    assert not any("before the reply" in note for note in notes)


def test_open_loop_counts_what_came_too_early(tmp_path: Path) -> None:
    """The reply takes 0.3 s: a turn at 0.02 s contains what is not written yet, one at 2 s does not."""
    _write(tmp_path, CHAT)
    arrival_s, finished_s, notes = _run(tmp_path, {"arrival_unit_s": 0.01})
    assert arrival_s[2] == 0.02 < finished_s[0]
    assert [note for note in notes if note.startswith("1 of 1 turns arrive before the reply")]
    assert not any("before the reply" in note for note in _run(tmp_path, {})[2])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 30)), min_size=1, max_size=30))
def test_no_request_can_overtake_a_reply(requests: list[tuple[int, int]]) -> None:
    """Whatever the sessions and whichever earlier replies prompts contain: each waits for its own."""
    trace = Trace()
    for i, (session, earlier) in enumerate(requests):
        above = trace.reply[earlier] if 0 <= earlier < i else ROOT
        prompt = trace.content.append(above, 1)
        trace.add(prompt=prompt, output_tokens=2, arrival_s=float(i), session=session)
    link_replies(trace)
    close_loop(trace)
    check(trace)
    before = {after: i for i, after in enumerate(trace.follower) if after != NONE}
    for i, earlier in enumerate(trace.continues):
        at = i
        while at != earlier and earlier != NONE:
            at = before[at]
    last: dict[int, int] = {}
    for i, session in enumerate(trace.session):
        at = i
        while session in last and at != last[session]:
            at = before[at]
        last[session] = i
