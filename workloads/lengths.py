"""Distributions for lengths, turn counts and think times, as written in a configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field, PositiveFloat, model_validator

from workloads.errors import InputError
from workloads.schema import MOST, AlsoTakes, Schema

Floats = NDArray[np.float64]
Draws = Callable[[int], Floats]
"""Gives so many values, the next time those that come after them."""


class Constant(Schema):
    """Always the same value; a bare number in the configuration means this."""

    distribution: Literal["constant"] = "constant"
    value: float = Field(ge=0)
    """The value, in the unit of the key that it stands under."""

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return np.full(n, self.value)


class Uniform(Schema):
    """Every value from ``low`` to ``high`` equally likely."""

    distribution: Literal["uniform"]
    low: float = Field(ge=0)
    """The least value."""
    high: float = Field(ge=0)
    """The greatest value."""

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not exceed high ({self.high})")
        return self

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(self.low, self.high, n)


class Exponential(Schema):
    """Exponential with the given mean."""

    distribution: Literal["exponential"]
    mean: PositiveFloat
    """The mean."""

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.exponential(self.mean, n)


class Geometric(Schema):
    """Whole numbers from 1: each further one with probability 1 - 1/mean.

    With ``second``, a second one has that probability, and those that have it exceed 1 by so many (1 or
    more, of that mean): half of all chats are over after one turn, the others go on for 6 in the mean with
    ``{mean: 5, second: 0.5}``.
    """

    distribution: Literal["geometric"]
    mean: float = Field(ge=1)
    """The mean; with `second` that of what exceeds 1."""
    second: float | None = Field(default=None, ge=0, le=1)
    """Probability of going on beyond 1; left out: 1 - 1/mean, the plain geometric distribution."""

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return self.opened(rng)(n)

    def opened(self, rng: np.random.Generator) -> Draws:
        """Draws that go on where the last ones ended."""
        if self.second is None:
            return lambda n: rng.geometric(1 / self.mean, n).astype(np.float64)
        second = self.second
        goes_on, further = rng.spawn(2)

        def draw(n: int) -> Floats:
            more: Floats = further.geometric(1 / self.mean, n).astype(np.float64)
            return 1.0 + np.where(goes_on.random(n) < second, more, 0.0)

        return draw


class Lognormal(Schema):
    """exp(N(mu, sigma^2)), given by its median (= e^mu) or by its mean (= e^(mu + sigma^2/2))."""

    distribution: Literal["lognormal"]
    median: PositiveFloat | None = None
    """The median; give it or the mean."""
    mean: PositiveFloat | None = None
    """The mean; give it or the median."""
    sigma: float = Field(ge=0, le=100)
    """Standard deviation of the logarithm; 0: always the same, 1: the 90th percentile is 3.6 medians."""

    @model_validator(mode="after")
    def _one_location(self) -> Lognormal:
        if (self.median is None) == (self.mean is None):
            raise ValueError("give either median or mean")
        return self

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        if self.median is not None:
            mu = math.log(self.median)
        else:
            assert self.mean is not None
            mu = math.log(self.mean) - self.sigma**2 / 2
        return rng.lognormal(mu, self.sigma, n)


class Pareto(Schema):
    """Heavy-tailed: at least ``least``, above x with probability (least / x)^alpha."""

    distribution: Literal["pareto"]
    least: PositiveFloat
    """The least value."""
    alpha: float = Field(gt=0, le=100)
    """How fast the tail falls; up to 1 it has no mean, up to 2 no variance."""

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return self.least * (1.0 + rng.pareto(self.alpha, n))


class Quantiles(Schema):
    """As measured: ``values`` are quantiles at equal steps of probability, the least and greatest included.

    Between them values are equally likely: ``[0, 10, 100]`` is 0 to 10 in half of all draws.
    """

    distribution: Literal["quantiles"]
    values: list[Annotated[float, Field(ge=0)]] = Field(min_length=1, max_length=100_000)
    """The quantiles, ascending: least, ..., greatest."""

    @model_validator(mode="after")
    def _ascending(self) -> Quantiles:
        if any(after < before for before, after in pairwise(self.values)):
            raise ValueError("values: allowed: ascending numbers")
        return self

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        places = np.linspace(0, 1, len(self.values)) if len(self.values) > 1 else [0.5]
        found: Floats = np.interp(rng.random(n), places, self.values)
        return found


class Mixture(Schema):
    """One of several distributions for each draw: part i with a probability in proportion to its weight."""

    distribution: Literal["mixture"]
    parts: list[Distribution] = Field(min_length=1, max_length=100)
    """The distributions that are mixed."""
    weights: list[Annotated[float, Field(gt=0, le=MOST)]]
    """The weight of each part; they need not add up to 1."""

    @model_validator(mode="after")
    def _a_weight_each(self) -> Mixture:
        if len(self.parts) != len(self.weights):
            raise ValueError(f"weights: {len(self.weights)}; allowed: as many as parts ({len(self.parts)})")
        return self

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return self.opened(rng)(n)

    def opened(self, rng: np.random.Generator) -> Draws:
        """Draws that go on where the last ones ended."""
        chosen, *streams = rng.spawn(1 + len(self.parts))
        bounds = np.cumsum(self.weights) / sum(self.weights)
        each = [opened(part, one) for part, one in zip(self.parts, streams, strict=True)]

        def draw(n: int) -> Floats:
            which = np.searchsorted(bounds, chosen.random(n), side="right")
            found: Floats = np.stack([of_part(n) for of_part in each])[
                np.minimum(which, len(each) - 1), np.arange(n)
            ]
            return found

        return draw


def _number_is_constant(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):  # a bare number
        return {"distribution": "constant", "value": value}
    if not isinstance(value, dict | BaseModel):
        raise ValueError("allowed: a number, or a mapping with distribution and its parameters")
    return value


Distribution = Annotated[
    Annotated[
        Constant | Uniform | Exponential | Geometric | Lognormal | Pareto | Quantiles | Mixture,
        Field(discriminator="distribution"),
    ],
    BeforeValidator(_number_is_constant),
    AlsoTakes({"type": "number", "minimum": 0, "description": "Always this value."}),
]


def opened(distribution: Distribution, rng: np.random.Generator) -> Draws:
    """Draws of ``distribution``: whatever the portions, together they are one ``sample``."""
    if isinstance(distribution, Geometric | Mixture):
        return distribution.opened(rng)
    return lambda n: distribution.sample(rng, n)


def whole(values: Floats, key: str, least: int = 1) -> list[int]:
    """Round a sample to whole numbers of at least ``least`` (lengths, counts).

    InputError names ``key`` if one of them is beyond ``MOST``.
    """
    largest = float(values.max(initial=0.0))
    if largest > MOST:
        raise InputError(f"{key}: draws reach {largest:.3g}; allowed: up to {MOST:.0e}")
    rounded: list[int] = np.maximum(np.rint(values), least).astype(np.int64).tolist()
    return rounded
