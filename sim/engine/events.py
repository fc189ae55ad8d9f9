"""The order of events at equal times.

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
    """SimPy's clock, which also tells how far the present instant has got.

    It knows only events that cannot fail, as `At`.

    Where iterations of two replicas end at one instant, the one with the lower number has begun its next
    iteration when the other hands something over; a replica that takes many iterations in one event has
    to know that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        """SimPy's ``now`` as an attribute: it is asked for many times in each event."""
        self._instant_s = -1.0
        self._turn = ARRIVAL

    def step(self) -> None:
        """As SimPy's, without its care for events that fail."""
        if not self._queue:
            raise simpy.core.EmptySchedule
        self.now_s, _, _, event = heappop(self._queue)
        self._now = self.now_s
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(event)

    def take_turn(self, priority: int) -> None:
        """What has ``priority`` happens now."""
        if self._instant_s != self.now_s:
            self._instant_s, self._turn = self.now_s, priority
        elif priority > self._turn:
            self._turn = priority

    def is_past(self, priority: int) -> bool:
        """Whether the turn of ``priority`` is over in this instant."""
        return self._instant_s == self.now_s and self._turn > priority


class At(simpy.Event):
    """An event at ``at_s``, or now if that is past, with a priority of its own.

    SimPy's Timeout has a fixed priority and takes a delay. A delay may miss its instant by a rounding:
    0.3 is neither 0.1 + (0.3 - 0.1) nor where the event of another path to the same instant ends.
    """

    _ok = True  # it has been decided, as SimPy's Timeout is from the start
    _value = None

    def __init__(
        self,
        env: Clock,
        at_s: float,
        priority: int,
        callback: Callable[[Any], None],
        value: Any = None,
    ) -> None:
        self.env = env
        self.callbacks = [callback]
        self.subject = value
        if at_s < env.now_s:
            at_s = env.now_s
        heappush(env._queue, (at_s, priority, next(env._eid), self))  # type: ignore[misc]
