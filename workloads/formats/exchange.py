"""One call made from what most logs have: a request, a response, usage, times, a session."""

from __future__ import annotations

from typing import Any

from workloads.errors import InputError
from workloads.formats.call import Call
from workloads.formats.chats import Message, Usage, added
from workloads.formats.history import START, Histories
from workloads.formats.jsonl import Row, decoded
from workloads.shown import shown

SESSION_KEYS = ("session_id", "sessionId", "conversation_id", "conversationId", "thread_id", "threadId")

REASONS = frozenset({
    "model_changed", "system_changed", "tools_changed", "messages_changed", "previous_message_not_found",
    "unavailable", "prompt_cache_key_changed", "text_format_changed", "reasoning_effort_changed",
    "verbosity_changed", "input_changed", "service_tier_changed", "context_compacted",
})  # fmt: skip
"""The words in which Anthropic and OpenAI name the causes of misses."""


def exchange(
    histories: Histories,
    where: str,
    line: int,
    prompt: list[Message],
    answer: str | None,
    used: Usage,
    *,
    session: object = None,
    sent_s: float | None = None,
    ended_s: float | None = None,
    after: int = START,
    model: object = None,
) -> Call:
    """The call that sends ``prompt`` behind the message ``after`` and gets ``answer``."""
    if not prompt and not used.input_tokens:
        raise InputError(f"{where}: neither messages nor a count of input tokens; allowed: one of the two")
    call = Call(where, line, session=name(session, where), sent_s=sent_s, ended_s=ended_s)
    call.input_tokens = used.input_tokens or None  # a prompt of 0 tokens is one that was not counted
    call.output_tokens = used.output_tokens
    call.read_tokens, call.reasoning_tokens = used.read_tokens, used.reasoning_tokens
    call.written_tokens = used.written_tokens
    call.model = model if isinstance(model, str) else None
    call.answers_tool = prompt[-1].role == "tool" if prompt else None
    if prompt:
        call.node = added(histories, after, prompt)
        if answer is not None:
            call.reply = histories.add(call.node, "assistant", answer)
    return call


def name(value: object, where: str) -> str | None:
    """A session's name; None if there is none."""
    if value is None or value == "":
        return None
    text = str(value)
    if isinstance(value, list | dict) or not text.isprintable():
        raise InputError(f"{where}: session {shown(value)}; allowed: printable text or a number")
    return text


def first(row: Row, keys: tuple[str, ...]) -> Any:
    """What stands under the first of ``keys`` that the row has; None if it has none."""
    for key in keys:
        if row.get(key) not in (None, ""):
            return row[key]
    return None


def as_dict(value: Any) -> Row:
    """``value`` decoded if that is an object, else an empty one."""
    value = decoded(value)
    return value if isinstance(value, dict) else {}


def miss_reason(response: Row) -> str:
    """What the provider's own diagnosis of a reply names as the cause of a cache miss; usually nothing.

    Anthropic: ``diagnostics.cache_miss_reason``; OpenAI: ``prompt_cache_diagnostics``.
    """
    for key, kind in (("diagnostics", "cache_miss_reason"), ("prompt_cache_diagnostics", "miss_reason")):
        reason: Any = as_dict(response.get(key)).get(kind)
        if isinstance(reason, dict):
            reason = reason.get("type")
        if isinstance(reason, str) and reason in REASONS:
            return reason
    return ""
