"""The official OpenAI SDK over a loopback socket: chat completions, completions, responses, models."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.server.conftest import openai_client
from tests.server.fake import FakeLive
from tests.server.running import Up, up

HELLO: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


def test_a_reply_has_the_asked_length_and_the_usage_of_the_records(
    chat: openai.OpenAI, engine: Up[FakeLive]
) -> None:
    reply = chat.chat.completions.create(model="m", messages=HELLO, max_tokens=7)
    assert reply.object == "chat.completion" and reply.model == "m" and reply.id.startswith("chatcmpl-")
    choice = reply.choices[0]
    assert choice.message.role == "assistant" and choice.finish_reason == "length"
    assert choice.message.content is not None and len(choice.message.content) == 7 * 4
    assert reply.usage is not None and reply.usage.completion_tokens == 7
    assert reply.usage.prompt_tokens == (1 + 3) + (1 + 2) + 1 == len(engine.live.rows[0].ask.prompt)
    assert reply.usage.prompt_tokens_details is not None
    assert reply.usage.prompt_tokens_details.model_dump(exclude_unset=True) == {"cached_tokens": 0}


def test_a_second_turn_hits_the_prompt_and_the_reply_of_the_first(
    chat: openai.OpenAI, engine: Up[FakeLive]
) -> None:
    first = chat.chat.completions.create(model="m", messages=HELLO)
    history = [*HELLO, {"role": "assistant", "content": first.choices[0].message.content}]
    second = chat.chat.completions.create(
        model="m", messages=[*history, {"role": "user", "content": "Go on"}]
    )
    assert first.usage is not None and second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    assert second.usage.prompt_tokens_details.cached_tokens == first.usage.total_tokens
    one, two = (row.ask for row in engine.live.rows)
    assert list(two.prompt)[: first.usage.total_tokens] == [*one.prompt, *one.reply]


def test_a_stream_gives_a_token_a_chunk_and_usage_in_a_chunk_without_choices(chat: openai.OpenAI) -> None:
    with chat.chat.completions.create(
        model="m", messages=HELLO, max_tokens=5, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *tokens, last = list(stream)
    assert [len(chunk.choices) for chunk in tokens] == [1] * 5
    assert [chunk.choices[0].delta.role for chunk in tokens] == ["assistant", None, None, None, None]
    assert [chunk.choices[0].finish_reason for chunk in tokens] == [None] * 4 + ["length"]
    assert all(chunk.choices[0].delta.content and chunk.usage is None for chunk in tokens)
    assert last.choices == [] and last.usage is not None and last.usage.completion_tokens == 5


def test_usage_so_far_comes_with_every_chunk_where_asked(chat: openai.OpenAI) -> None:
    options: Any = {"include_usage": True, "continuous_usage_stats": True}
    with chat.chat.completions.create(
        model="m", messages=HELLO, max_tokens=3, stream=True, stream_options=options
    ) as stream:
        chunks = list(stream)
    assert [chunk.usage and chunk.usage.completion_tokens for chunk in chunks] == [1, 2, 3, 3]
    assert chunks[0].usage is not None and chunks[0].usage.prompt_tokens == 8


def test_without_stream_options_there_is_no_usage(chat: openai.OpenAI) -> None:
    with chat.chat.completions.create(model="m", messages=HELLO, max_tokens=2, stream=True) as stream:
        assert [len(chunk.choices) for chunk in stream] == [1, 1]


def test_streams_of_the_asynchronous_client_run_side_by_side(engine: Up[FakeLive]) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": f"Number {number}"}], stream=True
        )
        async with stream:
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(one(client, number) for number in range(20)))

    texts = asyncio.run(all_of_them())
    assert sorted(texts) == sorted(
        "".join(engine.tokens.decode(list(row.ask.reply))) for row in engine.live.rows
    )


def test_times_of_a_request_come_where_asked() -> None:
    body = {"model": "m", "messages": HELLO, "max_tokens": 5, "include_metrics": True}
    with up(lambda: FakeLive(token_s=0.01)) as server:
        whole = server.client.post("/v1/chat/completions", json=body).json()["metrics"]
        lines = server.client.post("/v1/chat/completions", json={**body, "stream": True}).text.split("\n\n")
        twice = server.client.post("/v1/chat/completions", json={**body, "n": 2}).json()
    last = json.loads(lines[-3].removeprefix("data: "))
    assert last["choices"] == [] and "usage" not in last and last["metrics"].keys() == whole.keys()
    assert "metrics" not in twice, "of which of the two?"
    row = server.live.rows[0].times
    assert whole["time_to_first_token_ms"] == pytest.approx(1e3 * (row.first_token_s - row.arrival_s))
    assert whole["mean_itl_ms"] == pytest.approx(1e3 * (row.finished_s - row.first_token_s) / 4)


def test_several_choices_count_the_prompt_once(chat: openai.OpenAI) -> None:
    reply = chat.chat.completions.create(model="m", messages=HELLO, n=3, max_tokens=4)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (8, 12)
    with chat.chat.completions.create(model="m", messages=HELLO, n=2, max_tokens=3, stream=True) as stream:
        indices = [chunk.choices[0].index for chunk in stream]
    assert sorted(indices) == [0, 0, 0, 1, 1, 1]


def test_a_required_tool_is_called_with_arguments_that_its_schema_allows(chat: openai.OpenAI) -> None:
    reply = chat.chat.completions.create(model="m", messages=HELLO, tools=[WEATHER], tool_choice="required")
    choice = reply.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls is not None
    tool_call: Any = choice.message.tool_calls[0]
    arguments = json.loads(tool_call.function.arguments)
    assert tool_call.function.name == "get_weather"
    assert isinstance(arguments["city"], str) and arguments["days"] == 1


def test_a_streamed_call_adds_up_and_its_history_is_hit(chat: openai.OpenAI, engine: Up[FakeLive]) -> None:
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    with chat.chat.completions.create(
        model="m", messages=HELLO, tools=[WEATHER], tool_choice=choice, stream=True
    ) as stream:
        deltas = [chunk.choices[0].delta for chunk in stream]
    calls = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    said = "".join(call.function.arguments or "" for call in calls if call.function)
    assert calls[0].function is not None and calls[0].function.name == "get_weather"
    message: Any = {
        "role": "assistant",
        "tool_calls": [
            {"id": calls[0].id, "type": "function", "function": {"name": "get_weather", "arguments": said}}
        ],
    }
    result: Any = {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"}
    after = chat.chat.completions.create(model="m", messages=[*HELLO, message, result], tools=[WEATHER])
    first = engine.live.rows[0].ask
    assert after.choices[0].message.content
    assert after.usage is not None and after.usage.prompt_tokens_details is not None
    assert after.usage.prompt_tokens_details.cached_tokens == len(first.prompt) + len(first.reply)


def test_tools_are_called_so_often_after_each_user_message() -> None:
    with (
        up(FakeLive, {"replies": {"tokens": 5, "tool_calls": 2}}) as server,
        openai_client(server) as client,
    ):
        messages, ends = list(HELLO), []
        for _ in range(4):
            reply = client.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
            message = reply.choices[0].message
            ends.append(reply.choices[0].finish_reason)
            messages.append(message.model_dump(exclude_none=True))
            if message.tool_calls:
                messages.append({"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "ok"})
            else:
                messages.append({"role": "user", "content": "Again"})
        assert ends == ["tool_calls", "tool_calls", "stop", "tool_calls"]


def test_json_is_what_the_schema_asks_for(chat: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}, "tags": {"type": "array"}}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    reply = chat.chat.completions.create(model="m", messages=HELLO, response_format=form)
    content = reply.choices[0].message.content
    assert content is not None and json.loads(content)["ok"] is True


@pytest.mark.parametrize(
    ("prompt", "choices", "tokens"),
    [("abcdefgh", 1, 2), (["abcd", "abcdefgh"], 2, 3), ([5, 6, 7], 1, 3), ([[5, 6], [5, 6, 7, 8]], 2, 6)],
)
def test_completions_take_texts_and_token_ids(
    chat: openai.OpenAI, prompt: Any, choices: int, tokens: int
) -> None:
    reply = chat.completions.create(model="m", prompt=prompt)
    assert [choice.index for choice in reply.choices] == list(range(choices))
    assert reply.usage is not None and reply.usage.prompt_tokens == tokens
    with chat.completions.create(model="m", prompt=prompt, max_tokens=2, stream=True) as stream:
        assert sum(len(chunk.choices) for chunk in stream) == 2 * choices


def test_exactly_so_many_tokens_whatever_the_text(chat: openai.OpenAI) -> None:
    reply = chat.completions.create(model="m", prompt="x", max_tokens=33, extra_body={"ignore_eos": True})
    assert reply.usage is not None and reply.usage.completion_tokens == 33


def test_responses_stream_through_the_sdk_helper(chat: openai.OpenAI) -> None:
    with chat.responses.stream(model="m", input="Hello", instructions="Be brief.") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.content_part.added",
    ]  # fmt: skip
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.completed",
    ]  # fmt: skip
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert final.status == "completed" and len(final.output_text) == 40
    assert final.usage is not None and final.usage.output_tokens == 10


def test_a_conversation_that_the_server_keeps_is_hit(chat: openai.OpenAI) -> None:
    first = chat.responses.create(model="m", input="Hello")
    second = chat.responses.create(model="m", input="Go on", previous_response_id=first.id)
    assert first.usage is not None and second.usage is not None
    assert second.usage.input_tokens_details.cached_tokens == first.usage.total_tokens
    items: Any = [{"role": "user", "content": "Hello"}, *(item.model_dump() for item in first.output)]
    same = chat.responses.create(model="m", input=[*items, {"role": "user", "content": "Go on"}])
    assert same.usage is not None and same.usage.input_tokens == second.usage.input_tokens


def test_a_conversation_that_is_not_there(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        chat.responses.create(model="m", input="x", previous_response_id="resp_none")
    assert refused.value.code == "previous_response_not_found"


def test_a_function_call_of_responses(chat: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    with chat.responses.stream(model="m", input="Hi", tools=[tool], tool_choice="required") as stream:
        kinds = [event.type for event in stream]
        final: Any = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert final.output[0].type == "function_call" and final.output[0].arguments == "{}"


def test_hosted_apis_tell_what_they_wrote(hosted: Up[FakeLive]) -> None:
    with openai_client(hosted) as client:
        reply = client.chat.completions.create(model="m", messages=HELLO)
        response = client.responses.create(model="m", input="Hello")
    assert reply.usage is not None and reply.usage.prompt_tokens_details is not None
    assert reply.usage.prompt_tokens_details.cache_write_tokens == 8
    assert response.usage is not None
    details = response.usage.input_tokens_details
    assert details.cache_write_tokens == 4 and details.cache_write_tokens_details is not None
    assert details.cache_write_tokens_details.ttl_30m_tokens == 4


def test_comparison_names_what_changed(hosted: Up[FakeLive]) -> None:
    with openai_client(hosted) as client:

        def ask(text: str, before: str | None, **more: Any) -> Any:
            options: Any = {"comparison_response_id": before} if before else {}
            reply = client.responses.create(model="m", input=text, prompt_cache_options=options, **more)
            return reply.id, reply.prompt_cache_diagnostics

        first, nothing = ask("Hello there, how are you?", None)
        assert nothing is None
        assert ask("Hello there, how are you? Fine", first)[1].type == "cache_miss"
        changed = ask("Other words", first)[1]
        assert (changed.reason, changed.comparison_reusable_tokens) == ("input_changed", 1)
        assert ask("Hello there, how are you?", first)[1].type == "cache_hit"
        assert ask("Hello there, how are you?", "resp_x")[1].type == "comparison_response_not_found"
        tool: Any = {"type": "function", "name": "f", "parameters": {}}
        assert ask("Hello there, how are you?", first, tools=[tool])[1].reason == "tools_changed"


def test_models_are_listed(chat: openai.OpenAI) -> None:
    assert [model.id for model in chat.models.list()] == ["fake-model"]
    assert chat.models.retrieve("fake-model").id == "fake-model"
    with pytest.raises(openai.NotFoundError):
        chat.models.retrieve("other")


def test_another_model_is_refused_where_that_matters() -> None:
    with up(FakeLive, {"any_model": False}) as server, openai_client(server) as client:
        with pytest.raises(openai.NotFoundError) as refused:
            client.chat.completions.create(model="other", messages=HELLO)
        assert refused.value.code == "model_not_found" and refused.value.param == "model"


def test_echo_and_recorded_replies(tmp_path: Any) -> None:
    with up(FakeLive, {"replies": {"kind": "echo"}}) as server, openai_client(server) as client:
        reply = client.chat.completions.create(model="m", messages=HELLO)
        assert reply.choices[0].message.content == "Hello"
    recorded = tmp_path / "replies.jsonl"
    recorded.write_text('{"prompt": "Hello", "reply": "Good morning"}\n')
    options = {"replies": {"kind": "recorded", "path": str(recorded)}}
    with up(FakeLive, options) as server, openai_client(server) as client:
        reply = client.chat.completions.create(model="m", messages=HELLO)
        assert reply.choices[0].message.content == "Good morning"
        assert reply.usage is not None and reply.usage.completion_tokens == 3
