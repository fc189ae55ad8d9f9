"""SGLang's request logs: ``--log-requests-format json``, and ``--export-metrics-to-file``.

Source of the formats: SGLang 0.5.23, ``request_logger.py`` and ``request_metrics_exporter.py``. Long texts
are cut in the first by default, and then compared as far as they go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Message, Usage, count, messages, reply
from workloads.formats.exchange import as_dict, exchange, first
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row, number
from workloads.formats.reader import Reader
from workloads.formats.times import first_time

SENT = ("request_sent_time", "request_received_ts", "received_time", "timestamp", "created")


class SglangRequests(CallLog):
    """Finished requests; text or token ids are the prompt, ``meta_info`` its lengths."""

    format: Literal["sglang_requests"]
    ENDINGS: ClassVar[tuple[str, ...]] = (".json", ".jsonl", ".log")

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """An event of the log, or a line of exported metrics."""
        return str(row.get("event")).startswith("request.") or "request_parameters" in row

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call a finished request."""

        def read(where: str, line: int, row: Row) -> Call | None:
            if "event" in row and row["event"] != "request.finished":
                return None
            asked = as_dict(first(row, ("obj", "request_parameters")))
            out = as_dict(row.get("out"))
            meta = as_dict(out.get("meta_info")) or row
            used = Usage(
                count(meta, where, "prompt_tokens"),
                count(meta, where, "completion_tokens"),
                count(meta, where, "cached_tokens"),
            )
            sent_s = first_time(row, SENT, where)
            if sent_s is None:
                sent_s = first_time(meta, SENT, where)
            took_s = number(meta, "e2e_latency", where) if meta.get("e2e_latency") is not None else None
            return exchange(
                histories,
                where,
                line,
                _prompt(asked),
                reply(out.get("text")),
                used,
                session=as_dict(asked.get("session_params")).get("id"),
                sent_s=sent_s,
                ended_s=None if sent_s is None or took_s is None else sent_s + took_s,
            )

        return (call for call in reader.each(read) if call is not None)


def _prompt(asked: Row) -> list[Message]:
    ids: Any = asked.get("input_ids")
    if isinstance(ids, list) and ids:
        return [Message("user", " ".join(map(str, ids)), float(len(ids)))]
    if isinstance(asked.get("text"), str):
        return [Message("user", asked["text"].strip())]
    return messages(asked)
