"""Replies on their way to clients: what has been computed is delivered when a client would see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from sim.engine.events import AFTER_REPLICAS, Clock
from sim.server.live import Refused, Times, Usage

SEEN = AFTER_REPLICAS + 2
"""The turn of deliveries in an instant: after all that a simulation does in it."""


class Stream:
    """One reply; keeps counts only, however slowly its client reads."""

    __slots__ = ("_cancel", "_ended", "_lost", "_read", "_there", "_times", "_usage", "_waiting", "number")

    def __init__(
        self,
        number: int,
        usage: Callable[[int, int], Usage],
        times: Callable[[int], Times],
        cancel: Callable[[int], None],
    ) -> None:
        self.number = number
        self._usage, self._times, self._cancel = usage, times, cancel
        self._there = self._read = 0  # tokens that have come, and those that were read
        self._ended = False
        self._lost: str | None = None
        self._waiting: asyncio.Future[None] | None = None

    @property
    def tokens(self) -> int:
        """Tokens that have come."""
        return self._there

    @property
    def usage(self) -> Usage:
        return self._usage(self.number, self._there)

    @property
    def times(self) -> Times:
        return self._times(self.number)

    def cancel(self) -> None:
        if not self._ended:
            self._cancel(self.number)

    async def __aiter__(self) -> AsyncIterator[int]:
        while True:
            if self._there > self._read:
                new, self._read = self._there - self._read, self._there
                yield new
            elif self._lost is not None:
                raise Refused("stopped", self._lost)
            elif self._ended:
                return
            else:
                self._waiting = asyncio.get_running_loop().create_future()
                await self._waiting

    def deliver(self, tokens: int) -> bool:
        """``tokens`` tokens have come, all in all; whether somebody waited for one."""
        if tokens <= self._there:  # computed again after a failure
            return False
        self._there = tokens
        return self._wake()

    def end(self, lost: str | None) -> bool:
        """Nothing more comes; ``lost`` says why, if the reply is not complete."""
        self._ended, self._lost = True, lost
        return self._wake()

    def _wake(self) -> bool:
        if self._waiting is None or self._waiting.done():
            return False
        self._waiting.set_result(None)
        return True


class Streams:
    """The replies that are not complete. What is computed at one instant is delivered by one event."""

    def __init__(self, env: Clock) -> None:
        self.open: dict[int, Stream] = {}
        self.output_tokens = 0
        """Tokens delivered so far."""
        self.moved: Callable[[], None] = lambda: None
        """Called when somebody who waited has something to read."""
        self._env = env
        self._computed: list[tuple[int, int]] = []
        self._computed_s = -1.0

    def tokens(self, index: int, tokens: int, seen_after_s: float) -> None:
        """Of reply ``index`` so many tokens are there, which its client sees ``seen_after_s`` from now."""
        if self._computed_s != self._env.now_s:
            self._computed, self._computed_s = [], self._env.now_s
            self._env.at(self._env.now_s + seen_after_s, SEEN, self._deliver, self._computed)
        self._computed.append((index, tokens))

    def over(self, index: int, seen_after_s: float, lost: str | None) -> None:
        """Reply ``index`` ends, which its client sees ``seen_after_s`` from now."""
        self._env.at(self._env.now_s + seen_after_s, SEEN, self._end, (index, lost))

    def _deliver(self, computed: list[tuple[int, int]]) -> None:
        moved = False
        computed.sort(key=lambda new: new[1] > 1)  # first tokens first: the others' gaps stay as they are
        for index, tokens in computed:
            stream = self.open.get(index)
            if stream is not None:
                self.output_tokens += max(0, tokens - stream.tokens)
                moved |= stream.deliver(tokens)
        if moved:
            self.moved()

    def _end(self, ended: tuple[int, str | None]) -> None:
        index, lost = ended
        if self.open.pop(index).end(lost):
            self.moved()
