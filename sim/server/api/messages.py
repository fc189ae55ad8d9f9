"""POST /v1/messages: Anthropic's API, with what Claude Code needs of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from sim.server.api import diagnostics, usage
from sim.server.api.base import Body, Served, dumped, merged, parse, usage_of
from sim.server.api.call import Call, Wanted, calls_since_user, chosen_tool, last_user_text
from sim.server.api.errors import ApiError, Shape
from sim.server.api.marks import cache_mark, session_of
from sim.server.api.template import Message, Part, as_json, call, file, render, text
from sim.server.api.tokens import Tokens

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
Block = dict[str, Any]


class AnthropicMessage(Body):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Diagnose(Body):
    previous_message_id: str | None = None


class Metadata(Body):
    user_id: str | None = None


class CountBody(Body):
    """A prompt; all that count_tokens needs."""

    model: str
    messages: list[AnthropicMessage] = Field(min_length=1)
    system: str | list[Block] | None = None
    tools: list[Block] | None = None


class MessagesBody(CountBody):
    max_tokens: int = Field(ge=0)
    stream: bool = False
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None
    metadata: Metadata | None = None
    diagnostics: Diagnose | None = None


class Messages:
    path = "/v1/messages"
    shape: Shape = "anthropic"
    reply_prefix = "msg_"

    def read(self, body: dict[str, Any], tokens: Tokens, headers: Mapping[str, str]) -> Call:
        asked = parse(MessagesBody, body)
        if asked.max_tokens == 0:
            raise ApiError(400, "max_tokens: allowed: at least 1", param="max_tokens")
        messages, tools = conversation(asked)
        automatic = cache_mark(asked.cache_control, "cache_control")
        return Call(
            model=asked.model,
            prompts=[render(messages, tools, tokens, automatic)],
            wanted=_wanted(asked),
            said=[last_user_text(messages)],
            calls_since_user=calls_since_user(messages),
            stream=asked.stream,
            session=session_of(headers, asked.metadata.user_id if asked.metadata else None),
            settings={"thinking": asked.thinking, "tool_choice": asked.tool_choice},
            compare_with=asked.diagnostics.previous_message_id if asked.diagnostics else None,
            asks_diagnosis=asked.diagnostics is not None,
            body=body,
        )

    def writer(self, served: Served) -> MessageWriter:
        return MessageWriter(served)


def conversation(asked: CountBody) -> tuple[list[Message], list[Part]]:
    """Messages, the system's first, and tools."""
    messages = []
    if asked.system:
        messages.append(Message("system", tuple(_parts(asked.system, "system"))))
    for number, message in enumerate(asked.messages):
        messages += _split(message, f"messages.{number}.content")
    tools = []
    for tool in asked.tools or ():
        plain = {key: value for key, value in tool.items() if key != "cache_control"}
        tools.append(text(as_json(plain), cache_mark(tool.get("cache_control"), "tools")))
    return messages, tools


def _split(message: AnthropicMessage, field: str) -> list[Message]:
    """A user's message holds the results of tools too: each is a message of its own here."""
    if isinstance(message.content, str):
        return [Message(message.role, (text(message.content),))]
    out: list[Message] = []
    rest: list[Part] = []
    for block in message.content:
        if block.get("type") != "tool_result":
            rest += _parts([block], field)
            continue
        if rest:
            out.append(Message(message.role, tuple(rest)))
            rest = []
        said = _parts(block.get("content") or "", field)
        mark = cache_mark(block.get("cache_control"), field)
        out.append(Message("tool", (*said, text("", mark)) if mark else tuple(said)))
    if rest or not out:
        out.append(Message(message.role, tuple(rest)))
    return out


def _parts(content: Any, field: str) -> list[Part]:
    if isinstance(content, str):
        return [text(content)]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise ApiError(400, f"{field}: allowed: a text or a list of blocks", param=field)
    return [_part(block, field) for block in content]


