"""What a run says of its arrival rate: whether enough requests are good, why, and what it takes to tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.results import validity
from sim.results.repetitions import PARTS, REQUESTS_PER_PART
from sim.results.steady import Measured
from sim.results.window import Window
from sim.studies.search import Verdict

FINEST_SHARE = 1e-3
"""A share above 1 less this needs no more requests than that: no number shows that all are good."""
MARGIN = 1.1
"""So many times what it seems to need a run is lengthened."""
AT_LEAST = 1.25
"""A run is lengthened by at least this factor."""


def requests_needed(share: float) -> int:
    """How many requests a window has to hold for this share: ten may miss the limits, and 200 at least.

    >>> requests_needed(0.99), requests_needed(0.9), requests_needed(1.0)
    (1000, 200, 10000)
    """
    missing = max(1 - share, FINEST_SHARE)
    return max(PARTS * REQUESTS_PER_PART, math.ceil(validity.TAIL_REQUESTS / missing - 1e-6))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run shows in its window, and what follows from it."""

    measured: Measured
    window: Window
    duration_s: float
    wanted: float
    """The share of good requests that is wanted."""
    requests: int
    share: float | None
    interval: tuple[float, float] | None
    """Of the share; None where there are too few requests for one."""
    overload: list[str]
    """Why the system cannot keep up; empty where it can."""
    rising: tuple[float, float] | None
    """The hit rate in the halves of the window, if it is higher in the second."""

    @property
    def steady(self) -> bool:
        """Whether the window is that of a steady state."""
        return not self.measured.needed_s

    @property
    def enough(self) -> bool:
        """Whether there are enough requests to tell the share."""
        return self.requests >= requests_needed(self.wanted)

    @property
    def verdict(self) -> Verdict:
        """Whether enough requests are good, as far as the run can tell."""
        if self.steady and self.overload:
            return Verdict.BAD
        if self.interval is not None and self.interval[1] < self.wanted:
            return Verdict.BAD
        if not self.steady or not self.enough or self.rising is not None:
            return Verdict.UNKNOWN
        return Verdict.GOOD if self.share is not None and self.share >= self.wanted else Verdict.BAD

    def reason(self, verdict: Verdict) -> str | None:
        """Why the verdict is what it is, where the share of good requests does not say it."""
        if verdict is not Verdict.UNKNOWN:
            return self.overload[0] if self.steady and self.overload else None
        if not self.steady:
            return (
                f"no steady state: turns come up to {self.measured.ramp_s:,.0f} s after the start of their "
                f"session, and sessions start for {self.duration_s:,.0f} s only"
            )
        if not self.enough:
            return (
                f"{self.requests:,} requests in the measured window; a share of {self.wanted:.4g} needs "
                f"{requests_needed(self.wanted):,}"
            )
        assert self.rising is not None
        return (
            f"its hit rate still rises, from {self.rising[0]:.1%} to {self.rising[1]:.1%} in the second "
            "half of the window"
        )

    def needed_s(self, verdict: Verdict) -> float:
        """For how long sessions should start, where that would show more; 0 where it would not."""
        duration_s = self.duration_s
        if not self.steady:
            needed_s = max(self.measured.needed_s * MARGIN, duration_s * AT_LEAST)
            if self.overload or self.interval is None:  # late turns by the load, or that is not known yet
                needed_s = min(needed_s, 2 * duration_s)
            return needed_s
        if verdict is Verdict.UNKNOWN and not self.enough:
            length_s = min(self.window.end_s, duration_s) - self.window.start_s
            more_s = duration_s
            if self.requests and length_s > 0:
                more_s = length_s * (requests_needed(self.wanted) / self.requests * MARGIN - 1)
            return max(duration_s + more_s, duration_s * AT_LEAST)
        return 0.0 if self.rising is None else 2 * duration_s
