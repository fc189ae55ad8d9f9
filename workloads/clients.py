"""Who sends the next request, and when: the clients of a trace.

Everything that serves a trace asks this: replays, fleets, hosted APIs, a real engine. In open loop sessions
start at times of their own; in closed loop ``concurrency`` of them are under way, and the next one starts
when one ends. Within a session a request comes its think time after the reply before it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from workloads.schema import MOST_S, Schema
from workloads.trace import NONE, Trace


class Retries(Schema):
    """``{max_retries, backoff_s, max_backoff_s}``: what a client does when a request was not answered.

    A request that was rejected or timed out is sent again up to ``max_retries`` times, first after
    ``backoff_s`` seconds, then after twice as long each time, at most ``max_backoff_s``. The defaults are
    those of the official OpenAI and Anthropic SDKs, whose random share of up to a quarter is left out.
    """

    max_retries: int = Field(default=2, ge=0, le=100)
    """How often a request is sent again; 0: never."""
    backoff_s: float = Field(default=0.5, ge=0, le=MOST_S)
    """Wait before the first retry, s; each further one is twice as long."""
    max_backoff_s: float = Field(default=8.0, ge=0, le=MOST_S)
    """The longest wait, s."""

    def wait_s(self, tries: int) -> float | None:
        """Seconds until the request is sent again after ``tries`` failed tries; None: it is given up."""
        if tries > self.max_retries:
            return None
        return min(self.max_backoff_s, self.backoff_s * 2.0 ** (tries - 1))


Next = tuple[float, int]
"""When a request comes by itself, and which."""


class Clients:
    """The state of all clients: which sessions have started. One object per run."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._arrival_s = trace.arrival_s
        self._follower = trace.follower
        self._starts = trace.starts()
        self._started = 0
        self._over: set[int] = set()  # in closed loop: what is over
        self._held: dict[int, None] = {}
        """In closed loop: starts whose prompt contains a reply that is not there yet, in their order."""
        self.closed_loop = trace.concurrency is not None
        self.come_after = self.closed_loop or self._follower.count(NONE) < len(trace)
        """Whether any request comes `after` another one."""

    def opening(self) -> list[Next]:
        """What comes by itself: every session's start or, in closed loop, as many as may be under way."""
        trace = self._trace
        count = len(self._starts) if trace.concurrency is None else trace.concurrency
        return self.starting(count)

    def starting(self, count: int) -> list[Next]:
        """The next ``count`` sessions to start, or as many as there are; (time, index) ascending."""
        arrival_s = self._trace.arrival_s
        if self.closed_loop:
            return [(arrival_s[i] or 0.0, i) for i in self._ready(count)]
        first, self._started = self._started, min(len(self._starts), self._started + count)
        return [(arrival_s[i] or 0.0, i) for i in self._starts[first : self._started]]

    def _ready(self, count: int) -> list[int]:
        """The next ``count`` starts, in their order, that contain no reply which is not there yet."""
        continues = self._trace.continues
        found = [i for i in self._held if continues[i] in self._over][:count]
        for i in found:
            del self._held[i]
        while len(found) < count and self._started < len(self._starts):
            i = self._starts[self._started]
            self._started += 1
            if continues[i] == NONE or continues[i] in self._over:
                found.append(i)
            else:
                self._held[i] = None
        return found

    def starting_together(self) -> Iterator[tuple[float, list[int]]]:
        """In open loop: when sessions start, and the first requests of all that start then, in order."""
        arrival_s, at_s, together = self._arrival_s, 0.0, list[int]()
        for request in self._starts:
            starts_s = arrival_s[request] or 0.0
            if together and starts_s != at_s:
                yield at_s, together
                together = []
            at_s = starts_s
            together.append(request)
        if together:
            yield at_s, together

    def after(self, request: int, now_s: float) -> Next | None:
        """What follows ``request``, which is over: the next one of its session, or in closed loop a
        session.

        A session goes on whatever the end of its last request was.
        """
        if self.closed_loop:
            self._over.add(request)
        follower = self._follower[request]
        if follower != NONE:
            return now_s + self._trace.think_s[follower], follower
        if self.closed_loop and (start := self.starting(1)):
            return now_s, start[0][1]
        return None
