"""Rate limits: requests and tokens a minute, with the headers that say what is left of them.

A quota fills up evenly, by the wall clock. What a prompt takes of the input quota is known when its
first token comes: what was read from the cache is left out. So a request is let in as long as anything
is left, and may take more than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sim.server.api.errors import ApiError, Shape, retry_after
from sim.server.live import Usage
from sim.server.options import Limits

MINUTE_S = 60.0


class Quota:
    """One limit: ``per_min`` units that come back evenly.

    >>> now = [0.0]
    >>> quota = Quota(60, lambda: now[0])
    >>> quota.take(60)
    >>> quota.wait_s()
    1.0
    >>> now[0] = 1.0
    >>> quota.left()
    1
    """

    def __init__(self, per_min: int, clock: Callable[[], float]) -> None:
        self.per_min = per_min
        self._clock, self._level, self._at_s = clock, float(per_min), clock()

    def _now(self) -> float:
        now = self._clock()
        self._level = min(self.per_min, self._level + (now - self._at_s) * self.per_min / MINUTE_S)
        self._at_s = now
        return self._level

    def take(self, units: int) -> None:
        self._level = self._now() - units

    def left(self) -> int:
        return max(0, int(self._now() + 1e-9))

    def wait_s(self) -> float:
        """How long until one unit is there."""
        return max(0.0, (1 - self._now()) * MINUTE_S / self.per_min)

    def full_in_s(self) -> float:
        return (self.per_min - self._now()) * MINUTE_S / self.per_min


class RateLimits:
    """All limits of the server; those that are None do not exist."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        wanted = {
            "requests": limits.requests_per_min,
            "input-tokens": limits.input_tokens_per_min,
            "output-tokens": limits.output_tokens_per_min,
        }
        self._quotas = {name: Quota(many, clock) for name, many in wanted.items() if many is not None}

    def admit(
        self, shape: Shape, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> dict[str, str]:
        """Count a request and give the headers of its reply; ApiError 429 if a quota is used up."""
        if not self._quotas:
            return {}
        for name, quota in self._quotas.items():
            if quota.left() < 1:
                wait_s = quota.wait_s()
                message = (
                    f"Rate limit reached: {quota.per_min} {name.replace('-', ' ')} per minute. "
                    f"Please try again in {wait_s:.3f}s."
                )
                headers = {**retry_after(wait_s), **self.headers(shape, now())}
                raise ApiError(429, message, headers=headers)
        if "requests" in self._quotas:
            self._quotas["requests"].take(1)
        return self.headers(shape, now())

    def charge_prompt(self, usage: Usage) -> None:
        """Take a prompt from the input quota, once it is known what of it was in the cache."""
        if "input-tokens" in self._quotas:
            read = 0 if self.limits.count_cached_tokens else usage.cached_tokens
            self._quotas["input-tokens"].take(usage.prompt_tokens - read)

    def charge_reply(self, output_tokens: int) -> None:
        if "output-tokens" in self._quotas:
            self._quotas["output-tokens"].take(output_tokens)

    def headers(self, shape: Shape, now: datetime) -> dict[str, str]:
        """What is left of each quota, and when it is whole again."""
        out: dict[str, str] = {}
        for name, quota in self._quotas.items():
            full_s = quota.full_in_s()
            if shape == "anthropic":
                reset = (
                    (now + timedelta(seconds=full_s)).isoformat(timespec="seconds").replace("+00:00", "Z")
                )
                head = f"anthropic-ratelimit-{name}"
                out |= {f"{head}-limit": str(quota.per_min), f"{head}-remaining": str(quota.left())}
                out[f"{head}-reset"] = reset
            elif name != "output-tokens":  # OpenAI has one token limit, which counts prompts here
                kind = "requests" if name == "requests" else "tokens"
                out[f"x-ratelimit-limit-{kind}"] = str(quota.per_min)
                out[f"x-ratelimit-remaining-{kind}"] = str(quota.left())
                out[f"x-ratelimit-reset-{kind}"] = f"{full_s:.3f}s"
        return out
