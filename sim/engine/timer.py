"""When the iterations of a replica end: one, or one and a run of equal ones, which may be cut short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sim.engine.events import FIRST_REPLICA, Clock
from sim.engine.latency import steps_to_reach


class Timer:
    """A replica's place on the clock: it sets one event, which ends what the replica computes.

    ``ended(steps)`` is called when ``steps`` iterations end. Between two calls nothing of a run is applied;
    `begun` tells how far it has got. A run of 50 iterations that is cut while the 7th computes ends with
    the 7th; the event set for the 50th is then ignored when it comes. A run may follow an iteration of
    another length, its *lead*: a prompt is computed beside 10 decodes, then 11 decodes go on.
    """

    __slots__ = (
        "_ended", "_ends", "_env", "_led_s", "_priority", "_set", "began_s", "first_s", "is_idle",
        "leads_s", "slope_s", "steps",
    )  # fmt: skip

    def __init__(self, number: int, env: Clock, ended: Callable[[int], None]) -> None:
        self.began_s = 0.0
        """When the iterations under way began."""
        self.leads_s: Sequence[float] = ()
        """Durations of the iterations before the run."""
        self.first_s = 0.0
        """Duration of the first one of the run."""
        self.slope_s = 0.0
        """By how much each further one takes longer."""
        self.steps = 0
        """Iterations under way, the leads included; 0 between two runs."""
        self._led_s = 0.0  # the leads together
        self._env = env
        self._priority = FIRST_REPLICA + number
        self._ended = ended
        self._ends = self._end  # bound once: it is set for every event
        self._set = 0  # events set so far for an end or a beginning: only the last one counts
        self.is_idle = True
        """Whether none of them is to come."""

    def stop(self) -> None:
        """There is nothing to compute."""
        self.is_idle = True

    def wake(self, begin: Callable[[], None], at_s: float = 0.0) -> None:
        """Call ``begin`` at this instant, or ``at_s`` if that is later, once all that arrives in it has
        arrived."""

        def woken(event: int) -> None:
            if event == self._set:
                begin()

        self.is_idle = False
        self._set += 1
        self._env.at(at_s, self._priority, woken, self._set)

    def start(self, leads_s: Sequence[float], first_s: float, slope_s: float, steps: int) -> None:
        """Compute ``steps`` iterations from now on, the leads included."""
        env = self._env
        self.began_s = began_s = env.now_s
        self.leads_s, self.steps = leads_s, steps
        self.first_s, self.slope_s = first_s, slope_s
        led_s, run = 0.0, steps
        if leads_s:
            led_s = sum(leads_s)
            run -= len(leads_s)
        self._led_s = led_s
        self._set = event = self._set + 1
        duration_s = led_s + (first_s * run + slope_s * (run * (run - 1) // 2))
        env.at(began_s + duration_s, self._priority, self._ends, event)

    def until(self, steps: int) -> float:
        """Duration of the first ``steps`` iterations, s."""
        leads_s, run = self.leads_s, steps
        if leads_s:
            run -= len(leads_s)
            if run <= 0:
                return sum(leads_s[:steps])
        return self._led_s + (self.first_s * run + self.slope_s * (run * (run - 1) // 2))

    def call_at(self, at_s: float, callback: Callable[[Any], None], subject: object) -> None:
        """Call ``callback(subject)`` at ``at_s`` in this replica's turn."""
        self._env.at(at_s, self._priority, callback, subject)

    def begun(self) -> int:
        """Iterations of the run under way that have begun by now."""
        under_way = self.steps
        if under_way <= 1:
            return under_way
        elapsed_s, led_s, leads = self._env.now_s - self.began_s, self._led_s, len(self.leads_s)
        if elapsed_s > led_s:
            steps = leads + steps_to_reach(self.first_s, self.slope_s, elapsed_s - led_s)
        else:
            steps = 1
            while steps <= leads and self.until(steps) < elapsed_s:
                steps += 1
        if steps < under_way and self._env.is_past(self._priority) and self.until(steps) == elapsed_s:
            steps += 1
        return steps if steps < under_way else under_way

    def cut(self) -> None:
        """End a run at the first boundary at which the replica looks up, now or later."""
        steps = self.begun()
        if steps < self.steps:
            self.steps = steps
            self._set += 1
            self._env.at(self.began_s + self.until(steps), self._priority, self._ends, self._set)

    def _end(self, event: int) -> None:
        if event == self._set:
            steps, self.steps = self.steps, 0
            self._ended(steps)
