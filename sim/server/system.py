"""One system of a configuration that serves live: time, traffic, replies and the engine or API behind."""

from __future__ import annotations

from math import isnan
from typing import Literal, Protocol, cast

from sim.config import Config
from sim.engine.events import Clock
from sim.results.records import Records
from sim.server.live import About, Ask, Refused, State, Times, Usage
from sim.server.pace import Pace
from sim.server.streams import Stream, Streams
from sim.server.traffic import Traffic

STOPPED = "the server has stopped"


class Backend(Protocol):
    """What serves: an engine fleet or a hosted API."""

    env: Clock
    streams: Streams
    about: About

    def arrive(self, index: int) -> None:
        """Request ``index``, the newest of the trace, is sent now."""

    def leave(self, index: int) -> None:
        """The client of request ``index``, which may be over, has gone."""

    def refusal(self, index: int) -> tuple[str, str] | None:
        """Why a request that has just arrived was turned away, as kind and message; None: it was not."""

    def usage(self, index: int, output_tokens: int) -> Usage: ...

    def times(self, index: int) -> Times: ...

    def state(self, now_s: float) -> State: ...

    def iterations(self) -> list[int]: ...

    def records(self) -> Records:
        """The table of what happened, now that all requests are over."""


class LiveSystem:
    """`Live`: a backend whose time passes with the wall clock's, or as fast as it goes.

    ``config`` has the system that is served and no other; its workload is not served.
    """

    def __init__(self, backend: Backend, traffic: Traffic, speed: float, config: Config) -> None:
        self.config = config
        self.traffic = traffic
        self.speed = speed
        self.backend = backend
        self._streams = backend.streams
        self._pace = Pace(backend.env, speed, lambda: bool(self._streams.open))
        self._streams.moved = self._moved
        self._stopped = False
        self._records: Records | None = None

    @property
    def about(self) -> About:
        return self.backend.about

    @property
    def busy_s(self) -> float:
        """Seconds of the wall clock in which events of the simulation happened."""
        return self._pace.busy_s

    @property
    def now_s(self) -> float:
        """Simulated seconds since the start."""
        return self._pace.now_s

    def slow_down(self, factor: float) -> None:
        """Let everything take ``factor`` times as long by the wall clock as at the configured speed."""
        self._pace.change(self.speed / factor)

    def submit(self, ask: Ask, came_s: float | None = None) -> Stream:
        """Take a request now, as one that came at ``came_s`` if that is given. Raises `Refused`."""
        if self._stopped:
            raise Refused("stopped", STOPPED)
        if not len(ask.prompt):
            raise ValueError("a prompt has at least one token")
        index = self.traffic.add(ask, self._pace.arrival_s(came_s))
        stream = Stream(index, self.backend.usage, self.backend.times, self._leave)
        self._streams.open[index] = stream
        at_s = self.traffic.trace.arrival_s[index]
        assert at_s is not None
        self._pace.happen(at_s, self.backend.arrive, index)
        refusal = self.backend.refusal(index)
        if refusal is not None:
            kind, message = refusal
            raise Refused(cast(Literal["queue_full", "too_long"], kind), message)
        return stream

    def state(self) -> State:
        now_s = self._pace.now_s
        return self.backend.state(0.0 if isnan(now_s) else now_s)

    def iterations(self) -> list[int]:
        return self.backend.iterations()

    def shared_tokens(self, one: int, other: int) -> int:
        return self.traffic.shared_tokens(one, other)

    async def run(self) -> None:
        """Let time pass until `stop` is called; replies that are not complete then are lost."""
        try:
            await self._pace.run()
        finally:
            self._stopped = True
            for stream in self._streams.open.values():
                stream.end(STOPPED)

    def stop(self) -> None:
        self._stopped = True
        self._pace.stop()

    def records(self) -> Records:
        """What happened, after `stop`: requests that are not over leave now."""
        assert self._stopped, "stop() first"
        if self._records is None:
            for index in list(self._streams.open):
                self._leave(index)
            self._pace.drain()
            self._records = self.backend.records()
        return self._records

    def _leave(self, index: int) -> None:
        at_s, came_s = self._pace.arrival_s(alone=True), self.traffic.trace.arrival_s[index]
        assert came_s is not None
        self.traffic.left_after_s[index] = at_s - came_s
        self._pace.happen(at_s, self.backend.leave, index)

    def _moved(self) -> None:
        self._pace.moved = True
