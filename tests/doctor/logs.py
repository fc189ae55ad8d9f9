"""Small logs for the doctor's tests: billed calls, and transcripts of Claude Code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine
from sim.doctor.outcome import Diagnosis

Row = dict[str, Any]
OPUS = "claude-opus-4-5"
WRITE, LONG, READ, PLAIN = 6.25e-6, 10e-6, 0.5e-6, 5e-6
"""Dollars of a token of `OPUS`: written for five minutes and for an hour, read, plain."""


def call(t: float, marked: int, read: int, runs: list[list[int]], **more: Any) -> Row:
    """A call that reads ``read`` of its ``marked`` tokens and writes the rest; 3 tokens lie behind."""
    billed = {"input": 3, "write_5m": marked - read, "write_1h": 0, "read": read}
    base = {"t": t, "model": OPUS, "in": marked, "ttl": "5m", "how": "append", "hash_runs": runs}
    return {**base, "billed": billed, **more}


FIRST = call(0, 6400, 0, [[1, 100]], how="first")


def billed_file(folder: Path, *lanes: list[Row]) -> Path:
    """A file of rows with ``billed``, a lane for each list of calls."""
    path = folder / "billed.jsonl"
    rows = [{"id": f"lane{i}", "requests": calls} for i, calls in enumerate(lanes)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Transcript:
    """A transcript of Claude Code as it is written: user rows, and several rows for each reply."""

    def __init__(
        self, session: str = "0a0a0a0a", cwd: str = "/home/me/secretplace", agent: str | None = None
    ) -> None:
        self.rows: list[Row] = []
        self._common = {"sessionId": session, "version": "2.1.29", "cwd": cwd, "isSidechain": bool(agent)}
        self._common |= {"agentId": agent} if agent else {}
        self._parent: str | None = None

    def ask(self, t: int, text: str) -> Transcript:
        """A user's message at minute and second ``t`` of an hour."""
        return self._row("user", t, {"role": "user", "content": text})

    def answer(self, t: int, results: list[str]) -> Transcript:
        """The results of several tools at once."""
        content = [{"type": "tool_result", "tool_use_id": "t", "content": text} for text in results]
        return self._row("user", t, {"role": "user", "content": content})

    def reply(self, t: int, read: int, written: int, *texts: str, **more: Any) -> Transcript:
        """A reply in as many rows as it has texts, each with the same usage."""
        usage = {
            "input_tokens": 3,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 20,
        }
        name = f"msg_{self._common['sessionId']}{self._common.get('agentId')}_{len(self.rows)}"
        for text in texts:
            content = [{"type": "text", "text": text}]
            message = {"id": name, "role": "assistant", "model": OPUS, "content": content, "usage": usage}
            self._row("assistant", t, {**message, **more})
        return self

    def cut(self, t: int, kind: str) -> Transcript:
        """The client compacts its history."""
        return self._row("system", t, None, subtype=kind)

    def write(self, path: Path) -> Path:
        """The rows as a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return path

    def _row(self, kind: str, t: int, message: Row | None, **more: Any) -> Transcript:
        uuid = f"u{len(self.rows)}"
        stamp = f"2026-02-03T{10 + t // 3600:02}:{t // 60 % 60:02}:{t % 60:02}.000Z"
        row = {"type": kind, "uuid": uuid, "parentUuid": self._parent, "timestamp": stamp, **self._common}
        self.rows.append({**row, **more, **({} if message is None else {"message": message})})
        self._parent = uuid
        return self


def rollout(path: Path) -> Path:
    """A session of Codex with two calls, the second of which reads what the rules let it."""
    rows: list[Row] = [
        {"type": "session_meta", "payload": {"id": "s", "cwd": "/home/me", "cli_version": "0.60"}},
        {"type": "turn_context", "payload": {"model": "gpt-5.6-sol", "effort": "high"}},
    ]
    total = {"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0}
    for number, (sent, cached) in enumerate(((10_000, 0), (12_000, 768 + 8 * 1024))):
        last = {"input_tokens": sent, "cached_input_tokens": cached, "output_tokens": 20}
        total = {key: total[key] + last[key] for key in total}
        info = {"last_token_usage": last, "total_token_usage": total}
        for kind, payload in (
            ("response_item", {"type": "message", "role": "user", "content": f"question {number}"}),
            ("response_item", {"type": "message", "role": "assistant", "content": f"answer {number}"}),
            ("event_msg", {"type": "token_count", "info": info}),
        ):
            rows.append({"type": kind, "payload": payload})
    for second, row in enumerate(rows):
        row["timestamp"] = f"2026-10-03T10:00:{second:02}.000Z"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def examined(path: Path) -> Diagnosis:
    """What the doctor finds in a log."""
    return diagnose(examine(path))
