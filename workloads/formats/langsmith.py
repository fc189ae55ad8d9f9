"""LangSmith's runs, as its API and its bulk exports (Parquet) give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Usage, messages, reply, usage
from workloads.formats.exchange import SESSION_KEYS, as_dict, exchange, first
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row
from workloads.formats.reader import TABLES, Reader
from workloads.formats.times import seconds


class LangSmithLog(CallLog):
    """Runs of type ``llm``. A session is the thread in the run's metadata, or else its trace.

    The field ``session_id`` of a run is its *project*. Counts contain cached tokens.
    """

    format: Literal["langsmith"]
    ENDINGS: ClassVar[tuple[str, ...]] = TABLES

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """A run."""
        return row.keys() >= {"run_type", "start_time"} and ("dotted_order" in row or "trace_id" in row)

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call a run of a model."""

        def read(where: str, line: int, row: Row) -> Call | None:
            if row.get("run_type") != "llm":
                reader.left_out["runs that are no model calls"] += 1
                return None
            if row.get("error") or row.get("status") == "error":
                reader.left_out["failed calls"] += 1
                return None
            outputs = as_dict(row.get("outputs"))
            extra = as_dict(row.get("extra"))
            return exchange(
                histories,
                where,
                line,
                messages(as_dict(row.get("inputs"))),
                _reply(outputs),
                _usage(row, outputs, where),
                session=first(as_dict(extra.get("metadata")), SESSION_KEYS) or row.get("trace_id"),
                sent_s=seconds(row.get("start_time"), "start_time", where),
                ended_s=seconds(row.get("end_time"), "end_time", where),
                model=as_dict(extra.get("metadata")).get("ls_model_name"),
            )

        return (call for call in reader.each(read) if call is not None)


def _reply(outputs: Row) -> str | None:
    """The reply in LangChain's ``generations``, or in any other shape."""
    held = outputs.get("generations")
    while isinstance(held, list) and held:
        held = held[0]
    if isinstance(held, dict):
        return reply(held.get("message") or [held])
    return reply(outputs) if outputs else None


def _usage(row: Row, outputs: Row, where: str) -> Usage:
    """What the run itself counts, with the details of its usage metadata."""
    held = outputs.get("usage_metadata") or as_dict(row.get("extra")).get("usage_metadata")
    counted = usage(held, where)
    return usage(row, where) if counted.input_tokens is None else counted
