"""Requests and replies as the common chat APIs write them: messages, tools, usage.

One reading for OpenAI's chat completions and responses, Anthropic's messages, and what observability tools
make of them: their parts have different names but do not contradict each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from workloads.errors import InputError
from workloads.formats.history import Histories
from workloads.formats.jsonl import Row, decoded, digits
from workloads.schema import MOST
from workloads.shown import shown

IMAGE_TOKENS = 1000.0
"""About what an image of a megapixel takes with OpenAI and Anthropic."""
ROLES = {
    "human": "user", "gpt": "assistant", "ai": "assistant", "chatgpt": "assistant", "bing": "assistant",
    "bard": "assistant", "model": "assistant", "function": "tool", "AIMessage": "assistant",
    "HumanMessage": "user", "SystemMessage": "system", "ToolMessage": "tool",
}  # fmt: skip
HIDDEN = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""Parts that are not part of the text that is resent; their tokens are in the usage."""


class Message(NamedTuple):
    """Role and text of a message; ``tokens`` where the text does not tell them (images)."""

    role: str
    text: str
    tokens: float | None = None


def messages(body: Row) -> list[Message]:
    """What a request sends, first things first: tools, system prompt, messages."""
    found: list[Message] = []
    for key in ("tools", "functions", "response_format"):
        if body.get(key):
            found.append(Message("tools", _json(body[key])))
    for key in ("system", "system_instructions", "instructions"):
        if body.get(key):
            found += _message("system", body[key])
    for key in ("messages", "input", "contents", "prompt", "inputs"):
        if body.get(key):
            found += listed(body[key])
            break
    return list(merged(found))


def listed(value: Any, role: str = "user") -> list[Message]:
    """The messages of a list, of one message, or of a text that ``role`` wrote."""
    if isinstance(value, str):
        return [Message(role, value.strip())]
    if isinstance(value, dict):
        for key in ("messages", "choices", "output", "content"):
            if key in value and "role" not in value and "type" not in value:
                return listed(value[key], role)
        return list(_item(value, role))
    found: list[Message] = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, list):
            found += listed(item, role)
        elif isinstance(item, dict):
            found += _item(item, role)
        elif isinstance(item, str):
            found.append(Message(role, item.strip()))
    return found


def reply(response: Any) -> str | None:
    """The text of the reply that a response holds, tool calls included; None if there is none."""
    found = [
        message.text for message in merged(listed(response, "assistant")) if message.role == "assistant"
    ]
    return "\n".join(found) if found and any(found) else None


def merged(found: list[Message]) -> Iterator[Message]:
    """The messages, consecutive ones of the assistant as one: APIs differ in how they cut a reply."""
    held: Message | None = None
    for message in found:
        if held is not None and message.role == held.role == "assistant":
            held = Message("assistant", "\n".join(filter(None, (held.text, message.text))))
            continue
        if held is not None:
            yield held
        held = message
    if held is not None:
        yield held


def added(histories: Histories, node: int, found: list[Message]) -> int:
    """The node of the last of these messages behind ``node``."""
    for message in found:
        node = histories.add(node, message.role, message.text, message.tokens)
    return node


def _item(item: Row, role: str) -> Iterator[Message]:
    """One entry of a list of messages, in whatever envelope."""
    if isinstance(item.get("message"), dict):  # a choice of a chat completion
        item = item["message"]
    if isinstance(item.get("kwargs"), dict) and isinstance(item.get("id"), list):  # LangChain, serialised
        item = {"role": str(item["id"][-1]), **item["kwargs"]}
    if isinstance(item.get("data"), dict) and "content" in item["data"]:  # LangChain, older
        item = {"role": item.get("type"), **item["data"]}
    kind = _kind(item)
    if kind in HIDDEN:
        return
    if kind in ("function_call", "custom_tool_call", "local_shell_call"):
        yield Message("assistant", _tool_call(item))
    elif kind in ("function_call_output", "custom_tool_call_output", "local_shell_call_output"):
        yield Message("tool", _text(item.get("output")))
    elif "role" in item or kind in ROLES:
        name = str(item.get("role") or kind)
        name = ROLES.get(name, name)
        content = item.get("content")
        yield from _message(name, item.get("parts") if content is None else content, item.get("tool_calls"))
    else:
        yield from _message(role, [item])


