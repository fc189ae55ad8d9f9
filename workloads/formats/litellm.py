"""LiteLLM: rows of the proxy's ``LiteLLM_SpendLogs``, or its logging payloads, as JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Usage, messages, reply, usage
from workloads.formats.exchange import as_dict, exchange, first
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row, decoded
from workloads.formats.reader import TABLES, Reader
from workloads.formats.times import seconds

NO_CHATS = ("embedding", "image", "moderation", "transcription", "speech", "rerank", "ocr", "search")


class LiteLlmLog(CallLog):
    """Successful calls of chat models; a session is ``session_id``, or the ``trace_id`` of older versions.

    Texts are there only if the proxy stores prompts; else prompts are linked by their lengths. Counts are
    taken from the raw usage in ``metadata`` where it is: the column ``prompt_tokens`` contains cached
    tokens for some providers only. LiteLLM's own ``cache_hit`` (a whole response) is not a prefix cache's:
    such calls never reached a model and are left out.
    """

    format: Literal["litellm"]
    ENDINGS: ClassVar[tuple[str, ...]] = TABLES

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Columns that only LiteLLM has together."""
        return row.keys() >= {"call_type", "startTime"} and ("spend" in row or "response_cost" in row)

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call a row."""

        def read(where: str, line: int, row: Row) -> Call | None:
            reason = _left_out(row)
            if reason:
                reader.left_out[reason] += 1
                return None
            metadata = as_dict(row.get("metadata"))
            body = as_dict(row.get("proxy_server_request"))
            body = as_dict(body.get("body")) or body
            if not any(key in body for key in ("messages", "input", "prompt")):
                body = {"messages": decoded(row.get("messages"))}
            response = as_dict(row.get("response"))
            return exchange(
                histories,
                where,
                line,
                messages(body),
                reply(response) if response else None,
                _usage(row, metadata, where),
                session=first(row, ("session_id", "trace_id")),
                sent_s=seconds(row.get("startTime"), "startTime", where),
                ended_s=seconds(row.get("endTime"), "endTime", where),
                model=row.get("model"),
            )

        return (call for call in reader.each(read) if call is not None)


def _left_out(row: Row) -> str:
    if row.get("status") not in (None, "", "success"):
        return "failed calls"
    if str(row.get("cache_hit")).lower() == "true":
        return "calls answered from LiteLLM's response cache"
    kind = str(row.get("call_type"))
    return "calls of other models" if any(name in kind for name in NO_CHATS) else ""


def _usage(row: Row, metadata: Row, where: str) -> Usage:
    raw = as_dict(metadata.get("usage_object"))
    used = usage(raw, where) if raw else Usage()
    return usage(row, where) if used.input_tokens is None else used
