"""Messages as the tokens of a prompt: a plain template in which a longer history extends a shorter one.

Every message is one marker token (its role) and its text; a prompt ends with the marker of the assistant,
after which the reply is written. Nothing follows a message, so the prompt of the next turn begins with this
prompt and its reply:

    turn 1   <system> Be brief. <user> Hello <assistant>                    reply: Hi there
    turn 2   <system> Be brief. <user> Hello <assistant> Hi there <user> Bye <assistant>
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sim.server.api.tokens import Tokens
from sim.server.live import Mark


@dataclass(frozen=True, slots=True)
class CacheMark:
    """A wish of the client that the prompt be kept up to here."""

    ttl_s: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a message: a text, a call of a tool, or a file of which only the identity counts."""

    kind: Literal["text", "call", "file"]
    text: str
    """The text; of a call its arguments as JSON; of a file a digest of what it holds."""
    name: str = ""
    """Of the tool that is called."""
    call_id: str = ""
    """Not in the prompt: clients choose it, templates leave it out."""
    mark: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message, whatever API it came by."""

    role: str
    parts: tuple[Part, ...]


@dataclass(slots=True)
class Rendered:
    """A prompt as tokens, with its places."""

    ids: list[int] = field(default_factory=list)
    message_ends: list[int] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    tools_end: int = 0
    system_end: int = 0
    """Where the system messages at the head end; where there are none, as ``tools_end``."""


def part_ids(part: Part, tokens: Tokens) -> list[int]:
    """The tokens of a part, in the prompt as in the reply."""
    if part.kind == "text":
        return list(tokens.encode(part.text).ids)
    if part.kind == "call":
        name, text = tokens.encode(part.name).ids, tokens.encode(part.text).ids
        return [tokens.marker("call"), *name, *text]
    return [tokens.marker("file"), *tokens.encode(part.text).ids]


def render(
    messages: Sequence[Message],
    tools: Sequence[Part],
    tokens: Tokens,
    automatic: CacheMark | None = None,
) -> Rendered:
    """The prompt: tools, then messages, then the assistant's turn unless the last message began it.

    ``automatic`` asks for a mark behind the last message.
    """
    out = Rendered()
    ids = out.ids
    if tools:
        ids.append(tokens.marker("tools"))
        _add(tools, out, tokens)
        out.message_ends.append(len(ids))
    out.tools_end = out.system_end = len(ids)
    head = True
    for message in messages:
        ids.append(tokens.marker(message.role))
        _add(message.parts, out, tokens)
        out.message_ends.append(len(ids))
        head = head and message.role in ("system", "developer")
        if head:
            out.system_end = len(ids)
    if automatic is not None and messages:
        out.marks.append(Mark(len(ids), automatic.ttl_s))
    if not messages or messages[-1].role != "assistant":
        ids.append(tokens.marker("assistant"))
    return out


def _add(parts: Sequence[Part], out: Rendered, tokens: Tokens) -> None:
    for part in parts:
        out.ids += part_ids(part, tokens)
        if part.mark is not None:
            out.marks.append(Mark(len(out.ids), part.mark.ttl_s))


def text(value: str, mark: CacheMark | None = None) -> Part:
    return Part("text", value, mark=mark)


def call(name: str, arguments: Any, call_id: str, mark: CacheMark | None = None) -> Part:
    """A call of a tool; ``arguments`` as JSON text or as the value of it."""
    written = arguments if isinstance(arguments, str) else as_json(arguments)
    return Part("call", written, name, call_id, mark)


def file(value: Any, mark: CacheMark | None = None) -> Part:
    """An image, a sound or a document: which one it is counts, not what it shows."""
    return Part("file", hashlib.sha256(as_json(value).encode()).hexdigest(), mark=mark)


def as_json(value: Any) -> str:
    """JSON as sent: keys in the client's order, since another order is another prompt."""
    return json.dumps(value, separators=(",", ":"))