def _message(role: str, content: Any, tool_calls: Any = None) -> Iterator[Message]:
    """A message of ``role``, of whose parts tool results and images become messages of their own."""
    texts: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        kind = _kind(part)
        if kind in HIDDEN:
            continue
        if kind in ("tool_result", "tool_call_response"):
            result = part.get("content", part.get("response", part.get("result")))
            yield Message("tool", _text(result))
        elif kind in ("tool_use", "tool_call"):
            texts.append(_tool_call(part))
        elif kind in ("image", "image_url", "input_image"):
            yield Message(role, _json(part), IMAGE_TOKENS)
        else:
            texts.append(_text(part))
    calls = tool_calls if isinstance(tool_calls, list) else []
    texts += [_tool_call(call) for call in calls if isinstance(call, dict)]
    text = "\n".join(filter(None, texts))
    if text or not isinstance(content, list):
        yield Message(role, text)


def _kind(part: Any) -> str | None:
    """The type that a part or an item names."""
    kind = part.get("type") if isinstance(part, dict) else None
    return kind if isinstance(kind, str) else None


def _text(value: Any) -> str:
    """The text of a part, of a list of parts, or of anything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return "\n".join(_text(item) for item in value)
    if isinstance(value, dict):
        for key in ("text", "content"):
            if isinstance(value.get(key), str | list):
                return _text(value[key])
    return _json(value)


def _tool_call(call: Row) -> str:
    """Name and arguments of a tool call, however it is written."""
    function = call.get("function")
    named = function if isinstance(function, dict) else call
    arguments = decoded(named.get("arguments", named.get("input", named.get("args", named.get("action")))))
    return f"{named.get('name')} {arguments if isinstance(arguments, str) else _json(arguments)}"


def _json(value: Any) -> str:
    """Compact, keys as logged: their order is content. Tables have values that JSON has not (times)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call as a provider counted them; None where it did not."""

    input_tokens: int | None = None
    """Of the whole prompt, whatever was read from or written to a cache."""
    output_tokens: int | None = None
    read_tokens: int | None = None
    reasoning_tokens: int = 0
    written_tokens: tuple[int, int] | None = None
    """Tokens written to a cache: for the usual lifetime, and for the long one where two are sold."""


def usage(row: Any, where: str) -> Usage:
    """Usage as OpenAI (inclusive counts) or Anthropic (exclusive counts) writes it."""
    if not isinstance(row, dict):
        return Usage()
    details = _dict(row, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    out = _dict(row, "completion_tokens_details", "output_tokens_details", "output_token_details")
    sent = count(row, where, "prompt_tokens", "input_tokens", "promptTokens", "inputTokens")
    read = count(row, where, "cache_read_input_tokens")
    written = count(row, where, "cache_creation_input_tokens")
    if "input_tokens" in row and (read is not None or written is not None) and "total_tokens" not in row:
        sent = (sent or 0) + (read or 0) + (written or 0)
    cached = read if read is not None else count(details, where, "cached_tokens", "cache_read")
    if written is None:
        written = count(details, where, "cache_write_tokens", "cache_creation_tokens", "cache_creation")
    long = count(_dict(row, "cache_creation"), where, "ephemeral_1h_input_tokens") or 0
    return Usage(
        input_tokens=sent or None,
        output_tokens=count(
            row, where, "completion_tokens", "output_tokens", "completionTokens", "outputTokens"
        ),
        read_tokens=cached,
        reasoning_tokens=count(out, where, "reasoning_tokens", "reasoning") or 0,
        written_tokens=None if written is None else (max(0, written - long), min(written, long)),
    )


def _dict(row: Row, *keys: str) -> Row:
    for key in keys:
        value = row.get(key)
        if isinstance(value, dict):
            return value
    return {}


def count(row: Row, where: str, *keys: str) -> int | None:
    """The whole number under the first of ``keys`` that the row has."""
    for key in keys:
        value = digits(row.get(key))
        if value is None:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not 0 <= value <= MOST:
            raise InputError(f"{where}: {key} = {shown(value)}; allowed: a whole number of at least 0")
        return value
    return None
