"""Distributions for lengths, turn counts and think times, as written in a configuration."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field, PositiveFloat, model_validator

from workloads.errors import InputError
from workloads.schema import MOST, Schema

Floats = NDArray[np.float64]


class Constant(Schema):
    """Always the same value; a bare number in the configuration means this."""

    distribution: Literal["constant"] = "constant"
    value: float = Field(ge=0)

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return np.full(n, self.value)


class Uniform(Schema):
    """Every value from ``low`` to ``high`` equally likely."""

    distribution: Literal["uniform"]
    low: float = Field(ge=0)
    high: float = Field(ge=0)

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

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.exponential(self.mean, n)


class Geometric(Schema):
    """Whole numbers from 1: each further one with probability 1 - 1/mean."""

    distribution: Literal["geometric"]
    mean: float = Field(ge=1)

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.geometric(1 / self.mean, n).astype(np.float64)


class Lognormal(Schema):
    """exp(N(mu, sigma^2)), given by its median (= e^mu) or by its mean (= e^(mu + sigma^2/2))."""

    distribution: Literal["lognormal"]
    median: PositiveFloat | None = None
    mean: PositiveFloat | None = None
    sigma: float = Field(ge=0, le=100)

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


def _number_is_constant(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):  # a bare number
        return {"distribution": "constant", "value": value}
    if not isinstance(value, dict | BaseModel):
        raise ValueError("allowed: a number, or a mapping with distribution and its parameters")
    return value


Distribution = Annotated[
    Annotated[
        Constant | Uniform | Exponential | Geometric | Lognormal,
        Field(discriminator="distribution"),
    ],
    BeforeValidator(_number_is_constant),
]


def whole(values: Floats, key: str, least: int = 1) -> list[int]:
    """Round a sample to whole numbers of at least ``least`` (lengths, counts).

    InputError names ``key`` if one of them is beyond ``MOST``.
    """
    largest = float(values.max(initial=0.0))
    if largest > MOST:
        raise InputError(f"{key}: draws reach {largest:.3g}; allowed: up to {MOST:.0e}")
    rounded: list[int] = np.maximum(np.rint(values), least).astype(np.int64).tolist()
    return rounded
