"""When the iterations of a replica end: one, or one and a run of equal ones, which may be cut short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.engine.events import FIRST_REPLICA, Clock
from sim.engine.latency import steps_to_reach

Leads = list[tuple[Any, float]]
"""Iterations, whatever they compute, each with its seconds."""
NONE: Leads = []
"""No leads: never added to."""


class Timer:
    """A replica's place on the clock: it sets one event, which ends what the replica computes.

    ``ended(steps)`` is called when ``steps`` iterations end. Between two calls nothing of a run is applied;
    `begun` tells how far it has got. A run of 50 iterations that is cut while the 7th computes ends with
    the 7th; the event set for the 50th is then ignored when it comes. A run may follow an iteration of
    another length, its *lead*: a prompt is computed beside 10 decodes, then 11 decodes go on.
    """

    __slots__ = (
        "_ended", "_ends", "_env", "_led_s", "_priority", "_set", "began_s", "first_s", "is_idle",
        "leads", "slope_s", "steps",
    )  # fmt: skip

    def __init__(self, number: int, env: Clock, ended: Callable[[int], None]) -> None:
        self.began_s = 0.0
        """When the iterations under way began."""
        self.leads = NONE
        """The iterations before the run."""
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
        self.is_idle, self.leads, self._led_s = True, NONE, 0.0

    def wake(self, begin: Callable[[], None], at_s: float = 0.0) -> None:
        """Call ``begin`` at this instant, or ``at_s`` if that is later, once all that arrives in it has
        arrived."""

        def woken(event: int) -> None:
            if event == self._set:
                begin()

        self.is_idle = False
        self._set += 1
        self._env.at(at_s, self._priority, woken, self._set)

    def start(self, first_s: float, slope_s: float, steps: int) -> None:
        """Compute a run of ``steps`` iterations from now on."""
        self.began_s = began_s = self._env.now_s
        self.first_s = first_s
        self.slope_s = slope_s
        self.steps = steps
        if self.leads:
            self.leads, self._led_s = NONE, 0.0
        if steps > 1:
            first_s = first_s * steps + slope_s * (steps * (steps - 1) // 2)
        self._set += 1
        self._env.at(began_s + first_s, self._priority, self._ends, self._set)

    def start_led(self, leads: Leads, led_s: float, first_s: float, slope_s: float, run: int) -> None:
        """Compute ``leads``, which take ``led_s`` in all, then a run of ``run`` iterations, from now on."""
        self.began_s = began_s = self._env.now_s
        self.first_s = first_s
        self.slope_s = slope_s
        self.steps = len(leads) + run
        self.leads = leads
        self._led_s = led_s
        duration_s = led_s + (first_s * run + slope_s * (run * (run - 1) // 2))
        self._set += 1
        self._env.at(began_s + duration_s, self._priority, self._ends, self._set)

    def until(self, steps: int) -> float:
        """Duration of the first ``steps`` iterations, s."""
        leads, run = self.leads, steps
        if leads:
            run -= len(leads)
            if run <= 0:
                led_s = 0.0
                for _, lead_s in leads[:steps]:
                    led_s += lead_s
                return led_s
        return self._led_s + (self.first_s * run + self.slope_s * (run * (run - 1) // 2))

    def call_at(self, at_s: float, callback: Callable[[Any], None], subject: object) -> None:
        """Call ``callback(subject)`` at ``at_s`` in this replica's turn."""
        self._env.at(at_s, self._priority, callback, subject)

    def begun(self) -> int:
        """Iterations of the run under way that have begun by now."""
        under_way = self.steps
        if under_way <= 1:
            return under_way
        elapsed_s, led_s, leads = self._env.now_s - self.began_s, self._led_s, len(self.leads)
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
            steps, self.steps, ended = self.steps, 0, self._ended
            ended(steps)
