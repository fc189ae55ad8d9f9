"""Arrival processes: when sessions start."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from workloads.schema import Schema


class Poisson(Schema):
    """Independent arrivals: exponential gaps with mean 1 / rate."""

    process: Literal["poisson"]
    rate_per_s: PositiveFloat

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s from the start."""
        return np.cumsum(rng.exponential(1 / self.rate_per_s, n))


class Uniform(Schema):
    """Evenly spaced arrivals, the first one at time 0."""

    process: Literal["uniform"]
    rate_per_s: PositiveFloat

    def times_s(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The first ``n`` arrivals, in s from the start."""
        return np.arange(n) / self.rate_per_s


Arrivals = Annotated[Poisson | Uniform, Field(discriminator="process")]
