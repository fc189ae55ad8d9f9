"""Arrival processes: when sessions start, and what may be done to recorded arrivals."""

from __future__ import annotations

from itertools import pairwise
from math import gamma
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from workloads.popularity import zipf_shares
from workloads.schema import MOST, MOST_S, Schema
from workloads.trace import Trace


class Steady(Schema):
    """What all drawn arrivals at one mean rate have in common."""

    RATE: ClassVar[str] = "rate_per_s"
    """The field that makes arrivals denser, every other draw the same."""
    process: str
    rate_per_s: float = Field(gt=0, le=MOST)
    """Mean number of sessions that start per second."""

    @property
    def most_per_s(self) -> float:
        """The highest rate, 1/s."""
        return self.rate_per_s

    def apply(self, trace: Trace) -> None:
        """Note that ``trace`` was built with times that could go on."""
        trace.drawn_starts = True


class Poisson(Steady):
    """Independent arrivals: exponential gaps with mean 1 / rate."""

    process: Literal["poisson"] = "poisson"

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s from the start."""
        return np.cumsum(rng.exponential(1 / self.rate_per_s, n))


class EvenlySpaced(Steady):
    """Evenly spaced arrivals, the first one at time 0."""

    process: Literal["uniform"]

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s from the start."""
        return np.arange(n) / self.rate_per_s


class Gamma(Steady):
    """Bursts: gamma gaps of mean 1 / rate, with a standard deviation of ``cv`` times their mean.

    1 is Poisson's process, above 1 arrivals come in bursts. vLLM's ``--burstiness`` is 1 / cv^2. Default:
    the chats of Azure's trace (1.09, computed from it). Its code requests have 13.2; the API clients of
    ServeGen (Xiang et al. 2025) a median of 1.0 to 1.3 in windows of 600 s, one in ten 4 to 5.
    """

    process: Literal["gamma"]
    cv: float = Field(default=1.1, ge=0.01, le=100)
    """Standard deviation of the gaps, as a multiple of their mean; 1: Poisson, above: bursts."""

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s from the start."""
        shape = self.cv**-2
        return np.cumsum(rng.gamma(shape, 1 / (shape * self.rate_per_s), n))


class Weibull(Steady):
    """Bursts with longer tails: Weibull gaps of mean 1 / rate; below a shape of 1 they are burstier.

    One in four of ServeGen's client windows is of this kind, with a shape of 0.44 in the median (the
    default); one in ten has less than 0.32, one in ten more than 0.92.
    """

    process: Literal["weibull"]
    shape: float = Field(default=0.44, ge=0.1, le=100)
    """Shape of the gaps; 1: Poisson, below: bursts."""

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s from the start."""
        mean = gamma(1 + 1 / self.shape)
        return np.cumsum(rng.weibull(self.shape, n) / (mean * self.rate_per_s))


