"""Requests and responses of chat APIs, one a row: OpenAI's and Anthropic's, logged or batched.

A row holds a request (``request``, ``body``, ``params``, or the row itself is one) and possibly its
``response`` (or ``result``), a time, a session. Batch files hold requests and results in different files,
joined by ``custom_id``: give the folder of both. A row of ``messages`` that ends with a reply and has no
response is a whole conversation (fine-tuning files, vLLM's multi-turn files): each of its replies is a
call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workloads.errors import InputError
from workloads.formats.call import Call
from workloads.formats.calls import CallLog
from workloads.formats.chats import Message, Usage, added, messages, reply, usage
from workloads.formats.exchange import SESSION_KEYS, as_dict, exchange, first, miss_reason, name
from workloads.formats.history import START, Histories
from workloads.formats.jsonl import Row, decoded
from workloads.formats.reader import Reader
from workloads.formats.times import first_time

SENT = ("timestamp", "sent_at", "start_time", "request_time", "created_at", "created", "time")
ENDED = ("ended_at", "end_time", "response_time", "completed_at")


class ApiLog(CallLog):
    """Logged calls of a chat API, batch files, or files of conversations."""

    format: Literal["openai_messages", "anthropic_messages"]

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """A request with messages, bare or beside its response."""
        body = _body(row)
        sent = body.get("messages", body.get("input"))
        return isinstance(sent, list) and bool(sent) and isinstance(sent[0], dict) and "role" in sent[0]

    def calls(self, reader: Reader, histories: Histories) -> Iterator[Call]:
        """Every row's calls, results of batches joined with their requests."""
        asked: dict[str, Call] = {}
        answers: dict[str, tuple[str | None, Usage]] = {}
        responses: dict[str, int] = {}

        def read(where: str, line: int, row: Row) -> list[Call]:
            custom, body, response = row.get("custom_id"), _body(row), _response(row)
            if custom is not None and body is row:
                if response is not None:
                    answers[str(custom)] = (reply(response), usage(response.get("usage"), where))
                else:
                    reader.left_out["failed calls"] += 1
                return []
            if response is None and _failed(row):
                reader.left_out["failed calls"] += 1
                return []
            sent = messages(body)
            if response is None and "usage" not in row and sent and sent[-1].role == "assistant":
                return _conversation(where, line, row, sent, histories)
            call = _call(where, line, row, sent, histories, responses)
            if custom is not None:
                asked[str(custom)] = call
            return [call]

        found = [call for made in reader.each(read) for call in made]
        for custom, (answer, used) in answers.items():
            call = asked.get(custom) or Call(f"{reader.path}: custom_id {custom}", 0)
            call.input_tokens, call.output_tokens = used.input_tokens, used.output_tokens
            call.read_tokens, call.reasoning_tokens = used.read_tokens, used.reasoning_tokens
            call.written_tokens = used.written_tokens
            if call.node is not None and answer is not None:
                call.reply = histories.add(call.node, "assistant", answer)
            if custom not in asked:
                found.append(call)
        yield from found


def _call(
    where: str, line: int, row: Row, sent: list[Message], histories: Histories, responses: dict[str, int]
) -> Call:
    """A request with its response, behind the response that it names if it names one."""
    body, response = _body(row), _response(row) or {}
    used = usage(response.get("usage") or row.get("usage"), where)
    earlier = body.get("previous_response_id")
    sent_s = first_time(row, SENT, where)
    call = exchange(
        histories,
        where,
        line,
        sent,
        reply(response) if response else None,
        used,
        session=_session(row, body),
        sent_s=first_time(response, ("created", "created_at"), where) if sent_s is None else sent_s,
        ended_s=first_time(row, ENDED, where),
        after=responses.get(str(earlier), START) if earlier else START,
        model=first(response, ("model",)) or first(body, ("model",)),
    )
    call.said = miss_reason(response)
    if call.output_tokens is None and call.reply is None:
        limit = first(body, ("max_tokens", "max_completion_tokens", "max_output_tokens"))
        call.output_tokens = limit if type(limit) is int and limit > 0 else None
    if call.reply is not None and isinstance(response.get("id"), str):
        responses[response["id"]] = call.reply
    return call


def _conversation(where: str, line: int, row: Row, sent: list[Message], histories: Histories) -> list[Call]:
    """A call for each reply of a conversation."""
    session = name(_session(row, row) or first(row, ("id", "custom_id")), where) or f"line {line}"
    return replies(where, line, session, sent, histories)


def replies(where: str, line: int, session: str, sent: list[Message], histories: Histories) -> list[Call]:
    """The calls of a session of which only the messages are known: one for each reply in it."""
    calls, node = [], START
    for message in sent:
        before, node = node, added(histories, node, [message])
        if message.role == "assistant" and before != START:
            calls.append(Call(where, line, session=session, node=before, reply=node))
    if not calls:
        raise InputError(f"{where}: no reply to a message; allowed: messages in turn, a reply among them")
    return calls


def _session(row: Row, body: Row) -> object:
    rows = (row, body, as_dict(body.get("metadata")))
    return next((found for one in rows if (found := first(one, SESSION_KEYS)) is not None), None)


def _body(row: Row) -> Row:
    """The request that a row holds; the row itself if it has no envelope."""
    for key in ("request", "body", "params"):
        held = decoded(row.get(key))
        if isinstance(held, dict):
            inner = decoded(held.get("body"))
            return inner if isinstance(inner, dict) else held
    return row


def _response(row: Row) -> Row | None:
    """The response that a row holds, without its envelope; None if there is none or it failed."""
    held = as_dict(row.get("response")) or as_dict(row.get("result"))
    for key in ("body", "message"):
        if isinstance(held.get(key), dict):
            held = held[key]
    return held if any(key in held for key in ("choices", "content", "output", "usage")) else None


def _failed(row: Row) -> bool:
    return bool(row.get("error")) or any(key in row and not row[key] for key in ("response", "result"))
