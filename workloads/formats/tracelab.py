"""TraceLab's rounds of coding agents: usage and times of every model call, no text and no hashes.

Source of the format: github.com/uw-syfi/TraceLab. One round a line: ``session_id``, ``round_index``,
``input_tokens_total`` (of which ``prefix_tokens`` were read from the provider's cache), ``output_tokens``,
``timing_events`` with times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from workloads.errors import InputError
from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row, objects, text, whole
from workloads.formats.reader import Reader
from workloads.formats.times import seconds

ASKING = ("user_message", "tool_result")


class TraceLabTrace(CallLog):
    """Rounds by session. A round was sent at its last user message or tool result and ended with its last
    event. Sub-agents are sessions of their own; nothing links them to their parents.
    """

    format: Literal["tracelab"]
    LACKS: ClassVar[str] = "sub-agents are sessions without a parent; what sessions share is not known"

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """A round's counts and events."""
        return row.keys() >= {"round_index", "input_tokens_total", "timing_events"}

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call a round."""
        return reader.each(_round)


def _round(where: str, line: int, row: Row) -> Call:
    call = Call(where, line, session=text(row, "session_id", where))
    call.input_tokens = whole(row, "input_tokens_total", where)
    call.output_tokens = whole(row, "output_tokens", where, 0)
    call.read_tokens = (
        whole(row, "prefix_tokens", where, 0) if row.get("prefix_tokens") is not None else None
    )
    call.tenant = None if row.get("user") is None else str(row["user"])
    asked: list[float] = []
    times: list[float] = []
    for event in objects(row, "timing_events", where):
        at_s = seconds(event.get("timestamp"), "timing_events.timestamp", where)
        if at_s is None:
            continue
        times.append(at_s)
        if event.get("event_type") in ASKING:
            asked.append(at_s)
    if not times:
        raise InputError(f"{where}: timing_events have no timestamp; allowed: at least one")
    call.sent_s = max(asked, default=min(times))
    call.ended_s = max(times)
    return call
