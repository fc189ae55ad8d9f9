"""POST /v1/chat/completions: OpenAI's chat, as vLLM serves it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from sim.server.api.base import Body, Served, dumped, merged, parse
from sim.server.api.call import Call, Wanted, calls_since_user, chosen_tool, last_user_text
from sim.server.api.errors import ApiError, Shape
from sim.server.api.marks import cache_mark, session_of
from sim.server.api.openai_stream import Chunks, StreamOptions
from sim.server.api.template import CacheMark, Message, Part, as_json, call, file, render, text
from sim.server.api.tokens import Tokens

ROLES = {"system": "system", "developer": "developer", "user": "user", "assistant": "assistant"}
ROLES |= {"tool": "tool", "function": "tool"}
PLAIN = b',"choices":[{"index":%d,"delta":{"content":%b},"logprobs":null,"finish_reason":null}]}\n\n'
"""The end of a chunk that holds nothing but text."""


class ChatMessage(Body):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class CacheOptions(Body):
    mode: Literal["implicit", "explicit"] = "implicit"
    ttl: str | None = None
    comparison_response_id: str | None = None

    @property
    def mark(self) -> CacheMark | None:
        """The mark behind the last message that they ask for."""
        return cache_mark({"ttl": self.ttl}, "prompt_cache_options") if self.ttl else None


class ChatBody(Body):
    model: str = ""
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    min_tokens: int = Field(default=0, ge=0)
    ignore_eos: bool = False
    n: int = Field(default=1, ge=1, le=128)
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptions | None = None


class ChatCompletions:
    path = "/v1/chat/completions"
    shape: Shape = "openai"
    reply_prefix = "chatcmpl-"

    def read(self, body: dict[str, Any], tokens: Tokens, headers: Mapping[str, str]) -> Call:
        asked = parse(ChatBody, body)
        messages = [_message(message, i) for i, message in enumerate(asked.messages)]
        options = asked.prompt_cache_options or CacheOptions()
        prompt = render(messages, [text(as_json(tool)) for tool in asked.tools or []], tokens, options.mark)
        most = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
        return Call(
            model=asked.model,
            prompts=[prompt],
            wanted=_wanted(asked, most),
            said=[last_user_text(messages)],
            calls_since_user=calls_since_user(messages),
            choices=asked.n,
            stream=asked.stream,
            session=session_of(headers, asked.prompt_cache_key, asked.user),
            cache_key=asked.prompt_cache_key,
            body=body,
        )

    def writer(self, served: Served) -> ChatWriter:
        return ChatWriter(served)


def _message(message: ChatMessage, number: int) -> Message:
    parts: list[Part] = []
    if isinstance(message.content, str):
        parts.append(text(message.content))
    for block in message.content if isinstance(message.content, list) else ():
        parts.append(content_part(block, f"messages.{number}.content"))
    for tool_call in message.tool_calls or ():
        function = tool_call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            field = f"messages.{number}.tool_calls"
            raise ApiError(400, f"{field}: a call without function.name", param=field)
        arguments = function.get("arguments", "")
        parts.append(call(function["name"], arguments, str(tool_call.get("id", ""))))
    return Message(ROLES[message.role], tuple(parts))


def content_part(block: dict[str, Any], field: str) -> Part:
    """A block of a message's content: text, or a file of whatever kind."""
    mark = cache_mark(block.get("prompt_cache_breakpoint"), field)
    said = block.get("text", block.get("refusal"))
    if isinstance(said, str):
        return text(said, mark)
    if not isinstance(block.get("type"), str):
        raise ApiError(400, f"{field}: a block without type and text", param=field)
    return file({key: value for key, value in block.items() if key != "prompt_cache_breakpoint"}, mark)


def _wanted(asked: ChatBody, most: int | None) -> Wanted:
    functions = [tool["function"] for tool in asked.tools or () if isinstance(tool.get("function"), dict)]
    parameters = {str(one.get("name", "")): one.get("parameters") for one in functions}
    names, choice = list(parameters), asked.tool_choice
    if choice == "none":
        names = []
    chosen = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(chosen, dict):
        names = chosen_tool(chosen.get("name"), parameters)
    kind = (asked.response_format or {}).get("type")
    schema = (asked.response_format or {}).get("json_schema")
    return Wanted(
        most_tokens=most,
        exact=asked.ignore_eos,
        least_tokens=asked.min_tokens,
        tools=names,
        must_call=bool(names) and (choice == "required" or isinstance(chosen, dict)),
        parameters=parameters,
        as_json=kind in ("json_object", "json_schema"),
        schema=schema.get("schema") if isinstance(schema, dict) else None,
    )


class ChatWriter:
    """Chunks: text alone is most of the traffic, so its chunks are put together from ready-made bytes.

    The role leaves with the first token and ``finish_reason`` with the last, as vLLM has it, so that a
    client that takes the time of each chunk measures tokens and nothing else.
    """

    def __init__(self, served: Served) -> None:
        self._answers = served.answers
        self._chunks = Chunks(served, ChatCompletions.reply_prefix, "chat.completion.chunk")
        self._begun: set[tuple[int, int]] = set()
        self._opened: set[int] = set()

    def opening(self) -> bytes:
        return b""

    def tokens(self, choice: int, bits: Sequence[tuple[int, str]], last: bool) -> bytes:
        answer = self._answers[choice]
        is_plain = choice in self._opened and not last and not self._chunks.continuous
        if is_plain and answer.parts[0].kind == "text":
            said = bits[0][1] if len(bits) == 1 else "".join(bit for _, bit in bits)
            return self._chunks.plain + PLAIN % (choice, dumped(said))
        out = []
        pieces = merged(bits)
        for number, (part, said) in enumerate(pieces):
            is_last = last and number == len(pieces) - 1
            delta_of_part = self._delta(choice, part, said)
            if choice not in self._opened:
                self._opened.add(choice)
                delta_of_part = {"role": "assistant", **delta_of_part}
            finish = answer.finish if is_last else None
            one = {"index": choice, "delta": delta_of_part, "logprobs": None, "finish_reason": finish}
            out.append(self._chunks.chunk(one))
        return b"".join(out)

    def _delta(self, choice: int, number: int, said: str) -> dict[str, Any]:
        part = self._answers[choice].parts[number]
        if part.kind == "text":
            return {"content": said}
        if (choice, number) in self._begun:
            return {"tool_calls": [{"index": number, "function": {"arguments": said}}]}
        self._begun.add((choice, number))
        function = {"name": part.name, "arguments": said}
        return {
            "tool_calls": [{"index": number, "id": part.call_id, "type": "function", "function": function}]
        }

    def end(self) -> bytes:
        return self._chunks.end()

    def error(self, error: ApiError) -> bytes:
        return self._chunks.error(error)

    def whole(self) -> dict[str, Any]:
        choices = []
        for number, answer in enumerate(self._answers):
            message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
            calls = [part for part in answer.parts if part.kind == "call"]
            if calls:
                message["tool_calls"] = [
                    {
                        "id": part.call_id,
                        "type": "function",
                        "function": {"name": part.name, "arguments": part.text},
                    }
                    for part in calls
                ]
            choices.append(
                {"index": number, "message": message, "logprobs": None, "finish_reason": answer.finish}
            )
        return self._chunks.whole(choices) | {"object": "chat.completion"}