def _part(block: Block, field: str) -> Part:
    mark = cache_mark(block.get("cache_control"), field)
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        return text(block["text"], mark)
    if kind == "thinking" and isinstance(block.get("thinking"), str):
        return text(block["thinking"], mark)
    if kind == "tool_use" and isinstance(block.get("name"), str):
        return call(block["name"], block.get("input", {}), str(block.get("id", "")), mark)
    if not isinstance(kind, str) or kind in ("text", "thinking", "tool_use"):
        raise ApiError(400, f"{field}: a block without what its type says it has", param=field)
    return file({key: value for key, value in block.items() if key != "cache_control"}, mark)


def _wanted(asked: MessagesBody) -> Wanted:
    parameters = {str(tool.get("name", "")): tool.get("input_schema") for tool in asked.tools or ()}
    choice = asked.tool_choice or {}
    names = [] if choice.get("type") == "none" else list(parameters)
    if choice.get("type") == "tool":
        names = chosen_tool(choice.get("name"), parameters)
    form = (asked.output_config or {}).get("format")
    form = form if isinstance(form, dict) else {}
    return Wanted(
        most_tokens=asked.max_tokens,
        tools=names,
        must_call=bool(names) and choice.get("type") in ("any", "tool"),
        parameters=parameters,
        as_json=form.get("type") == "json_schema",
        schema=form.get("schema"),
    )


class MessageWriter:
    """Named events. ``message_start`` leaves with the first token, since its usage has the cache counts."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._part = -1

    def opening(self) -> bytes:
        return b""

    def _message(self, content: list[Block], output_tokens: int, stop_reason: str | None) -> Block:
        finding = self._served.diagnose()
        counts = usage.message(usage_of(self._served)) | {"output_tokens": output_tokens}
        out: Block = {
            "id": f"{Messages.reply_prefix}{self._served.id}",
            "type": "message",
            "role": "assistant",
            "model": self._served.call.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": counts,
        }
        if self._served.call.asks_diagnosis:
            out["diagnostics"] = None if finding is None else diagnostics.anthropic(finding)
        return out

    def tokens(self, choice: int, bits: Sequence[tuple[int, str]], last: bool) -> bytes:
        out = []
        if self._part < 0:
            out.append(_event("message_start", {"message": self._message([], 1, None)}))
        for part, said in merged(bits):
            out.append(self._begin(part))
            if said:
                is_text = self._served.answers[0].parts[part].kind == "text"
                kind, field = ("text_delta", "text") if is_text else ("input_json_delta", "partial_json")
                delta = {"index": part, "delta": {"type": kind, field: said}}
                out.append(_event("content_block_delta", delta))
        if last:
            out.append(_event("content_block_stop", {"index": self._part}))
        return b"".join(out)

    def _begin(self, part: int) -> bytes:
        """The block of that part begins, if it has not: the one before ends."""
        if part == self._part:
            return b""
        end = _event("content_block_stop", {"index": self._part}) if self._part >= 0 else b""
        self._part = part
        begun = _block(self._served.answers[0].parts[part], empty=True)
        return end + _event("content_block_start", {"index": part, "content_block": begun})

    def end(self) -> bytes:
        answer = self._served.answers[0]
        delta = {"stop_reason": STOP_REASONS[answer.finish], "stop_sequence": None}
        counts = usage.message(usage_of(self._served))
        keys = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
        cumulative = {key: counts[key] for key in keys}
        out = _event("message_delta", {"delta": delta, "usage": cumulative})
        return out + _event("message_stop", {})

    def error(self, error: ApiError) -> bytes:
        return _event("error", error.body("anthropic", f"req_{self._served.id}"))

    def whole(self) -> dict[str, Any]:
        answer = self._served.answers[0]
        content = [_block(part, empty=False) for part in answer.parts]
        output_tokens = usage_of(self._served).output_tokens
        return self._message(content, output_tokens, STOP_REASONS[answer.finish])


def _block(part: Part, empty: bool) -> Block:
    if part.kind == "text":
        return {"type": "text", "text": "" if empty else part.text}
    tool_input = {} if empty else json.loads(part.text)
    return {"type": "tool_use", "id": f"toolu_{part.call_id}", "name": part.name, "input": tool_input}


def _event(name: str, data: Block) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + dumped({"type": name, **data}) + b"\n\n"
