"""Arrival processes: when sessions start, and what may be done to recorded arrivals."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from workloads.schema import MOST, MOST_S, Schema
from workloads.trace import Trace

MOST_RATE_PER_S = 1e9


class Poisson(Schema):
    """Independent arrivals: exponential gaps with mean 1 / rate."""

    RATE: ClassVar[str] = "rate_per_s"
    """The field that makes arrivals denser, every other draw the same."""
    process: Literal["poisson"]
    rate_per_s: PositiveFloat = Field(le=MOST_RATE_PER_S)

    @property
    def most_per_s(self) -> float:
        """The highest rate, 1/s."""
        return self.rate_per_s

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s from the start."""
        return np.cumsum(rng.exponential(1 / self.rate_per_s, n))

    def apply(self, trace: Trace) -> None:
        """Note that ``trace`` was built with times that could go on."""
        trace.drawn_starts = True


class EvenlySpaced(Schema):
    """Evenly spaced arrivals, the first one at time 0."""

    RATE: ClassVar[str] = "rate_per_s"
    """The field that makes arrivals denser, every other draw the same."""
    process: Literal["uniform"]
    rate_per_s: PositiveFloat = Field(le=MOST_RATE_PER_S)

    @property
    def most_per_s(self) -> float:
        """The highest rate, 1/s."""
        return self.rate_per_s

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s from the start."""
        return np.arange(n) / self.rate_per_s

    def apply(self, trace: Trace) -> None:
        """Note that ``trace`` was built with times that could go on."""
        trace.drawn_starts = True


class Profile(Schema):
    """Independent arrivals at a rate that follows the clock, over and over: the hours of a day, say.

    ``rates_per_s`` hold for ``step_s`` each, then the first one again; all are multiplied by ``scale``.
    With 24 rates and the default step, arrivals repeat every day. Within a step the process is Poisson's.
    """

    RATE: ClassVar[str] = "scale"
    """The field that makes arrivals denser, every other draw the same."""
    process: Literal["profile"]
    rates_per_s: list[Annotated[float, Field(ge=0, le=MOST)]] = Field(min_length=1, max_length=100_000)
    step_s: float = Field(default=3600.0, gt=0, le=MOST_S)
    scale: float = Field(default=1.0, gt=0, le=MOST)

    @model_validator(mode="after")
    def _some_arrive(self) -> Profile:
        if not any(self.rates_per_s):
            raise ValueError("rates_per_s: all are 0; allowed: at least one above")
        return self

    @property
    def most_per_s(self) -> float:
        """The highest rate, 1/s."""
        return max(self.rates_per_s) * self.scale

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s: a steady process on a clock that runs at the rate."""
        rates = np.array(self.rates_per_s) * self.scale
        expected = np.concatenate(
            [[0.0], np.cumsum(rates * self.step_s)]
        )  # arrivals by the end of each step
        periods, rest = np.divmod(np.cumsum(rng.exponential(1.0, n)), expected[-1])
        # The last step that begins at that many arrivals, so never one without any.
        step = np.minimum(np.searchsorted(expected, rest, side="right") - 1, np.flatnonzero(rates)[-1])
        within_s = (rest - expected[step]) / rates[step]
        at_s: NDArray[np.float64] = (periods * len(rates) + step) * self.step_s + within_s
        return at_s

    def apply(self, trace: Trace) -> None:
        """Note that ``trace`` was built with times that could go on."""
        trace.drawn_starts = True


class ClosedLoop(Schema):
    """``concurrency`` sessions at a time: the next one starts as soon as one has ended.

    Where nothing takes time (a replay), all start at 0 in the order of the trace. ``equal_arrival`` speaks
    of a client that has all its requests beforehand, as when a recording is repeated: true makes all
    arrivals equal to a scheduler that breaks ties by them, as when they were stamped then; false does not.
    """

    RATE: ClassVar[None] = None
    """How fast sessions begin follows from how fast they are served."""
    process: Literal["closed_loop"]
    concurrency: PositiveInt
    equal_arrival: bool | None = None

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """No session has a start of its own."""
        return np.zeros(n)

    def apply(self, trace: Trace) -> None:
        """Take the start times out of ``trace``; the order of its sessions stays."""
        order = {start: place for place, start in enumerate(trace.starts())}
        assert list(order) == sorted(order), "traces are sorted by arrival"
        trace.arrival_s = [None if at is None else 0.0 for at in trace.arrival_s]
        trace.concurrency = self.concurrency
        trace.drawn_starts = True
        trace.equal_arrival = bool(self.equal_arrival)


class Recorded(Schema):
    """Arrivals as the trace has them, ``speed`` times as fast. Think times stay as they are."""

    RATE: ClassVar[str] = "speed"
    process: Literal["recorded"] = "recorded"
    speed: PositiveFloat = 1.0

    def apply(self, trace: Trace) -> None:
        """Divide all start times of ``trace`` by the speed."""
        if self.speed != 1:
            trace.arrival_s = [None if at is None else at / self.speed for at in trace.arrival_s]


Arrivals = Annotated[Poisson | EvenlySpaced | Profile | ClosedLoop, Field(discriminator="process")]


def fill_process(value: Any) -> Any:
    """An arrival that names no process is the recorded one."""
    if isinstance(value, dict) and "process" not in value:
        return {"process": "recorded", **value}
    return value


TraceArrivals = Annotated[
    Annotated[Recorded | ClosedLoop, Field(discriminator="process")], BeforeValidator(fill_process)
]
