"""Langfuse's observations, as its API (camelCase) and its exports (snake_case) give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Message, Usage, count, listed, merged, messages, reply
from workloads.formats.exchange import as_dict, exchange, first
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row, decoded
from workloads.formats.reader import TABLES, Reader
from workloads.formats.times import first_time

READ = ("input_cached_tokens", "cache_read_input_tokens", "input_cache_read", "cached_tokens")
WRITTEN = ("cache_creation_input_tokens", "input_cache_creation", "input_cache_write_tokens")
AMBIGUOUS = "calls whose usage does not tell whether input contains cached tokens: taken not to"


class LangfuseLog(CallLog):
    """Observations of type GENERATION; a session is ``sessionId``, or else the trace.

    The keys of ``usageDetails`` are meant to exclude each other, but many integrations send an ``input``
    that contains the cached tokens. ``total`` tells: input and output together, or all keys together.
    """

    format: Literal["langfuse"]
    ENDINGS: ClassVar[tuple[str, ...]] = TABLES

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """An observation of a trace, with Langfuse's kinds."""
        kinds = ("GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN")
        return ("traceId" in row or "trace_id" in row) and row.get("type") in kinds

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call a generation."""
        ambiguous = 0

        def read(where: str, line: int, row: Row) -> Call | None:
            if row.get("type") != "GENERATION":
                reader.left_out["observations that are no generations"] += 1
                return None
            if row.get("level") == "ERROR":
                reader.left_out["failed calls"] += 1
                return None
            details = as_dict(first(row, ("usageDetails", "usage_details", "usage")))
            used, sure = _usage(details, where)
            nonlocal ambiguous
            ambiguous += not sure
            return exchange(
                histories,
                where,
                line,
                _prompt(decoded(row.get("input"))),
                reply(decoded(row.get("output"))) if row.get("output") else None,
                used,
                session=first(row, ("sessionId", "session_id", "traceId", "trace_id")),
                sent_s=first_time(row, ("startTime", "start_time"), where),
                ended_s=first_time(row, ("endTime", "end_time"), where),
                model=first(row, ("model", "providedModelName", "provided_model_name")),
            )

        yield from (call for call in reader.each(read) if call is not None)
        if ambiguous:
            reader.remarks.append(f"{ambiguous:,} {AMBIGUOUS}")


def _prompt(sent: Any) -> list[Message]:
    """What was sent: a list of messages, one message, a text, or a whole request."""
    if isinstance(sent, dict) and "role" not in sent:
        return messages(sent)
    return list(merged(listed(sent)))


def _usage(details: Row, where: str) -> tuple[Usage, bool]:
    """The usage, and whether the row says how its counts are meant."""
    counts = {key: value for key in details if (value := count(details, where, key)) is not None}
    sent, out, total = counts.get("input"), counts.get("output", 0), counts.get("total")
    read = next((counts[key] for key in READ if key in counts), None)
    written = sum(counts.get(key, 0) for key in WRITTEN)
    reasoning = counts.get("output_reasoning_tokens", 0)
    if sent is None:
        return Usage(None, counts.get("output")), True
    parts = [value for key, value in counts.items() if key != "total"]
    exclusive, inclusive = sum(parts), sent + out
    sure = read is None or not (read or written) or total in (exclusive, inclusive)
    if read is not None and not (total == inclusive and total != exclusive):
        sent += read + written
    if total == exclusive:
        out += reasoning
    wrote = (written, 0) if any(key in counts for key in WRITTEN) else None
    return Usage(sent, out or None, read, reasoning, wrote), sure
