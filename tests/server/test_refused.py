"""What the server does not take, and how the SDKs tell it."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import openai
import pytest

from sim.server.api import serving
from tests.server.conftest import anthropic_client, openai_client
from tests.server.fake import FakeLive
from tests.server.running import Up, up
from workloads.errors import InputError

HELLO: Any = [{"role": "user", "content": "Hello"}]
DEEP = b'{"messages": ' + b"[" * 100_000


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]
)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", DEEP, b'{"n": ' + b"1" * 5000 + b"}", b"{}"]
)
def test_malformed_bodies(engine: Up[FakeLive], path: str, body: bytes) -> None:
    reply = engine.client.post(f"{path}", content=body)
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["type"] == "invalid_request_error" and error["message"]
    assert ("code" in error) == (path != "/v1/messages")
    assert engine.live.rows == []


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("chat/completions", {"messages": []}, "messages"),
        ("chat/completions", {"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"a": 1}]}]}, "messages.0.content"),
        ("chat/completions", {"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ("chat/completions", {"messages": HELLO, "n": 1000}, "n"),
        (
            "chat/completions",
            {"messages": HELLO, "tool_choice": {"function": {"name": "f"}}},
            "tool_choice",
        ),
        (
            "chat/completions",
            {"messages": HELLO, "tool_choice": {"function": {"name": ["f"]}}},
            "tool_choice",
        ),
        ("completions", {"prompt": ""}, "prompt"),
        ("completions", {"prompt": []}, "prompt"),
        ("completions", {"prompt": "x", "echo": True}, "echo"),
        ("responses", {"input": []}, "input"),
        ("responses", {"input": [{"role": "king", "content": "x"}]}, "input.0.role"),
        (
            "responses",
            {"input": "x", "tool_choice": {"type": "function", "name": {"f": 1}}},
            "tool_choice",
        ),
    ],
)
def test_fields_that_do_not_fit_are_named(
    engine: Up[FakeLive], path: str, change: dict[str, Any], field: str
) -> None:
    reply = engine.client.post(f"/v1/{path}", json={"model": "m", **change})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == field and field in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": None},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 5}]}]},
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "soon"}}]},
        {"cache_control": 5},
        {"tool_choice": {"type": "tool", "name": "none"}},
        {"tool_choice": {"type": "tool", "name": ["none"]}},
    ],
)
def test_messages_that_do_not_fit(engine: Up[FakeLive], change: dict[str, Any]) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": HELLO, **change}
    reply = engine.client.post("/v1/messages", json=body)
    assert reply.status_code == 400 and reply.json()["error"]["type"] == "invalid_request_error"


def test_huge_bodies_are_refused_before_they_are_read() -> None:
    with up(FakeLive, {"max_body_bytes": 10_000}) as server:
        big: Any = [{"role": "user", "content": "x" * 20_000}]
        with anthropic_client(server) as claude, pytest.raises(anthropic.RequestTooLargeError) as refused:
            claude.messages.create(model="m", max_tokens=1, messages=big)
        assert refused.value.status_code == 413
        assert refused.value.body["error"]["type"] == "request_too_large"  # type: ignore[index]
        with httpx.Client(base_url=server.url) as client:
            chunks = (b"x" * 1000 for _ in range(100))  # no length said before
            assert client.post("/v1/messages", content=chunks).status_code == 413
            assert client.get("/health").status_code == 200


def test_a_key_is_asked_for_in_both_ways() -> None:
    with up(FakeLive, api_key="secret") as server:
        with openai_client(server, "secret") as client:
            assert client.chat.completions.create(model="m", messages=HELLO).choices
        with anthropic_client(server, "secret") as claude:
            assert claude.messages.create(model="m", max_tokens=1, messages=HELLO).content
        with openai_client(server, "wrong") as client, pytest.raises(openai.AuthenticationError) as refused:
            client.chat.completions.create(model="m", messages=HELLO)
        assert refused.value.code == "invalid_api_key"
        with (
            anthropic_client(server, "wrong") as claude,
            pytest.raises(anthropic.AuthenticationError) as no,
        ):
            claude.messages.create(model="m", max_tokens=1, messages=HELLO)
        assert no.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
        statuses = {path: server.client.get(f"{path}").status_code for path in ("/", "/health", "/metrics")}
        assert statuses == {"/": 200, "/health": 200, "/metrics": 401}
        assert server.client.get("/admin/config", headers=[(b"x-api-key", b"\xff")]).status_code == 401


def test_paths_and_methods_that_do_not_exist(engine: Up[FakeLive]) -> None:
    reply = engine.client.get("/v1/none")
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "invalid_request_error")
    reply = engine.client.get("/v1/messages")
    assert (reply.status_code, reply.json()["error"]["type"]) == (405, "invalid_request_error")


def test_a_context_that_is_too_long_for_openai() -> None:
    with up(lambda: FakeLive(max_model_len=100)) as server, openai_client(server) as client:
        with pytest.raises(openai.BadRequestError, match="maximum context length is 100 tokens") as refused:
            client.chat.completions.create(model="m", messages=HELLO, max_tokens=97)
        assert refused.value.code == "context_length_exceeded"
        assert client.chat.completions.create(model="m", messages=HELLO, max_tokens=96).choices


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 10**12, "ignore_eos": True},
        {"min_tokens": 10**12},
        {"max_tokens": 10**12, "min_tokens": 10**12},
        {"max_tokens": 400_000, "ignore_eos": True, "prompt": ["a", "b", "c"]},
    ],
)
def test_replies_that_nobody_could_make_up(change: dict[str, Any]) -> None:
    """Where the system knows no longest context, too: the server goes on serving others."""
    with up(lambda: FakeLive(max_model_len=None)) as server:
        reply = server.client.post("/v1/completions", json={"model": "m", "prompt": "a", **change})
        assert reply.status_code == 400
        assert "allowed: up to 1,000,000" in reply.json()["error"]["message"]


@pytest.mark.parametrize("tokens", [1e308, {"distribution": "lognormal", "median": 1e300, "sigma": 100}])
def test_lengths_that_are_drawn_too_long(tokens: Any) -> None:
    """They are no error of the request, which may ask for less."""
    with up(FakeLive, {"replies": {"tokens": tokens}}) as server:
        body = {"model": "m", "prompt": "a", "max_tokens": 3}
        reply = server.client.post("/v1/completions", json=body)
        assert reply.status_code == 200 and reply.json()["usage"]["completion_tokens"] == 3


def test_a_full_queue_says_when_to_come_again() -> None:
    with up(lambda: FakeLive(most_at_once=0)) as server, openai_client(server) as client:
        with pytest.raises(openai.InternalServerError) as refused:
            client.completions.create(model="m", prompt=["a", "b"])
        assert refused.value.status_code == 503
        assert refused.value.response.headers["retry-after-ms"] == "2000"


def test_a_request_that_the_system_loses() -> None:
    with up(lambda: FakeLive(fails_after=3)) as server:
        with openai_client(server) as client:
            with pytest.raises(openai.InternalServerError, match="the replica failed"):
                client.chat.completions.create(model="m", messages=HELLO)
            with (
                pytest.raises(openai.APIError, match="the replica failed"),
                client.chat.completions.create(model="m", messages=HELLO, stream=True) as stream,
            ):
                list(stream)
        with (
            anthropic_client(server) as claude,
            pytest.raises(anthropic.APIStatusError, match="the replica failed"),
            claude.messages.stream(model="m", max_tokens=9, messages=HELLO) as events,
        ):
            list(events)
        page = server.client.get("/metrics").text
        assert 'finished_reason="error",model_name="fake-model"} 3.0' in page


def test_tokens_there_and_back(engine: Up[FakeLive]) -> None:
    with httpx.Client(base_url=engine.url) as client:
        found = client.post("/tokenize", json={"prompt": "Hello there", "return_token_strs": True}).json()
        assert (found["count"], found["token_strs"]) == (3, ["Hell", "o th", "ere"])
        back = client.post("/detokenize", json={"tokens": found["tokens"]}).json()
        assert back == {"prompt": "Hello there"}
        chat = client.post("/tokenize", json={"messages": HELLO, "return_token_strs": True}).json()
        assert chat["token_strs"] == ["<|user|>", "Hell", "o", "<|assistant|>"]
        assert client.post("/detokenize", json={"tokens": [10**9]}).status_code == 400


def test_options_change_while_the_server_runs(engine: Up[FakeLive]) -> None:
    with httpx.Client(base_url=engine.url) as client:
        before = client.get("/admin/config").json()
        changed = client.post("/admin/config", json={"latency_factor": 2, "faults": {"stall_s": 7}}).json()
        assert changed == {
            **before, "latency_factor": 2.0, "faults": {**before["faults"], "stall_s": 7.0}
        }  # fmt: skip
        assert engine.paces == [1.0, 2.0]
        for wrong in (
            {"latency_factor": -1},
            {"faults": {"cut": 1}},
            {"model": "x"},
            {"replies": {"kind": "recorded"}},
            {"faults": {"slow_start_s": 1e300}},
            {"faults": {"stall_s": 1e300}},
        ):
            assert client.post("/admin/config", json=wrong).status_code == 400
        assert client.get("/admin/config").json() == changed
        assert (
            client.post("/admin/config", json={"latency_factor": 1, "faults": {"stall_s": 30}}).json()
            == before
        )


def test_what_clients_ask_first(engine: Up[FakeLive]) -> None:
    with httpx.Client(base_url=engine.url) as client:
        assert client.head("/").status_code == client.get("/health").status_code == 200
        assert "version" in client.get("/version").json()
        named = client.get("/health", headers={"x-request-id": "mine"})
        assert named.headers["x-request-id"] == named.headers["request-id"] == "mine"
        assert json.loads(client.get("/v1/models").text)["data"][0]["id"] == "fake-model"


def test_half_a_character(engine: Up[FakeLive]) -> None:
    """Nothing can hold one: it is replaced, in what is served and in what is refused."""
    with httpx.Client(base_url=engine.url) as client:
        whole = client.post("/tokenize", content=b'{"prompt": "a\\ud83d\\ude00b"}').json()["tokens"]
        half = client.post("/tokenize", content=b'{"prompt": "a\\ud83db"}')
        assert half.status_code == 200 and half.json()["tokens"] != whole
        said = client.post("/admin/config", content=b'{"replies": {"path": "\\ud800", "kind": "recorded"}}')
        raw = client.post("/admin/config", content=b'{"\xed\xa0\x80": 1}')
        assert raw.status_code == 400 and "\ufffd" in raw.json()["error"]["param"]
        assert said.status_code == 400 and "\ufffd" in said.json()["error"]["message"]


@pytest.mark.parametrize("levels", [100, 300, 500, 800, 950])
def test_values_of_many_levels(engine: Up[FakeLive], levels: int) -> None:
    """Some can be read and not be checked or shown: refused, not an error 500."""
    value = b'{"a":' * levels + b"1" + b"}" * levels
    for body in (b'{"latency_factor": %b}', b'{"faults": %b}', b'{"replies": {"tokens": %b}}'):
        reply = engine.client.post("/admin/config", content=body % value)
        assert reply.status_code == 400, reply.text
    schema = b'{"model": "m", "prompt": "x", "max_tokens": 2, "response_format": %b}'
    assert engine.client.post("/v1/completions", content=schema % value).status_code in (200, 400)


def test_messages_are_brief(engine: Up[FakeLive]) -> None:
    reply = engine.client.post("/admin/config", json={"x" * 5000: 1})
    assert reply.status_code == 400 and len(reply.json()["error"]["message"]) < 200


def test_an_address_that_cannot_be_had() -> None:
    listening = serving.listen("127.0.0.1", 0)
    with listening:
        port = listening.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port} on 127.0.0.1: .*allowed: a free port"):
            serving.listen("127.0.0.1", port)
    with pytest.raises(InputError, match=r"--port 0 on 203\.0\.113\.7"):
        serving.listen("203.0.113.7", 0)
    assert [serving.is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "0.0.0.0", "x")] == [
        True, True, True, False, False
    ]  # fmt: skip
