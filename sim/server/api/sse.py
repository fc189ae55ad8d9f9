"""A reply as server-sent events.

A token costs one ASGI message here and nothing else: no timer, no task, no lock. Where a hundred streams
get a token at one instant, the last of them waits for what ninety-nine tokens cost, and so does a request
that comes meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sim.server.api.bodies import Gone, disconnected

PING_S = 15.0
PING = b": ping\n\n"
"""A comment: clients leave it out, proxies see that the connection lives."""
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "connection": "keep-alive",
    "x-accel-buffering": "no",  # nginx passes each event on
}


class EventStream(Response):
    """Sends ``events`` as they come, and a comment where none has come for ``ping_s``.

    `Gone` if the client reads nothing for ``send_timeout_s``.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        headers: Mapping[str, str],
        send_timeout_s: float,
        ping_s: float = PING_S,
    ) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({**HEADERS, **headers})
        self._events = events
        self._send_timeout_s, self._ping_s = send_timeout_s, ping_s
        self._at_s = time.monotonic()  # when the latest event came
        self._is_sending = False  # the connection has not taken it yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(disconnected(receive))
        look_s = min(self._ping_s, self._send_timeout_s)
        try:
            while True:
                await asyncio.wait((sending, leaving), timeout=look_s, return_when=FIRST_COMPLETED)
                if sending.done():
                    sending.result()
                    return
                if leaving.done():
                    return
                await self._look(send)
        finally:
            for task in (sending, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._events) as events:
            async for event in events:
                self._at_s, self._is_sending = time.monotonic(), True
                await send({"type": "http.response.body", "body": event, "more_body": True})
                self._is_sending = False
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _look(self, send: Send) -> None:
        """See whether the client reads, and show it that the connection lives where nothing is sent."""
        quiet_s = time.monotonic() - self._at_s
        if self._is_sending:
            if quiet_s >= self._send_timeout_s:
                raise Gone
        elif quiet_s >= self._ping_s:
            self._at_s += quiet_s
            try:
                async with asyncio.timeout(self._send_timeout_s):
                    await send({"type": "http.response.body", "body": PING, "more_body": True})
            except TimeoutError:
                raise Gone from None
