"""The iterations under way at a replica: one, or a run of equal ones that may be cut short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.engine.events import FIRST_REPLICA, At, Clock
from sim.engine.latency import run_s, steps_to_reach


class Timed:
    """A replica on the clock: it sets one event, which ends what it computes and is its next decision."""

    def __init__(self, number: int, env: Clock) -> None:
        self.number = number
        self._env = env
        self._priority = FIRST_REPLICA + number
        self._event: At | None = None
        """The event under way; None: idle."""
        self._began_s = 0.0
        self._first_s = self._slope_s = 0.0
        """Duration of the first iteration; each further one takes ``_slope_s`` longer."""
        self._steps = 0
        """Iterations of the run under way; 0 between runs."""
        self._changed: Callable[[int], None] = lambda number: None

    def watch(self, changed: Callable[[int], None]) -> None:
        """Have ``changed(number)`` called whenever the queue or the batch changes."""
        self._changed = changed

    def _idle(self) -> None:
        """Set no event: there is nothing to do."""
        self._event = None
        self._changed(self.number)

    def _schedule(self, delay_s: float, callback: Callable[[Any], None]) -> None:
        self._event = At(self._env, delay_s, self._priority, callback)
        self._changed(self.number)

    def _start(self, first_s: float, slope_s: float, steps: int) -> None:
        """Compute ``steps`` iterations from now on."""
        self._began_s, self._first_s, self._slope_s = self._env.now, first_s, slope_s
        self._steps = steps
        self._schedule(run_s(first_s, slope_s, steps), self._end)

    def _ended(self, event: object) -> int:
        """How many iterations end with ``event``; 0 if their run was cut short and has ended."""
        if event is not self._event:
            return 0
        self._env.take_turn(self._priority)
        steps, self._steps = self._steps, 0
        return steps

    def _iterations_begun(self) -> int:
        """Iterations of the run under way that have begun by now."""
        if self._steps <= 1:
            return self._steps
        elapsed_s = self._env.now - self._began_s
        steps = steps_to_reach(self._first_s, self._slope_s, elapsed_s)
        at_its_end = run_s(self._first_s, self._slope_s, steps) == elapsed_s
        if at_its_end and self._env.is_past(self._priority):
            steps += 1
        return min(steps, self._steps)

    def _cut(self) -> None:
        """End a run at the first boundary at which the replica looks up, now or later."""
        steps = self._iterations_begun()
        if steps < self._steps:
            self._steps = steps
            end_s = self._began_s + run_s(self._first_s, self._slope_s, steps)
            self._schedule(max(0.0, end_s - self._env.now), self._end)

    def _end(self, event: object) -> None:
        """Apply the results of what ends now, then go on."""
        raise NotImplementedError
