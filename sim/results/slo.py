"""Service-level limits, and how many requests keep them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

from sim.results import metrics
from sim.results.records import Records
from sim.results.window import WHOLE, Window
from workloads.schema import Schema


class Slo(Schema):
    """Limits in ms on vLLM's three names; a request is good if it meets all that are stated.

    A reply of one token has no TPOT; it counts as 0 there, as in vLLM's goodput. ``share`` of the requests
    have to be good for a rate to count as sustainable (``python -m sim capacity``).
    """

    ttft_ms: PositiveFloat | None = None
    """Longest time to first token, ms."""
    tpot_ms: PositiveFloat | None = None
    """Longest mean time of an output token after the first, ms."""
    e2el_ms: PositiveFloat | None = None
    """Longest time from request to end of the reply, ms."""
    share: float = Field(default=0.99, gt=0, le=1)
    """Share of the requests that have to keep the limits."""

    @model_validator(mode="after")
    def _some_limit(self) -> Slo:
        if self.ttft_ms is None and self.tpot_ms is None and self.e2el_ms is None:
            raise ValueError("give at least one of ttft_ms, tpot_ms, e2el_ms")
        return self

    def kept(self, records: Records) -> NDArray[np.bool_]:
        """Which requests completed within every stated limit."""
        fine: NDArray[np.bool_] = ~np.isnan(records.finished_s)
        for limit_ms, values_s in (
            (self.ttft_ms, metrics.ttft_s(records)),
            (self.tpot_ms, np.nan_to_num(metrics.tpot_s(records))),
            (self.e2el_ms, metrics.e2el_s(records)),
        ):
            if limit_ms is not None:
                fine &= values_s * 1e3 <= limit_ms
        return fine

    def good(self, records: Records, window: Window = WHOLE) -> int:
        """How many of those that arrive in ``window`` did."""
        return int((self.kept(records) & records.arrived(window)).sum())

    @property
    def limits_ms(self) -> dict[str, float]:
        """The stated limits by vLLM's names."""
        limits = {"ttft": self.ttft_ms, "tpot": self.tpot_ms, "e2el": self.e2el_ms}
        return {name: limit for name, limit in limits.items() if limit is not None}
