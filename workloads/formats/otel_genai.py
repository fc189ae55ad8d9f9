"""Spans of OpenTelemetry's conventions for generative AI, as OTLP JSON or as flat spans.

OTLP: ``resourceSpans[].scopeSpans[].spans[]``, attributes as lists of keys and typed values. Flat: one
object a trace (``trace_id``, ``spans``) or one a span, attributes as an object. The conventions are still
in development, so older names of attributes are known too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Message, Usage, count, listed, merged, reply
from workloads.formats.exchange import as_dict, exchange, first
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row, decoded, digits, objects
from workloads.formats.reader import Reader
from workloads.formats.times import first_time

CALLS = ("chat", "text_completion", "generate_content")
INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
READ = (
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.input_tokens.cached",
)  # fmt: skip
WRITTEN = (
    "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_input_tokens", "gen_ai.usage.input_tokens.cache_write",
)  # fmt: skip
REASONING = ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens")
REPLY = ("gen_ai.output.messages", "gen_ai.output.text", "gen_ai.completion")
SESSION = ("gen_ai.conversation.id", "session.id", "exgentic.session.id")
FAILED = (2, "ERROR", "STATUS_CODE_ERROR")


class OtelTrace(CallLog):
    """Spans of model calls; those of agents, chains and tools around them repeat their usage and are left
    out.

    A session is ``gen_ai.conversation.id``, or else the trace. By convention the input tokens contain those
    read from and written to a cache; where these are more, the instrumentation copied exclusive counts and
    they are added. Messages are there only if the application records content.
    """

    format: Literal["otel_genai"]

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """OTLP's envelope, or a span with attributes of the conventions."""
        spans = row.get("spans")
        if "resourceSpans" in row:
            return True
        span = spans[0] if isinstance(spans, list) and spans and isinstance(spans[0], dict) else row
        return "span_id" in span and "gen_ai." in str(span.get("attributes"))

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """A call a span of a model call."""

        def read(where: str, line: int, row: Row) -> list[Call]:
            calls = []
            for trace_id, span in _spans(row, where):
                attributes = _attributes(span.get("attributes"))
                operation = attributes.get("gen_ai.operation.name")
                if operation not in CALLS and not (operation is None and first(attributes, INPUT)):
                    continue
                if _status(span) in FAILED:
                    reader.left_out["failed calls"] += 1
                    continue
                calls.append(_call(where, line, span, attributes, trace_id, histories))
            return calls

        for made in reader.each(read):
            yield from made


def _call(
    where: str, line: int, span: Row, attributes: Row, trace_id: object, histories: Histories
) -> Call:
    output = decoded(first(attributes, REPLY))
    return exchange(
        histories,
        where,
        line,
        _prompt(attributes),
        None if output is None else reply(output),
        _usage(attributes, where),
        session=first(attributes, SESSION) or trace_id,
        sent_s=first_time(span, ("startTimeUnixNano", "start_time"), where),
        ended_s=first_time(span, ("endTimeUnixNano", "end_time"), where),
        model=first(attributes, ("gen_ai.response.model", "gen_ai.request.model")),
    )


def _prompt(attributes: Row) -> list[Message]:
    found: list[Message] = []
    tools = attributes.get("gen_ai.tool.definitions")
    if tools:
        found.append(Message("tools", str(tools)))
    found += listed(decoded(attributes.get("gen_ai.system_instructions")), "system")
    found += listed(decoded(first(attributes, ("gen_ai.input.messages", "gen_ai.prompt"))))
    return list(merged(found))


def _usage(attributes: Row, where: str) -> Usage:
    sent, read, written = (count(attributes, where, *keys) for keys in (INPUT, READ, WRITTEN))
    if sent is not None and (read or 0) + (written or 0) > sent:
        sent += (read or 0) + (written or 0)
    reasoning = count(attributes, where, *REASONING) or 0
    both = None if written is None else (written, 0)
    return Usage(sent, count(attributes, where, *OUTPUT), read, reasoning, both)


def _spans(row: Row, where: str) -> Iterator[tuple[object, Row]]:
    """Every span of a row with the id of its trace, in whichever envelope."""
    for resource in _held(row, "resourceSpans", where):
        for scope in _held(resource, "scopeSpans", where):
            for span in _held(scope, "spans", where):
                yield span.get("traceId"), span
    if isinstance(row.get("spans"), list):
        for span in row["spans"]:
            if isinstance(span, dict):
                yield row.get("trace_id", span.get("trace_id")), span
    elif "span_id" in row:
        yield row.get("trace_id"), row


def _held(row: Row, key: str, where: str) -> list[Row]:
    return objects(row, key, where) if row.get(key) else []


def _attributes(value: Any) -> Row:
    """Attributes as an object, OTLP's typed values taken out of their envelopes."""
    if isinstance(value, dict):
        return value
    found = {}
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict) and isinstance(item.get("value"), dict):
            found[str(item.get("key"))] = _plain(item["value"])
    return found


def _plain(value: Row) -> Any:
    for kind, held in value.items():
        values = as_dict(held).get("values")
        if kind == "kvlistValue":
            return _attributes(values)
        if kind == "arrayValue":
            return [_plain(as_dict(item)) for item in (values if isinstance(values, list) else [])]
        return digits(held) if kind == "intValue" else held
    return None


def _status(span: Row) -> object:
    status = span.get("status")
    return status.get("code") if isinstance(status, dict) else status
