"""The clock, and the order of events at equal times.

Events are ordered by (time, priority, order of scheduling). At one instant arrivals come first, then the
replicas in the order of their numbers, then deadlines; so what arrives exactly when an iteration ends is
seen by the next one, and two replicas that end together never race.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any

ARRIVAL = 0
FIRST_REPLICA = 1
AFTER_REPLICAS = 1 << 30
"""Deadlines: what ends exactly at its deadline has kept it."""


class Clock:
    """Simulated time, and what is to happen in it.

    An event is a callback and what it is called with; what is no longer wanted is ignored when it comes.
    Events are set for instants, not for delays, which may miss an instant by a rounding: 0.3 is neither
    0.1 + (0.3 - 0.1) nor where the event of another path to the same instant ends.

    Where iterations of two replicas end at one instant, the one with the lower number has begun its next
    iteration when the other hands something over; a replica that takes many iterations in one event has
    to know that (`is_past`).
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._queue: list[tuple[float, int, int, Callable[[Any], None], Any]] = []
        self._events = 0
        self._turn = ARRIVAL  # the highest priority that has had its turn in this instant

    def at(self, at_s: float, priority: int, callback: Callable[[Any], None], subject: Any = None) -> None:
        """Call ``callback(subject)`` at ``at_s``, or now if that is past."""
        if at_s < self.now_s:
            at_s = self.now_s
        self._events += 1
        heappush(self._queue, (at_s, priority, self._events, callback, subject))

    def peek(self) -> float:
        """When the next event is due, s; infinity if there is none."""
        return self._queue[0][0] if self._queue else inf

    def is_past(self, priority: int) -> bool:
        """Whether the turn of ``priority`` is over in this instant."""
        return self._turn > priority

    def run(self) -> None:
        """Let time pass until nothing is left to happen."""
        queue = self._queue
        while queue:
            at_s, priority, _, callback, subject = heappop(queue)
            if at_s > self.now_s:
                self.now_s, self._turn = at_s, priority
            elif priority > self._turn:
                self._turn = priority
            callback(subject)
