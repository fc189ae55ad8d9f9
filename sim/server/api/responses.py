"""POST /v1/responses: OpenAI's newer API, in which the server may keep the conversation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from sim.server.api import diagnostics, usage
from sim.server.api.base import Body, Served, dumped, merged, parse, usage_of
from sim.server.api.call import Call, Wanted, calls_since_user, chosen_tool, last_user_text
from sim.server.api.chat import ROLES, CacheOptions, content_part
from sim.server.api.errors import ApiError, Shape
from sim.server.api.marks import session_of
from sim.server.api.template import Message, Part, as_json, call, file, render, text
from sim.server.api.tokens import Tokens

MOST_KEPT = 10_000
"""Conversations that ``previous_response_id`` can name."""
Item = dict[str, Any]


class ResponseBody(Body):
    model: str = ""
    input: str | list[Item] = ""
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    stream: bool = False
    store: bool = True
    tools: list[Item] | None = None
    tool_choice: str | Item | None = None
    text: Item | None = None
    reasoning: Item | None = None
    service_tier: str | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptions | None = None


class Responses:
    """The endpoint, with the conversations that it keeps."""

    path = "/v1/responses"
    shape: Shape = "openai"
    reply_prefix = "resp_"

    def __init__(self) -> None:
        self._kept: OrderedDict[str, list[Message]] = OrderedDict()

    def read(self, body: dict[str, Any], tokens: Tokens, headers: Mapping[str, str]) -> Call:
        asked = parse(ResponseBody, body)
        before: list[Message] = []
        if asked.previous_response_id is not None:
            found = self._kept.get(asked.previous_response_id)
            if found is None:
                message = f"Previous response with id '{asked.previous_response_id}' not found."
                code = "previous_response_not_found"
                raise ApiError(400, message, param="previous_response_id", code=code)
            before = found
        messages = [*before, *_messages(asked.input)]
        if not messages:
            raise ApiError(400, "input: allowed: a text or at least one item", param="input")
        shown = (
            [Message("system", (text(asked.instructions),)), *messages] if asked.instructions else messages
        )
        options = asked.prompt_cache_options or CacheOptions()
        form, verbosity = (asked.text or {}).get("format"), (asked.text or {}).get("verbosity")
        return Call(
            model=asked.model,
            prompts=[
                render(shown, [text(as_json(tool)) for tool in asked.tools or []], tokens, options.mark)
            ],
            wanted=_wanted(asked, form if isinstance(form, dict) else {}),
            said=[last_user_text(messages)],
            calls_since_user=calls_since_user(messages),
            stream=asked.stream,
            session=session_of(headers, asked.prompt_cache_key, asked.user),
            cache_key=asked.prompt_cache_key,
            messages=messages,
            settings={
                "prompt_cache_key": asked.prompt_cache_key,
                "text_format": form,
                "verbosity": verbosity,
                "reasoning_effort": (asked.reasoning or {}).get("effort"),
                "service_tier": asked.service_tier,
            },
            compare_with=options.comparison_response_id,
            asks_diagnosis=options.comparison_response_id is not None,
            body=body,
        )

    def writer(self, served: Served) -> ResponseWriter:
        if served.call.body.get("store", True):
            reply = Message("assistant", served.answers[0].parts)
            self._kept[f"{self.reply_prefix}{served.id}"] = [*served.call.messages, reply]
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return ResponseWriter(served)


def _messages(sent: str | list[Item]) -> list[Message]:
    """The items as messages. Those of one reply, a text and its calls, are one message again."""
    if isinstance(sent, str):
        return [Message("user", (text(sent),))] if sent else []
    out: list[Message] = []
    for number, item in enumerate(sent):
        message = _message(item, f"input.{number}")
        if message.role == "assistant" and out and out[-1].role == "assistant":
            out[-1] = Message("assistant", (*out[-1].parts, *message.parts))
        else:
            out.append(message)
    return out


def _message(item: Item, field: str) -> Message:
    kind = item.get("type", "message")
    if kind == "message":
        role, content = ROLES.get(str(item.get("role"))), item.get("content")
        if role is None:
            raise ApiError(400, f"{field}.role: no such role", param=f"{field}.role")
        if isinstance(content, str):
            return Message(role, (text(content),))
        if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
            field = f"{field}.content"
            raise ApiError(400, f"{field}: allowed: a text or a list of parts", param=field)
        return Message(role, tuple(content_part(block, f"{field}.content") for block in content))
    if kind == "function_call" and isinstance(item.get("name"), str):
        part = call(item["name"], item.get("arguments", ""), str(item.get("call_id", "")))
        return Message("assistant", (part,))
    if kind == "function_call_output":
        output = item.get("output", "")
        return Message("tool", (text(output if isinstance(output, str) else as_json(output)),))
    if not isinstance(kind, str):
        raise ApiError(400, f"{field}: an item without type", param=field)
    return Message("user", (file(item),))


def _wanted(asked: ResponseBody, form: Item) -> Wanted:
    functions = [tool for tool in asked.tools or () if tool.get("type") == "function"]
    parameters = {str(one.get("name", "")): one.get("parameters") for one in functions}
    names, choice = list(parameters), asked.tool_choice
    if choice == "none":
        names = []
    if isinstance(choice, dict) and choice.get("type") == "function":
        names = chosen_tool(choice.get("name"), parameters)
    return Wanted(
        most_tokens=asked.max_output_tokens,
        tools=names,
        must_call=bool(names) and (choice == "required" or isinstance(choice, dict)),
        parameters=parameters,
        as_json=form.get("type") in ("json_object", "json_schema"),
        schema=form.get("schema"),
    )


class ResponseWriter:
    """Numbered events in the order that the SDK's stream needs: created, item, part, deltas, completed."""

    def __init__(self, served: Served) -> None:
        self._served, self._number, self._part = served, 0, -1

    @property
    def _parts(self) -> tuple[Part, ...]:
        return self._served.answers[0].parts

    def _event(self, kind: Literal["response"] | str, **data: Any) -> bytes:
        name = f"response.{kind}"
        value = {"type": name, "sequence_number": self._number, **data}
        self._number += 1
        return b"event: " + name.encode() + b"\ndata: " + dumped(value) + b"\n\n"

    def opening(self) -> bytes:
        begun = self._response("in_progress", [])
        return self._event("created", response=begun) + self._event("in_progress", response=begun)

    def tokens(self, choice: int, bits: Sequence[tuple[int, str]], last: bool) -> bytes:
        out = []
        for part, said in merged(bits):
            if part != self._part:
                out += [self._end_item(), self._begin_item(part)]
            if said:
                place = {"item_id": self._item_id(part), "output_index": part, "delta": said}
                if self._parts[part].kind == "text":
                    out.append(self._event("output_text.delta", **place, content_index=0, logprobs=[]))
                else:
                    out.append(self._event("function_call_arguments.delta", **place))
        if last:
            out.append(self._end_item())
        return b"".join(out)

    def _item_id(self, number: int) -> str:
        prefix = "msg" if self._parts[number].kind == "text" else "fc"
        return f"{prefix}_{self._served.id}_{number}"

    def _item(self, number: int, status: str) -> Item:
        part = self._parts[number]
        done = status == "completed"
        common: Item = {"id": self._item_id(number), "status": status}
        if part.kind == "text":
            content = [_text_part(part.text)] if done else []
            return {**common, "type": "message", "role": "assistant", "content": content}
        arguments = part.text if done else ""
        return {
            **common,
            "type": "function_call",
            "call_id": part.call_id,
            "name": part.name,
            "arguments": arguments,
        }

    def _begin_item(self, number: int) -> bytes:
        self._part = number
        item = self._item(number, "in_progress")
        out = self._event("output_item.added", output_index=number, item=item)
        if self._parts[number].kind == "text":
            place = {"item_id": item["id"], "output_index": number, "content_index": 0}
            out += self._event("content_part.added", **place, part=_text_part(""))
        return out

    def _end_item(self) -> bytes:
        number = self._part
        if number < 0:
            return b""
        part, place = self._parts[number], {"item_id": self._item_id(number), "output_index": number}
        if part.kind == "text":
            out = self._event("output_text.done", **place, content_index=0, text=part.text, logprobs=[])
            out += self._event("content_part.done", **place, content_index=0, part=_text_part(part.text))
        else:
            out = self._event("function_call_arguments.done", **place, name=part.name, arguments=part.text)
        item = self._item(number, "completed")
        return out + self._event("output_item.done", output_index=number, item=item)

    def end(self) -> bytes:
        response = self.whole()
        return self._event(str(response["status"]), response=response)

    def error(self, error: ApiError) -> bytes:
        response = self._response("failed", [])
        response["error"] = {"code": "server_error", "message": error.message}
        return self._event("failed", response=response)

    def whole(self) -> dict[str, Any]:
        cut = self._served.answers[0].finish == "length"
        items = [self._item(number, "completed") for number in range(len(self._parts))]
        response = self._response("incomplete" if cut else "completed", items)
        response["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
        response["usage"] = usage.response(usage_of(self._served), self._served.about)
        finding = self._served.diagnose()
        if finding is not None:
            response["prompt_cache_diagnostics"] = diagnostics.openai(finding)
        return response

    def _response(self, status: str, output: list[Item]) -> Item:
        asked = self._served.call.body
        return {
            "id": f"{Responses.reply_prefix}{self._served.id}",
            "object": "response",
            "created_at": self._served.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.get("instructions"),
            "max_output_tokens": asked.get("max_output_tokens"),
            "model": self._served.call.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": asked.get("previous_response_id"),
            "prompt_cache_key": asked.get("prompt_cache_key"),
            "tool_choice": asked.get("tool_choice") or "auto",
            "tools": asked.get("tools") or [],
            "usage": None,
        }


def _text_part(said: str) -> Item:
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
