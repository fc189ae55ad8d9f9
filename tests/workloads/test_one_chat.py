"""One conversation in many formats is one trace, token for token and hit for hit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.workloads.one_chat import UNTIMED, WRITERS
from tests.workloads.two_sessions import OPENING, Turn, tokens, turns
from workloads.checking import check
from workloads.registry import FORMATS
from workloads.trace import NONE, Trace

CLOSED = {"process": "closed_loop", "concurrency": 2}


def build(name: str, folder: Path, **settings: Any) -> Trace:
    """The conversation as the format ``name`` has it."""
    kind, write = WRITERS[name]
    path = write(folder)
    if name in UNTIMED:
        settings = {"arrival": CLOSED} | settings
    config = {"kind": "trace", "format": kind, "path": str(path)} | settings
    trace: Trace = FORMATS[kind].model_validate(config).build(0, folder)
    check(trace)
    return trace


def shared(trace: Trace, end: int, other: int) -> int:
    """Tokens that the paths to two segments have in common."""
    path = set(trace.content.path(other))
    return max((trace.content.end[s] for s in trace.content.path(end) if s in path), default=0)


def rank(trace: Trace) -> list[int]:
    """The requests in the order of session and turn."""
    return sorted(range(len(trace)), key=lambda i: (trace.session[i], trace.turn[i]))


def expected_shared(a: Turn, b: Turn) -> int:
    """What the prompt of ``a`` shares with prompt and reply of ``b``: 64 characters at a time within the
    first message, in which sessions differ."""
    if a.session == b.session:
        return a.input_tokens if a.number <= b.number else b.input_tokens + b.output_tokens
    return tokens(a.messages[0][1]) + len(OPENING) // 64 * 16


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "agent_text_logs"])
def test_the_same_trace(tmp_path: Path, name: str) -> None:
    """Lengths, sessions, turns, times, and every pair's common prefix."""
    trace = build(name, tmp_path)
    order = rank(trace)
    expected = sorted(turns(), key=lambda turn: (turn.session, turn.number))
    assert [trace.session[i] for i in order] == [0, 0, 0, 1, 1, 1]
    assert [trace.turn[i] for i in order] == [1, 2, 3, 1, 2, 3]
    assert [trace.input_tokens[i] for i in order] == [turn.input_tokens for turn in expected]
    assert [trace.output_tokens[i] for i in order] == [turn.output_tokens for turn in expected]
    for i, a in zip(order, expected, strict=True):
        for j, b in zip(order, expected, strict=True):
            assert shared(trace, trace.prompt[i], trace.reply[j]) == expected_shared(a, b), (a, b)
    assert [trace.continues[i] for i in order] == [NONE, order[0], order[1], NONE, order[3], order[4]]
    if name not in UNTIMED:
        start_s = expected[0].sent_s
        assert [trace.arrival_s[i] for i in order] == [turn.sent_s - start_s for turn in expected]
    assert trace.messages


@pytest.mark.parametrize("name", WRITERS)
def test_closed_loop(tmp_path: Path, name: str) -> None:
    """Every turn waits for the reply before, and then as long as the user thought when it was recorded."""
    trace = build(name, tmp_path, loop="closed")
    order = rank(trace)
    think_s = 0.0 if name in UNTIMED else 30.0 if name in ("agent_text_logs", "mooncake_text") else 26.0
    assert [trace.think_s[i] for i in order] == [0.0, think_s, think_s] * 2
    assert [trace.follower[i] for i in order] == [order[1], order[2], NONE, order[4], order[5], NONE]


def test_text_logs_lack_the_system_message(tmp_path: Path) -> None:
    """It is part of the first input, so the system message and the first question are one message."""
    trace = build("agent_text_logs", tmp_path)
    expected = turns()
    assert trace.input_tokens == [turn.input_tokens for turn in expected]
    assert trace.continues == [NONE, NONE, 0, 1, 2, 3]


@pytest.mark.parametrize("name", WRITERS)
def test_the_format_is_recognised(tmp_path: Path, name: str) -> None:
    """Without a format the same trace comes out, and what was guessed is said."""
    from workloads.formats.guessed import GuessedTrace

    named = build(name, tmp_path)
    path = next(iter([WRITERS[name][1](tmp_path)]))
    settings: dict[str, Any] = {"arrival": CLOSED} if name in UNTIMED else {}
    guessed = GuessedTrace(kind="trace", path=path, **settings).build(0, tmp_path)
    assert guessed.input_tokens == named.input_tokens
    assert guessed.arrival_s == named.arrival_s
    kind = WRITERS[name][0]
    said = guessed.notes[0].split("format ")[1].removesuffix(", by the fields of the file")
    alike = ["openai_messages", "anthropic_messages"]  # one importer has both names
    assert said.split(" or ") == (alike if kind in alike else [kind])


@pytest.mark.parametrize("name", WRITERS)
def test_no_text_leaves_the_importer(tmp_path: Path, name: str) -> None:
    """Whatever the trace holds, down to the last container, no message is in it."""
    import gc
    import types

    trace = build(name, tmp_path)
    seen: set[int] = set()
    waiting: list[object] = [trace]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, type | types.ModuleType | types.FunctionType):
            continue
        seen.add(id(item))
        if isinstance(item, str | bytes):
            text = item if isinstance(item, str) else item.decode(errors="replace")
            assert "platform" not in text and "train" not in text
        waiting += gc.get_referents(item)
