"""Helicone's requests, as its API and exports give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Usage, count, messages, reply, usage
from workloads.formats.exchange import as_dict, exchange
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row
from workloads.formats.reader import Reader
from workloads.formats.times import seconds


class HeliconeLog(CallLog):
    """Successful requests; a session is the property ``Helicone-Session-Id``.

    Whether counts contain cached tokens is decided by the usage in the response body; without it they are
    taken to.
    """

    format: Literal["helicone"]

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Columns that only Helicone has."""
        return row.keys() >= {"request_id", "request_created_at"} and "request_body" in row

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call a row."""

        def read(where: str, line: int, row: Row) -> Call | None:
            status = row.get("response_status")
            if isinstance(status, int) and not 200 <= status < 300:
                reader.left_out["failed calls"] += 1
                return None
            response = as_dict(row.get("response_body"))
            used = usage(response.get("usage"), where)
            if used.input_tokens is None:
                counted, read_tokens = usage(row, where), count(row, where, "prompt_cache_read_tokens")
                used = Usage(counted.input_tokens, counted.output_tokens, read_tokens)
            return exchange(
                histories,
                where,
                line,
                messages(as_dict(row.get("request_body"))),
                reply(response) if response else None,
                used,
                session=as_dict(row.get("request_properties")).get("Helicone-Session-Id"),
                sent_s=seconds(row.get("request_created_at"), "request_created_at", where),
                ended_s=seconds(row.get("response_created_at"), "response_created_at", where),
                model=row.get("model") or response.get("model"),
            )

        return (call for call in reader.each(read) if call is not None)
