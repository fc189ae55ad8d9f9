"""The clock, and the order of events at equal times.

SimPy's queue is ordered by (time, priority, order of scheduling). At one instant arrivals come first,
then the replicas in the order of their numbers, then deadlines; so what arrives exactly when an
iteration ends is seen by the next one, and two replicas that end together never race.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import simpy

ARRIVAL = 0
FIRST_REPLICA = 1
AFTER_REPLICAS = 1 << 30
"""Deadlines: what ends exactly at its deadline has kept it."""


class Clock(simpy.Environment):
    """SimPy's environment, whose queue also takes plain callbacks, and which knows whose turn it is.

    A fleet makes millions of events that cannot fail and that one part waits for: a callback and what it is
    called with is all that they need (`at`). SimPy's own events, processes and resources work beside them.

    Callbacks are set for instants, not for delays, which may miss an instant by a rounding: 0.3 is neither
    0.1 + (0.3 - 0.1) nor where the event of another path to the same instant ends. What is no longer wanted
    is ignored when it comes.

    Where iterations of two replicas end at one instant, the one with the lower number has begun its next
    iteration when the other hands something over; a replica that takes many iterations in one event has
    to know that (`is_past`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        """SimPy's ``now`` as an attribute: it is asked for many times in each event."""
        self._turn = ARRIVAL  # the highest priority that has had its turn in this instant

    @property
    def now(self) -> float:
        """Simulated time, s."""
        return self.now_s

    def at(self, at_s: float, priority: int, callback: Callable[[Any], None], subject: Any = None) -> None:
        """Call ``callback(subject)`` at ``at_s``, or now if that is past."""
        if at_s < self.now_s:
            at_s = self.now_s
        heappush(self._queue, (at_s, priority, next(self._eid), callback, subject))  # type: ignore[misc]

    def schedule(self, event: simpy.Event, priority: int = 1, delay: float = 0.0) -> None:
        """Let an event of SimPy's happen after ``delay`` s, as its environment does."""
        self.at(self.now_s + delay, priority, _happen, event)

    def is_past(self, priority: int) -> bool:
        """Whether the turn of ``priority`` is over in this instant."""
        return self._turn > priority

    def run(self, until: float | simpy.Event | None = None) -> Any:
        """Let events happen until none is left; ``until`` something, as SimPy's environment does."""
        if until is not None:
            return super().run(until)
        queue: list[Any] = self._queue
        while True:  # CPython 3.11 makes a loop that is entered once fast only if its condition is inside
            if not queue:
                return None
            at_s, priority, _, callback, subject = heappop(queue)  # as `step` does, without a call
            if at_s > self.now_s:
                self.now_s, self._turn = at_s, priority
            elif priority > self._turn:
                self._turn = priority
            callback(subject)

    def step(self) -> None:
        """Let the next event happen."""
        if not self._queue:
            raise simpy.core.EmptySchedule
        at_s, priority, _, callback, subject = heappop(self._queue)  # type: ignore[misc]
        if at_s > self.now_s:
            self.now_s, self._turn = at_s, priority
        elif priority > self._turn:
            self._turn = priority
        callback(subject)


def _happen(event: simpy.Event) -> None:
    """Tell all that wait for ``event``; a failure that nobody of them takes care of ends the run."""
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for told, callback in enumerate(callbacks, 1):
        try:
            callback(event)
        except simpy.core.StopSimulation:  # `run` was to stop here: the others are told when it goes on
            event.callbacks = callbacks[told:]
            event.env.schedule(event, simpy.events.EventPriority(-1))
            raise
    if not event._ok and not event.defused:
        raise event._value
