"""The order of events at equal times.

SimPy's queue is ordered by (time, priority, order of scheduling). At one instant arrivals come first,
then the replicas in the order of their numbers; so what arrives exactly when an iteration ends is
seen by the next one, and two replicas that end together never race.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy

ARRIVAL = 0
FIRST_REPLICA = 1


class At(simpy.Event):
    """An event ``delay_s`` from now with a priority of its own; SimPy's Timeout has a fixed one."""

    def __init__(
        self,
        env: simpy.Environment,
        delay_s: float,
        priority: int,
        callback: Callable[[Any], None],
        value: Any = None,
    ) -> None:
        super().__init__(env)
        self._ok = True
        self._value = value
        self.callbacks.append(callback)
        env.schedule(self, priority, delay_s)  # type: ignore[arg-type]
