"""AIPerf's dialects of Mooncake's format that carry text in place of block ids.

One request a line: ``text_input`` (what the user says now) or ``messages`` (the whole prompt; or a
``payload`` with them), ``output_length``, and optionally ``timestamp``, ``delay`` (ms) and ``session_id``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workloads.errors import InputError
from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import added, listed, merged, messages
from workloads.formats.exchange import name
from workloads.formats.history import START, Histories
from workloads.formats.jsonl import Row, number, whole
from workloads.formats.reader import Reader
from workloads.formats.timing import SECONDS_PER_UNIT, require_whole_ms
from workloads.shown import shown


class MooncakeText(CallLog):
    """A ``text_input`` of a session goes on after the turn before it and its reply, ``messages`` are all.

    The texts of replies are not in the file; a reply has ``output_length`` tokens. A turn with a ``delay``
    and no ``timestamp`` comes that long after the reply before.
    """

    format: Literal["mooncake_text"]
    time_unit: Literal["s", "ms"] | None = None
    """By default ms, of which fractions are refused."""

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Text beside a length of the reply in Mooncake's name."""
        return any(key in row for key in ("text_input", "messages", "payload")) and "output_length" in row

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call a line."""
        latest: dict[str, Call] = {}

        def read(where: str, line: int, row: Row) -> Call:
            session = name(row.get("session_id"), where)
            call = Call(where, line, f"line {where}" if session is None else session)
            before = latest.get(call.session or "")
            call.node = self._node(where, row, histories, before)
            call.output_tokens = whole(row, "output_length", where)
            call.reply = histories.add(call.node, "assistant", f"reply {where}")
            histories.sizes[call.reply] = call.output_tokens
            self._set_time(where, row, call, before)
            latest[call.session or ""] = call
            return call

        yield from reader.each(read)

    def _node(self, where: str, row: Row, histories: Histories, before: Call | None) -> int:
        body = row["payload"] if isinstance(row.get("payload"), dict) else row
        sent = messages(body) if body.get("messages") else []
        if sent:
            return added(histories, START, sent)
        if not isinstance(row.get("text_input"), str) or not row["text_input"]:
            raise InputError(f"{where}: text_input = {shown(row.get('text_input'))}; allowed: text")
        after = START if before is None or before.reply is None else before.reply
        return added(histories, after, list(merged(listed(row["text_input"]))))

    def _set_time(self, where: str, row: Row, call: Call, before: Call | None) -> None:
        times: dict[str, float | None] = {}
        for key in ("timestamp", "delay"):
            value = None if row.get(key) is None else number(row, key, where)
            if value is not None and self.time_unit is None:
                require_whole_ms(value, key, where)
            times[key] = None if value is None else value * SECONDS_PER_UNIT[self.time_unit or "ms"]
        call.sent_s, call.delay_s = times["timestamp"], times["delay"]
        if call.sent_s is None and before is not None and before.sent_s is not None:
            call.sent_s = before.sent_s + (call.delay_s or 0.0)
            call.waits = True
