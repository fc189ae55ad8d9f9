"""Connections that break, stall or never speak: nothing is lost, nothing stays behind."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.server.conftest import openai_client
from tests.server.fake import FakeLive
from tests.server.running import Up, up

HELLO: Any = [{"role": "user", "content": "Hello"}]


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.01)


def slow_engine() -> FakeLive:
    return FakeLive(token_s=0.02)


def test_a_stream_that_is_closed_early_leaves_the_system() -> None:
    with up(slow_engine) as server:
        with openai_client(server) as client:
            stream = client.chat.completions.create(
                model="m", messages=HELLO, stream=True, extra_body={"ignore_eos": True}, max_tokens=10_000
            )
            next(iter(stream))
            stream.close()
        eventually(lambda: server.live.rows[0].cancelled)
        assert server.live.rows[0].said < 1000
        page = server.client.get("/metrics").text
        assert 'finished_reason="abort",model_name="fake-model"} 1.0' in page


def test_a_client_that_does_not_wait_for_its_reply_leaves_the_system() -> None:
    with up(slow_engine) as server:
        with openai_client(server) as client, pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.3).chat.completions.create(
                model="m", messages=HELLO, max_tokens=10_000, extra_body={"ignore_eos": True}
            )
        eventually(lambda: server.live.rows[0].cancelled)


def test_tasks_that_are_cancelled_cancel_their_streams() -> None:
    with up(slow_engine) as server:

        async def endless(client: anthropic.AsyncAnthropic) -> None:
            messages: Any = HELLO
            async with client.messages.stream(model="m", max_tokens=200, messages=messages) as stream:
                async for _ in stream:
                    pass

        async def many() -> None:
            async with anthropic.AsyncAnthropic(base_url=server.url, api_key="x", max_retries=0) as client:
                tasks = [asyncio.create_task(endless(client)) for _ in range(20)]
                await asyncio.sleep(0.5)
                for task in tasks[:10]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        server.client.post("/admin/config", json={"replies": {"tokens": 100}})
        asyncio.run(many())
        eventually(lambda: all(row.is_over for row in server.live.rows))
        assert sorted(row.cancelled for row in server.live.rows) == [False] * 10 + [True] * 10


def test_connections_that_say_half_of_it_hold_up_nobody() -> None:
    with up(FakeLive, {"body_timeout_s": 0.3}) as server:
        address = ("127.0.0.1", server.port)
        silent = [socket.create_connection(address) for _ in range(50)]
        half = [socket.create_connection(address) for _ in range(50)]
        late = socket.create_connection(address)
        try:
            for one in half:
                one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-")
            late.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            with openai_client(server) as client:
                assert client.chat.completions.create(model="m", messages=HELLO).choices
            late.settimeout(10)
            assert late.recv(1000).startswith(b"HTTP/1.1 408")
        finally:
            for one in (*silent, *half, late):
                one.close()
        assert len(server.live.rows) == 1


def test_a_client_that_hangs_up_in_the_middle_of_its_request(engine: Up[FakeLive]) -> None:
    with socket.create_connection(("127.0.0.1", engine.port)) as one:
        one.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    with openai_client(engine) as client:
        assert client.chat.completions.create(model="m", messages=HELLO).choices
    assert len(engine.live.rows) == 1


def test_what_is_no_http_is_refused(engine: Up[FakeLive]) -> None:
    with socket.create_connection(("127.0.0.1", engine.port)) as one:
        one.settimeout(10)
        one.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert one.recv(1000).startswith(b"HTTP/1.1 400")


def test_a_client_that_reads_nothing_is_taken_to_be_gone() -> None:
    """Its stream fills the buffers between; others go on meanwhile."""
    with up(FakeLive, {"send_timeout_s": 0.3}) as server:
        body = b'{"model": "m", "prompt": "x", "stream": true, "max_tokens": 100000, "ignore_eos": true}'
        head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", server.port))
            one.sendall(head + body)
            eventually(lambda: bool(server.live.rows))
            with openai_client(server) as client:
                assert client.chat.completions.create(model="m", messages=HELLO).choices
            eventually(lambda: server.live.rows[0].cancelled)
        assert server.live.rows[0].said < 100_000


def test_a_server_that_is_stopped_ends_its_streams() -> None:
    with openai.OpenAI(base_url="http://127.0.0.1:1", api_key="x", max_retries=0) as client:
        with up(slow_engine) as server:
            stream = client.with_options(base_url=f"{server.url}/v1").chat.completions.create(
                model="m", messages=HELLO, stream=True, max_tokens=10_000, extra_body={"ignore_eos": True}
            )
            next(iter(stream))
        with pytest.raises(openai.APIConnectionError):
            list(stream)
        stream.close()
    assert server.live.rows[0].cancelled
