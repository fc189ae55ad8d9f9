"""How long a hosted API takes: time to first token as a line over uncached and cached tokens."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from workloads.schema import Schema
from workloads.seeds import stream

PUBLISHED = (
    "uncalibrated: times follow lines through two pairs of figures that Anthropic published on "
    "2024-08-14 for Claude 3.5 Sonnet (TTFT 11.5 and 2.4 s at 100k tokens, 1.6 and 1.1 s at 10k), "
    "and 17 ms per output token, the median of 1,998 streamed calls of the kv-cache-tester sessions"
)
UNSHOWN = (
    "no times are shown, as the provider publishes none; in the simulation replies take those of a line "
    "through two points published in 2024, which latency: {} shows; latency also takes a line of your own"
)

Seconds = Annotated[float, Field(ge=0, le=1e6)]


class HostedLatency(Schema):
    """TTFT = base + per uncached token + per cached token (+ hit_base where something was cached), s.

    ``noise`` is the standard deviation of the logarithm of a factor on the TTFT with median 1. A further
    output token takes ``tpot_s``. The defaults are a fit to published figures, see ``PUBLISHED``; users
    give their own. Queues and rate limits of the provider are not modelled.
    """

    base_s: Seconds = 0.50
    """Time to first token of an empty prompt, s."""
    per_uncached_token_s: Seconds = 0.110e-3
    """What each prompt token that is computed adds, s."""
    per_cached_token_s: Seconds = 0.0144e-3
    """What each cached prompt token adds, s."""
    hit_base_s: Seconds = 0.46
    """What a request with any cached token takes more, s."""
    noise: float = Field(default=0.0, ge=0, le=5)
    """Standard deviation of the logarithm of a random factor on the TTFT; 0: none."""
    tpot_s: Seconds = 0.0171
    """Time of each further output token, s."""

    def ttft_s(self, uncached_tokens: int, cached_tokens: int) -> float:
        """Time to first token without noise, s."""
        line = self.base_s + uncached_tokens * self.per_uncached_token_s
        return line + (self.hit_base_s + cached_tokens * self.per_cached_token_s if cached_tokens else 0.0)

    def factors(self, seed: int, requests: int) -> list[float]:
        """What the noise multiplies the TTFT of each of the first ``requests`` requests with."""
        if not self.noise:
            return [1.0] * requests
        factors: list[float] = np.exp(
            stream(seed, "provider-latency").normal(0.0, self.noise, requests)
        ).tolist()
        return factors

    @property
    def note(self) -> str:
        """Where the times come from, for the reader."""
        if self == HostedLatency():
            return PUBLISHED
        return "uncalibrated: times follow the line given in the configuration"
