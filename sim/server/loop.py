"""An event loop that wakes up when it is time to."""

from __future__ import annotations

import asyncio
import select
import selectors
import sys

if sys.platform == "linux":

    class ExactEpoll(selectors.EpollSelector):
        """Waits as long as it is told.

        Epoll counts in whole milliseconds, and Python rounds up to them, twice: 8.2 ms become 9 or 10. That
        epoll has something to report can itself be waited for by `select`, which counts in microseconds.
        """

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select((self.fileno(),), (), (), timeout)
                timeout = 0
            return super().select(timeout)


def exact_loop() -> asyncio.AbstractEventLoop:
    """A new event loop; a timer of it goes off at its time, not up to 2 ms later."""
    if sys.platform == "linux":
        return asyncio.SelectorEventLoop(ExactEpoll())
    return asyncio.new_event_loop()
