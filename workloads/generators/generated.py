"""What generated workloads have in common: how many sessions start, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from workloads.arrivals import ClosedLoop, GeneratedArrivals, Replayed
from workloads.errors import InputError
from workloads.schema import MOST, MOST_S, Schema
from workloads.seeds import stream


class Generated(Schema):
    """Sessions start for ``duration_s``, or until there are so many ``sessions``, whichever comes first.

    One of the two must be given, unless ``arrival`` lists all starts. A run twice as long begins as the
    shorter one does. The first request of a session comes at its start, each further one a think time
    after the reply before it.
    """

    ELSEWHERE: ClassVar[Mapping[str, str]] = {
        key: f"it is arrival.{key} of the workload" for key in ("rate_per_s", "concurrency", "process")
    }

    kind: Any
    """Which kind of workload this is."""
    sessions: int | None = Field(default=None, gt=0, le=MOST)
    """How many sessions start; beside or in place of `duration_s`."""
    duration_s: float | None = Field(default=None, gt=0, le=MOST_S)
    """For how long sessions start, s; beside or in place of `sessions`."""
    arrival: GeneratedArrivals
    """When sessions start: `{rate_per_s: 2}` (Poisson), `{concurrency: 32}` (closed loop), or a `process`
    with its parameters."""

    @model_validator(mode="after")
    def _one_length(self) -> Generated:
        listed = isinstance(self.arrival, Replayed)
        if self.sessions is None and self.duration_s is None and not listed:
            raise ValueError("give sessions, duration_s or both")
        if self.duration_s is not None and self.arrival.RATE is None:
            raise ValueError(f"duration_s does not go with arrival.process {self.arrival.process}")
        return self

    def starts_s(self, seed: int) -> list[float]:
        """When each session starts, ascending."""
        if self.duration_s is None:
            count = self.sessions
            if isinstance(self.arrival, Replayed):
                count = min(count or len(self.arrival.at_s), len(self.arrival.at_s))
            assert count is not None
            starts: list[float] = self.arrival.times_s(stream(seed, "arrival"), count).tolist()
            return starts
        assert not isinstance(self.arrival, ClosedLoop)
        expected = self.duration_s * self.arrival.most_per_s
        if expected > MOST:
            raise InputError(f"workload.duration_s: {expected:.3g} sessions; allowed: up to {MOST:.0e}")
        # Nine standard deviations of Poisson's process more than expected; bursts may need more still.
        most = int(expected + 9 * expected**0.5) + 10
        while True:
            times = self.arrival.times_s(stream(seed, "arrival"), most)
            if len(times) < most or times[-1] >= self.duration_s:
                break
            most *= 2
        within: list[float] = times[times < self.duration_s][: self.sessions].tolist()
        if not within:
            raise InputError(
                f"workload.duration_s = {self.duration_s:g}: no session starts within it; allowed: longer"
            )
        return within