class PerClient(Steady):
    """The sum of independent clients, few of which send most: the share of client i is ~ i^-zipf.

    Each client's gaps are gamma with ``cv`` (ServeGen's windows have 1.0 to 1.3 in the median). This is how
    ServeGen composes a load; the exponent is that of BurstGPT's generator (Wang et al. 2024), 1.1. Clients
    that differ in more than their rate are classes of a ``mix``.
    """

    process: Literal["clients"]
    clients: int = Field(default=100, ge=1, le=100_000)
    """How many clients there are."""
    zipf: float = Field(default=1.1, ge=0, le=10)
    """How unlike they are: client i sends a share in proportion to i^-zipf; 0: all alike."""
    cv: float = Field(default=1.1, ge=0.01, le=100)
    """Standard deviation of each client's gaps, as a multiple of their mean."""

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals of all clients, in s from the start."""
        shares = zipf_shares(self.clients, self.zipf)
        seeds = [child.integers(2**63) for child in rng.spawn(self.clients)]
        draws = n * shares * 1.2 + 10
        while True:  # until every client is known for as long as the n-th arrival takes
            each = [
                Gamma(process="gamma", rate_per_s=self.rate_per_s * share, cv=self.cv).times_s(
                    np.random.default_rng(seed), int(many)
                )
                for seed, share, many in zip(seeds, shares.tolist(), draws.tolist(), strict=True)
            ]
            known_s = min(float(times[-1]) for times in each)
            times: NDArray[np.float64] = np.sort(np.concatenate(each))
            if np.searchsorted(times, known_s, side="right") >= n:
                return times[:n]
            draws *= 2


class Replayed(Schema):
    """The starts of sessions one by one, in s, ``speed`` times as fast; so many sessions there are.

    What ``python -m workloads fit`` writes where starts follow no simple process.
    """

    RATE: ClassVar[str] = "speed"
    """The field that makes arrivals denser, every other draw the same."""
    process: Literal["replayed"]
    at_s: list[Annotated[float, Field(ge=0, le=MOST_S)]] = Field(min_length=1, max_length=1_000_000)
    """When each session starts, s, ascending."""
    speed: float = Field(default=1.0, gt=0, le=MOST)
    """How many times as fast; 2 halves all times."""

    @model_validator(mode="after")
    def _ascending(self) -> Replayed:
        if any(after < before for before, after in pairwise(self.at_s)):
            raise ValueError("at_s: allowed: ascending times")
        return self

    @property
    def most_per_s(self) -> float:
        """The mean rate, 1/s."""
        return len(self.at_s) * self.speed / max(self.at_s[-1], 1.0)

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, or as many as there are, in s from the start."""
        return np.array(self.at_s[:n]) / self.speed

    def apply(self, trace: Trace) -> None:
        """Nothing: such times do not go on."""


class Profile(Schema):
    """Independent arrivals at a rate that follows the clock, over and over: the hours of a day, say.

    ``rates_per_s`` hold for ``step_s`` each, then the first one again; all are multiplied by ``scale``.
    With 24 rates and the default step, arrivals repeat every day. Within a step the process is Poisson's.
    """

    RATE: ClassVar[str] = "scale"
    """The field that makes arrivals denser, every other draw the same."""
    process: Literal["profile"]
    rates_per_s: list[Annotated[float, Field(ge=0, le=MOST)]] = Field(min_length=1, max_length=100_000)
    """Sessions per second, one rate for each step: 24 of them are the hours of a day."""
    step_s: float = Field(default=3600.0, gt=0, le=MOST_S)
    """How long each rate holds, s; by default an hour."""
    scale: float = Field(default=1.0, gt=0, le=MOST)
    """A factor on all rates."""

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
    process: Literal["closed_loop"] = "closed_loop"
    concurrency: PositiveInt
    """How many sessions are under way at a time."""
    equal_arrival: bool | None = None
    """For a client that has all its requests beforehand, as when a recording is repeated: whether they
    count as having arrived together. Left out: it has them one by one."""

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
    """How many times as fast sessions start as in the recording; 2 doubles the load."""

    def apply(self, trace: Trace) -> None:
        """Divide all start times of ``trace`` by the speed."""
        if self.speed != 1:
            trace.arrival_s = [None if at is None else at / self.speed for at in trace.arrival_s]


DrawnArrivals = Poisson | EvenlySpaced | Gamma | Weibull | PerClient | Profile | ClosedLoop
Arrivals = Annotated[DrawnArrivals, Field(discriminator="process")]
"""As many as one asks for."""


def _shortest(value: Any) -> Any:
    """A rate alone is Poisson's process, a number of users alone a closed loop."""
    if isinstance(value, dict) and "process" not in value:
        alone = {"rate_per_s": "poisson", "concurrency": "closed_loop"}
        return next(({"process": alone[key], **value} for key in value if key in alone), value)
    return value


GeneratedArrivals = Annotated[
    Annotated[DrawnArrivals | Replayed, Field(discriminator="process")], BeforeValidator(_shortest)
]
"""``{rate_per_s: 2}`` or ``{concurrency: 32}`` will do."""


def fill_process(value: Any) -> Any:
    """An arrival that names no process is the recorded one."""
    if isinstance(value, dict) and "process" not in value:
        return {"process": "recorded", **value}
    return value


TraceArrivals = Annotated[
    Annotated[Recorded | ClosedLoop, Field(discriminator="process")], BeforeValidator(fill_process)
]
