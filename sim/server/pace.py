"""Lets the time of a simulation pass as that of the wall clock does, so many times as fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf

from sim.engine.events import ARRIVAL, Clock

AFTER_S = 1e-6
"""What is sent at an instant that is over comes one to two of these later: far more than times are
rounded by, so that a replay of the recorded arrivals has the same order, and less than a client sees."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, less their whole parts, are all apart."""
AT_ONCE = 500
"""Events that happen before other tasks get their turn."""


class Pace:
    """Drives ``env``: each event happens when the wall clock, times ``speed``, reaches its time.

    With an infinite speed events happen as fast as they can, in their order, while ``busy()`` says that
    somebody waits for one; else time stands. Where events take longer than there is time for, the clock of
    the simulation falls behind the wall clock and no event is left out; arrivals still get the wall clock's
    time. ``moved`` is set when something has happened that other tasks may want to answer.
    """

    def __init__(self, env: Clock, speed: float, busy: Callable[[], bool]) -> None:
        self._env = env
        self._speed = speed
        self._busy = busy
        self._began: float | None = None
        self._stopped = False
        self._waiting: asyncio.Future[None] | None = None
        self._answers = 0
        self._alone_s = -1.0
        self.moved = False
        self.busy_s = 0.0
        """Wall-clock time in which events happened."""

    @property
    def now_s(self) -> float:
        """Simulated time by the wall clock; 0 before `run`."""
        if self._speed == inf or self._began is None:
            return self._env.now_s
        return (time.monotonic() - self._began) * self._speed

    def happen(self, at_s: float, callback: Callable[[int], None], subject: int) -> None:
        """Call ``callback(subject)`` as what arrives at ``at_s`` (`arrival_s`), after all that was due
        before."""
        self._env.at(at_s, ARRIVAL, callback, subject)
        self._until(at_s)
        self.wake()

    def arrival_s(self, came_s: float | None = None, *, alone: bool = False) -> float:
        """The time of what arrives now, or came at ``came_s``, unless the simulation is beyond that.

        ``alone``: nothing else may arrive in that instant, since a replay would not know which came first.
        """
        at_s, env = self.now_s if came_s is None else came_s, self._env
        if at_s <= env.now_s:
            if not (alone or env.is_past(ARRIVAL) or env.now_s == self._alone_s):
                return env.now_s
            # Never twice the same: else what answers a step of one replica would meet the end of one of
            # another replica that itself began with such an answer.
            self._answers += 1
            at_s = env.now_s + AFTER_S * (1 + self._answers * GOLDEN % 1)
        if alone:
            self._alone_s = at_s
        return at_s

    def change(self, speed: float) -> None:
        """Go on from this instant with another speed; one that is infinite stays so."""
        if self._speed == inf:
            return
        if self._began is not None:
            now = time.monotonic()
            self._began = now - (now - self._began) * self._speed / speed
        self._speed = speed
        self.wake()

    def wake(self) -> None:
        """Look again at what is due, and whether to stop."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped = True
        self.wake()

    async def run(self) -> None:
        """Let time pass until `stop`."""
        self._began = time.monotonic() - self._env.now_s / self._speed
        while not self._stopped:
            wait_s = self._wait_s()
            if wait_s is None or wait_s > 0:
                await self._rest(wait_s)
            else:
                began = time.perf_counter()
                self._some()
                self.busy_s += time.perf_counter() - began
                await asyncio.sleep(0)

    def drain(self) -> None:
        """Let happen what is still to happen: nobody comes any more."""
        self._env.run()

    def _wait_s(self) -> float | None:
        """Wall-clock seconds until the next event; None: there is none to wait for."""
        due_s = self._env.peek()
        if self._speed == inf:
            return 0.0 if self._busy() and due_s < inf else None
        return None if due_s == inf else (due_s - self.now_s) / self._speed

    def _some(self) -> None:
        """What is due, but not so much that others wait for long."""
        env, now_s = self._env, inf if self._speed == inf else self.now_s
        self.moved = False
        for _ in range(AT_ONCE):
            env.step()
            if env.peek() > now_s or (self._speed == inf and (self.moved or not self._busy())):
                return

    def _until(self, at_s: float) -> None:
        """Let happen what comes before ``at_s``, and what arrives then."""
        queue = self._env._queue
        while queue and queue[0][:2] <= (at_s, ARRIVAL):
            self._env.step()

    async def _rest(self, wait_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        handle = None if wait_s is None else loop.call_later(wait_s, self.wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if handle is not None:
                handle.cancel()
