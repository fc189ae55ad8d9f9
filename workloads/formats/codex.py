"""Rollouts of OpenAI's Codex, as in ``~/.codex/sessions``: text, usage and times of every call.

A row is ``{timestamp, type, payload}``. What the model wrote and what it was told are ``response_item``
rows; each call ends with an ``event_msg`` of type ``token_count``, which may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Message, added, count, listed, merged
from workloads.formats.exchange import name
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row
from workloads.formats.reader import Reader
from workloads.formats.times import seconds

COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")


class CodexLog(CallLog):
    """A rollout, or a folder of them such as ``~/.codex``.

    A call is a ``token_count`` whose total differs from the one before. It was sent at the last thing that
    the model was told and ended with the last thing it wrote. Input counts contain the cached tokens,
    output counts the reasoning. Instructions and tools are not in the file: they are a head, equal for all
    sessions of one version, model and folder. A compaction starts the history anew. A session started
    by another one knows its parent. What a file of ``sessions`` has is not read again from
    ``archived_sessions``.
    """

    format: Literal["codex"]
    ENDINGS: ClassVar[tuple[str, ...]] = (".jsonl",)

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """A row in Codex's envelope."""
        kinds = ("session_meta", "turn_context", "response_item", "event_msg", "compacted")
        return row.get("type") in kinds and isinstance(row.get("payload"), dict)

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """The calls of every file, each session once."""
        seen: set[str] = set()
        counted: set[tuple[object, ...]] = set()
        for file in sorted(reader.files, key=lambda file: "archived_sessions" in file.parts):
            rollout = _Rollout(histories, file.name.split(".")[0], counted)
            for _ in reader.of_file(file, rollout.read):
                pass
            if rollout.session not in seen:
                seen.add(rollout.session)
                yield from rollout.calls


class _Rollout:
    """One session as far as it was read."""

    def __init__(self, histories: Histories, session: str, seen: set[tuple[object, ...]]) -> None:
        """``seen``: calls of files that were read before, by time and total."""
        self.session = session
        self.calls: list[Call] = []
        self._histories = histories
        self._known = False
        self._seen = seen
        self._parent: str | None = None
        self._facts = ["", "", ""]
        self._model = self._effort = ""
        self._cut = ""
        """Version, model with effort, and folder: what the unlogged head depends on."""
        self._node: int | None = None
        self._head: int | None = None
        self._told: list[Message] = []
        self._written: list[Message] = []
        self._told_later: list[Message] = []
        """What the model was told after it had begun to write: part of the next prompt."""
        self._sent_s: float | None = None
        self._later_s: float | None = None
        self._ended_s: float | None = None
        self._total: list[int] = [0] * len(COUNTS)

    def read(self, where: str, line: int, row: Row) -> None:
        """Take in one row of the file."""
        kind, payload = row.get("type"), row.get("payload")
        if not isinstance(payload, dict):
            return
        if kind == "session_meta":
            self._meta(where, payload)
        elif kind == "turn_context":
            self._model, self._effort = str(payload.get("model") or ""), str(payload.get("effort") or "")
            self._facts[1] = f"{self._model} {self._effort}"
            self._facts[2] = str(payload.get("cwd", self._facts[2]))
        elif kind == "compacted":
            self._node, self._written, self._cut = None, [], "compacted"
            kept = payload.get("replacement_history")
            self._told = listed(kept) if kept else listed(payload.get("message"), "user")
        elif kind == "response_item":
            self._item(payload, seconds(row.get("timestamp"), "timestamp", where))
        elif kind == "event_msg" and payload.get("type") == "token_count":
            self._count(where, line, payload.get("info"), row.get("timestamp"))

    def _meta(self, where: str, payload: Row) -> None:
        if self._known:  # a sub-agent's file repeats what its parent's has
            return
        self._known = True
        self.session = name(payload.get("id"), where) or self.session
        self._facts[0] = str(payload.get("cli_version", ""))
        self._facts[2] = str(payload.get("cwd", ""))
        source = payload.get("source")
        for key in ("subagent", "thread_spawn", "parent_thread_id"):
            source = source.get(key) if isinstance(source, dict) else None
        self._parent = name(source, where)

    def _item(self, payload: Row, at_s: float | None) -> None:
        for message in listed([payload]):
            if message.role == "assistant":
                self._written.append(message)
                self._ended_s = at_s
            elif self._written:
                self._told_later.append(message)
                self._later_s = at_s
            else:
                self._told.append(message)
                self._sent_s = at_s
        if payload.get("type") == "reasoning":
            self._ended_s = at_s

    def _count(self, where: str, line: int, info: Any, stamp: object) -> None:
        """A call has ended, unless its count only repeats the one before."""
        if not isinstance(info, dict):
            return
        total, last = info.get("total_token_usage"), info.get("last_token_usage")
        where += ": token_count"
        totals = _counts(total, where) if isinstance(total, dict) else None
        if totals == self._total:
            return
        counts = _counts(last, where) if isinstance(last, dict) else None
        if counts is None and totals is not None:
            counts = [now - before for now, before in zip(totals, self._total, strict=True)]
        self._total = totals or self._total
        if counts is not None and counts[0] > 0:
            key = (stamp, *counts, *self._total)
            self._add(where, line, counts, seconds(stamp, "timestamp", where), key in self._seen)
            self._seen.add(key)

    def _add(self, where: str, line: int, counts: list[int], counted_s: float | None, copied: bool) -> None:
        histories = self._histories
        call = Call(where, line, session=self.session, parent=self._parent)
        call.model, call.effort = self._model or None, self._effort
        call.client, call.project = self._facts[0], self._facts[2]
        call.answers_tool = bool(self._told) and self._told[-1].role == "tool"
        call.cut, self._cut = self._cut, ""
        call.head = histories.head("\0".join(self._facts))
        if self._node is None:
            self._node = call.head
        elif call.head != self._head:  # another model or effort: the same messages behind another head
            self._node = histories.behind(call.head, self._node)
        self._head = call.head
        node = added(histories, self._node, list(merged(self._told)))
        call.node = histories.add(node, "user", "") if node == call.head else node
        call.input_tokens, call.read_tokens, call.output_tokens, call.reasoning_tokens = counts
        call.ended_s = counted_s if self._ended_s is None else self._ended_s
        call.sent_s = call.ended_s if self._sent_s is None else self._sent_s
        written = "\n".join(message.text for message in self._written if message.text)
        call.reply = self._node = histories.add(call.node, "assistant", written)
        self._told, self._told_later, self._written = self._told_later, [], []
        if not copied:
            self.calls.append(call)
        self._sent_s, self._later_s = self._later_s, None


def _counts(row: Row, where: str) -> list[int]:
    return [count(row, where, key) or 0 for key in COUNTS]
