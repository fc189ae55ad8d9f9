"""The event loop with exact timers is an event loop."""

from __future__ import annotations

import asyncio
import socket

from sim.server.loop import exact_loop


def test_timers_go_off_in_their_order_and_sockets_are_heard_between() -> None:
    """The second timer is far off: what a socket has to say does not wait for it."""

    async def go() -> list[str]:
        loop, found = asyncio.get_running_loop(), list[str]()
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            far = loop.call_later(1000, found.append, "far")
            for name, at_s in (("second", 0.0021), ("first", 0.0004)):
                loop.call_later(at_s, found.append, name)
            loop.call_later(0.003, there.send, b"heard")
            began_s = loop.time()
            found.append((await loop.sock_recv(here, 100)).decode())
            assert loop.time() - began_s >= 0.003, "not before its time"
            far.cancel()
        return found

    with asyncio.Runner(loop_factory=exact_loop) as runner:
        assert runner.run(go()) == ["first", "second", "heard"]
