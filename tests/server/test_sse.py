"""Server-sent events over a connection that is slow, silent, or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from sim.server.api.bodies import Gone
from sim.server.api.sse import PING, EventStream

NEVER_S = 1000.0


class Connection:
    """One connection as a web server hands it over: what was sent, and whether its client still reads."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reads, self.hangs_up = asyncio.Event(), asyncio.Event()
        self.reads.set()
        self.came: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.sent.append(message)
        self.came.put_nowait(message.get("body", b""))

    async def receive(self) -> Any:
        await self.hangs_up.wait()
        return {"type": "http.disconnect"}

    async def serve(self, stream: EventStream) -> None:
        await stream({"type": "http"}, self.receive, self.send)


class Events:
    """Events of a test's choice; whether somebody closed them."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            while (event := await self.queue.get()) is not None:
                yield event
        finally:
            self.closed = True


def test_events_leave_as_they_come_with_their_headers() -> None:
    async def go() -> None:
        connection, events = Connection(), Events()
        for event in (b"data: 1\n\n", b"data: 2\n\n", None):
            events.queue.put_nowait(event)
        await connection.serve(EventStream(events(), {"x-row": "7"}, NEVER_S))
        start, *bodies = connection.sent
        headers = dict(start["headers"])
        assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert headers[b"x-row"] == b"7" and b"content-length" not in headers
        assert [(one["body"], one["more_body"]) for one in bodies] == [
            (b"data: 1\n\n", True),
            (b"data: 2\n\n", True),
            (b"", False),
        ]
        assert events.closed

    asyncio.run(go())


def test_a_comment_where_no_event_comes_for_long() -> None:
    async def go() -> None:
        connection, events = Connection(), Events()
        serving = asyncio.create_task(connection.serve(EventStream(events(), {}, NEVER_S, ping_s=0.001)))
        while await connection.came.get() != PING:
            pass
        events.queue.put_nowait(b"data: 1\n\n")
        events.queue.put_nowait(None)
        await serving
        assert [one["body"] for one in connection.sent if one.get("body") not in (None, PING)] == [
            b"data: 1\n\n",
            b"",
        ]

    asyncio.run(go())


@pytest.mark.parametrize("of", ["an event", "a comment"])
def test_a_client_that_takes_nothing_is_gone(of: str) -> None:
    async def go() -> None:
        connection, events = Connection(), Events()
        ping_s = NEVER_S if of == "an event" else 0.001
        serving = asyncio.create_task(connection.serve(EventStream(events(), {}, 0.005, ping_s)))
        await connection.came.get()
        connection.reads.clear()
        if of == "an event":
            events.queue.put_nowait(b"data: 1\n\n")
        with pytest.raises(Gone):
            await serving
        assert events.closed

    asyncio.run(go())


def test_a_client_that_hangs_up_ends_the_stream() -> None:
    async def go() -> None:
        connection, events = Connection(), Events()
        serving = asyncio.create_task(connection.serve(EventStream(events(), {}, NEVER_S)))
        await connection.came.get()
        connection.hangs_up.set()
        await serving
        assert events.closed and len(connection.sent) == 1

    asyncio.run(go())


def test_what_breaks_the_events_breaks_the_stream() -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        raise KeyError("row")

    async def go() -> None:
        connection = Connection()
        with pytest.raises(KeyError, match="row"):
            await connection.serve(EventStream(broken(), {}, NEVER_S))
        assert [one.get("body") for one in connection.sent] == [None, b"data: 1\n\n"]

    asyncio.run(go())
