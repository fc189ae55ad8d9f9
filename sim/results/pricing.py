"""Money: GPU-hours of machines held, or a price list per million tokens."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sim.results import exact
from sim.results.summary_cost import CostFigures, Pricing
from workloads.schema import Schema, Usd

PER_MILLION = 1e-6


class Price(Schema):
    """Either ``gpu_hour_usd`` or the three prices per million tokens; dollars in both cases.

    ``input_usd_per_1m`` is for prompt tokens that are computed, ``cached_input_usd_per_1m`` for those
    read from the cache (the same price where it is not given).
    """

    gpu_hour_usd: Usd | None = None
    """Price of one GPU for an hour, USD; pays for everything."""
    input_usd_per_1m: Usd | None = None
    """Price of a million prompt tokens that are computed, USD."""
    cached_input_usd_per_1m: Usd | None = None
    """Price of a million prompt tokens that are read from the cache, USD; left out: as those computed."""
    output_usd_per_1m: Usd = Field(default=0.0)
    """Price of a million generated tokens, USD."""

    @model_validator(mode="after")
    def _one_way(self) -> Price:
        if (self.gpu_hour_usd is None) == (self.input_usd_per_1m is None):
            raise ValueError("give either gpu_hour_usd or input_usd_per_1m")
        if self.gpu_hour_usd is not None and (self.cached_input_usd_per_1m or self.output_usd_per_1m):
            raise ValueError("gpu_hour_usd pays for everything; allowed: no price per token beside it")
        return self

    @property
    def pricing(self) -> Pricing:
        """Which of the two this is, as every cost in the output says."""
        return "gpu_hours" if self.gpu_hour_usd is not None else "tokens"

    def token_bill_usd(
        self,
        input_tokens: NDArray[np.int64],
        cached_tokens: NDArray[np.int64],
        output_tokens: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Price of each request's (input, output) in USD at the price list."""
        assert self.input_usd_per_1m is not None
        cached_price = self.cached_input_usd_per_1m
        if cached_price is None:
            cached_price = self.input_usd_per_1m
        computed = input_tokens - cached_tokens
        paid_input = computed * self.input_usd_per_1m + cached_tokens * cached_price
        paid_output = output_tokens.astype(np.float64) * self.output_usd_per_1m
        return paid_input * PER_MILLION, paid_output * PER_MILLION


def cost_figures(
    price: Price | None, counts: Mapping[str, int], sums: Mapping[str, int], gpu_s: float | None
) -> CostFigures:
    """The ``cost`` object of a run whose GPUs were held for ``gpu_s``, of the counts and sums of a `Tally`.

    ``saved_usd_by_cache`` is filled in where it follows from token prices.
    """
    figures: CostFigures = {
        "pricing": price.pricing if price else None,
        "cost_usd_total": None,
        "cost_usd_per_request": None,
        "cost_usd_per_1m_input_tokens": None,
        "cost_usd_per_1m_output_tokens": None,
        "saved_usd_by_cache": None,
        "gpu_seconds": gpu_s,
        "cost_usd_busy": None,
    }
    if price is None or not counts["completed"]:
        return figures
    if price.gpu_hour_usd is not None:
        assert gpu_s is not None
        total = for_input = for_output = gpu_s / 3600 * price.gpu_hour_usd
        figures["cost_usd_busy"] = exact.value(sums["busy"]) / 3600 * price.gpu_hour_usd
    else:
        for_input, for_output = exact.value(sums["input"]), exact.value(sums["output"])
        total = for_input + for_output
        figures["saved_usd_by_cache"] = exact.value(sums["full_input"]) - for_input
    figures["cost_usd_total"] = total
    figures["cost_usd_per_request"] = total / counts["completed"]
    figures["cost_usd_per_1m_input_tokens"] = for_input / counts["inputs"] * 1e6
    figures["cost_usd_per_1m_output_tokens"] = for_output / counts["outputs"] * 1e6
    return figures
