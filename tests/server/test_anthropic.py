"""The official Anthropic SDK over a loopback socket, and the requests of Claude Code."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from tests.server.conftest import anthropic_client
from tests.server.fake import FakeLive
from tests.server.running import Up, up

HELLO: Any = [{"role": "user", "content": "Hello"}]
SEARCH: Any = {
    "name": "search",
    "description": "Finds files.",
    "input_schema": {
        "type": "object",
        "properties": {"pattern": {"type": "string"}},
        "required": ["pattern"],
    },
}


def test_a_message_and_its_usage(claude: anthropic.Anthropic, hosted: Up[FakeLive]) -> None:
    reply = claude.messages.create(model="m", max_tokens=6, messages=HELLO, system="Be brief.")
    assert reply.type == "message" and reply.role == "assistant" and reply.stop_reason == "max_tokens"
    assert reply.content[0].type == "text" and len(reply.content[0].text) == 24
    assert reply.usage.output_tokens == 6
    assert (reply.usage.input_tokens, reply.usage.cache_creation_input_tokens) == (0, 8)
    assert reply.usage.cache_creation is not None
    assert reply.usage.cache_creation.ephemeral_5m_input_tokens == 8


def test_input_reads_and_writes_add_up_to_the_prompt(
    claude: anthropic.Anthropic, hosted: Up[FakeLive]
) -> None:
    first = claude.messages.create(model="m", max_tokens=6, messages=HELLO)
    history: Any = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "On"},
    ]
    second = claude.messages.create(model="m", max_tokens=6, messages=history)
    usage, length = second.usage, len(hosted.live.rows[1].ask.prompt)
    assert usage.cache_read_input_tokens == len(hosted.live.rows[0].ask.prompt) + 6
    assert usage.cache_creation_input_tokens == length - usage.cache_read_input_tokens
    assert usage.input_tokens == 0


def test_events_come_in_the_order_that_the_sdk_needs(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="m", max_tokens=4, messages=HELLO) as stream:
        events = [event for event in stream if event.type != "text"]
        final = stream.get_final_message()
    kinds = [event.type for event in events]
    assert kinds == ["message_start", "content_block_start", *["content_block_delta"] * 4,
                     "content_block_stop", "message_delta", "message_stop"]  # fmt: skip
    start: Any = events[0]
    assert start.message.usage.output_tokens == 1 and start.message.usage.cache_creation_input_tokens == 4
    assert final.usage.output_tokens == 4 and final.stop_reason == "max_tokens"


def test_the_asynchronous_client(hosted: Up[FakeLive]) -> None:
    async def ask() -> int:
        async with (
            anthropic.AsyncAnthropic(base_url=hosted.url, api_key="none", max_retries=0) as client,
            client.messages.stream(model="m", max_tokens=9, messages=HELLO) as stream,
        ):
            assert "".join([text async for text in stream.text_stream])
            return (await stream.get_final_message()).usage.output_tokens

    assert asyncio.run(ask()) == 9


def test_a_tool_is_called_and_its_result_goes_on_from_the_call(
    claude: anthropic.Anthropic, hosted: Up[FakeLive]
) -> None:
    with claude.messages.stream(
        model="m", max_tokens=50, messages=HELLO, tools=[SEARCH], tool_choice={"type": "any"}
    ) as stream:
        reply = stream.get_final_message()
    block = reply.content[0]
    assert reply.stop_reason == "tool_use" and block.type == "tool_use" and block.name == "search"
    assert set(block.input) == {"pattern"}
    result: Any = {"type": "tool_result", "tool_use_id": block.id, "content": "a.py"}
    history: Any = [*HELLO, {"role": "assistant", "content": reply.content},
                    {"role": "user", "content": [result]}]  # fmt: skip
    after = claude.messages.create(model="m", max_tokens=5, messages=history, tools=[SEARCH])
    first = hosted.live.rows[0].ask
    assert after.usage.cache_read_input_tokens == len(first.prompt) + len(first.reply)


def test_tokens_are_counted_as_they_are_billed(claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model="m", messages=HELLO, system="Be brief.", tools=[SEARCH])
    reply = claude.messages.create(
        model="m", max_tokens=1, messages=HELLO, system="Be brief.", tools=[SEARCH]
    )
    usage = reply.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_creation_input_tokens or 0)


def test_marks_reach_the_system_with_their_places_and_lifetimes(
    claude: anthropic.Anthropic, hosted: Up[FakeLive]
) -> None:
    tools: Any = [{**SEARCH, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    claude.messages.create(
        model="m",
        max_tokens=1,
        tools=tools,
        system=[{"type": "text", "text": "12345678", "cache_control": {"type": "ephemeral"}}],
        messages=HELLO,
        cache_control={"type": "ephemeral", "ttl": "5m"},
    )
    ask = hosted.live.rows[0].ask
    tools_end, system_end, user_end = ask.message_ends
    assert [(mark.tokens, mark.ttl_s) for mark in ask.marks] == [
        (tools_end, 3600.0),
        (system_end, None),
        (user_end, 300.0),
    ]
    assert ask.system_tokens == system_end == tools_end + 3 and len(ask.prompt) == user_end + 1


def test_diagnostics_name_what_changed(claude: anthropic.Anthropic) -> None:
    base: Any = {"model": "m", "system": "Be brief.", "tools": [SEARCH], "messages": HELLO}

    def ask(before: str | None, **changes: Any) -> Any:
        reply = claude.messages.create(
            max_tokens=2, diagnostics={"previous_message_id": before}, **{**base, **changes}
        )
        return reply.id, reply.diagnostics and reply.diagnostics.cache_miss_reason

    first, nothing = ask(None)
    assert nothing is None
    assert ask(first, messages=[*HELLO, {"role": "assistant", "content": "Hi"}, *HELLO])[1] is None
    for change, name in (
        ({"model": "n"}, "model_changed"),
        ({"tools": [{**SEARCH, "name": "find"}]}, "tools_changed"),
        ({"system": "Be long."}, "system_changed"),
        ({"messages": [{"role": "user", "content": "Good day"}]}, "messages_changed"),
    ):
        reason = ask(first, **change)[1]
        assert reason.type == name and reason.cache_missed_input_tokens >= 0
    assert ask(first, tool_choice={"type": "none"})[1].type == "unavailable"
    assert ask("msg_none")[1].type == "previous_message_not_found"


def test_errors_have_anthropics_shape(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model="m", max_tokens=0, messages=HELLO)
    body: Any = refused.value.body
    assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    assert body["request_id"] == refused.value.request_id


def test_a_full_queue_is_overloaded_at_anthropic() -> None:
    with up(lambda: FakeLive(most_at_once=0)) as server, anthropic_client(server) as client:
        with pytest.raises(anthropic.InternalServerError) as refused:
            client.messages.create(model="m", max_tokens=1, messages=HELLO)
        assert refused.value.status_code == 529
        assert refused.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]


def test_a_prompt_beyond_the_context_is_refused() -> None:
    with up(lambda: FakeLive(max_model_len=100)) as server, anthropic_client(server) as client:
        long: Any = [{"role": "user", "content": "x" * 1000}]
        with pytest.raises(anthropic.BadRequestError, match="prompt is too long: 252 tokens > 100 maximum"):
            client.messages.create(model="m", max_tokens=1, messages=long)


def test_a_session_of_claude_code_is_answered(hosted: Up[FakeLive], root: Path) -> None:
    """Its requests as it sends them: beta flag, system as a list, marks, unknown beta headers, streams."""
    session = json.loads((root / "tests/server/claude_code_session.json").read_text("utf-8"))
    with httpx.Client(base_url=hosted.url, headers=session["headers"], timeout=20) as client:
        assert client.head("/").status_code == 200
        messages: list[Any] = []
        reads = []
        for turn in session["turns"]:
            messages.append(turn)
            request = {**session["body"], "messages": messages}
            counted = client.post("/v1/messages/count_tokens?beta=true", json=request)
            assert counted.json()["input_tokens"] > 0
            events = _events(client.post("/v1/messages?beta=true", json=request).text)
            usage = events[0][1]["message"]["usage"]
            assert {
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
            } <= usage.keys()
            assert usage["cache_creation"].keys() == {
                "ephemeral_5m_input_tokens",
                "ephemeral_1h_input_tokens",
            }
            assert events[0][0] == "message_start" and events[-1][0] == "message_stop"
            total = sum(usage[key] for key in ("input_tokens", "cache_creation_input_tokens"))
            assert total + usage["cache_read_input_tokens"] == counted.json()["input_tokens"]
            reads.append(usage["cache_read_input_tokens"])
            text = "".join(
                data["delta"].get("text", "") for name, data in events if name.endswith("block_delta")
            )
            messages.append({"role": "assistant", "content": [{"type": "text", "text": text}]})
        assert reads[0] == 0 and reads == sorted(reads) and reads[1] > 50


def _events(stream: str) -> list[tuple[str, Any]]:
    out = []
    for block in stream.strip().split("\n\n"):
        name, data = block.split("\n")
        out.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return out
