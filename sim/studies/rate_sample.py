"""What one run at one arrival rate shows: the share of good requests, what is served, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from sim.results import steady, validity
from sim.results.intervals import half_width
from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.repetitions import PARTS, REQUESTS_PER_PART
from sim.results.slo import Slo
from sim.results.steady import Asked
from sim.results.summary_cost import Pricing
from sim.results.tally import summarise
from sim.results.window import Window
from sim.studies.outputs import SampleEntry
from sim.studies.rate_verdict import Seen
from sim.studies.search import Judged, Verdict
from workloads.trace import Trace

NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class RateSample:
    """One side of a system at one rate; what the fields mean is said in `SampleEntry`."""

    rate: float
    verdict: Verdict
    reason: str | None
    duration_s: float
    sessions: int
    window: Window
    requests: int
    good_share: float | None
    interval: tuple[float, float] | None
    """Of the good share; None where there are too few requests for one."""
    steady: bool
    """Whether the window is that of a steady state."""
    overloaded: bool
    load_error: float
    """How far its load may lie from that of other draws, relative (95 %); 0 for a recorded trace."""
    ramp_s: float
    """How long after the start of their sessions nearly all turns have come."""
    needed_s: float
    """For how long sessions should start, where that would show more; 0 where it would not."""
    requests_per_s: float | None = None
    requests_per_s_per_gpu: float | None = None
    cost_usd_per_1m_tokens: float | None = None
    pricing: Pricing | None = None
    unanswered: int = 0
    """Requests of the window that were rejected or given up: not good, whatever the limits."""

    @property
    def judged(self) -> Judged:
        """What the search hears."""
        return Judged(self.verdict, self.good_share if self.steady else None)

    def surely(self, verdict: Verdict, wanted: float) -> bool:
        """Whether the verdict is this one, and the interval of the good share leaves no doubt of it."""
        if self.verdict is not verdict or self.overloaded:
            return self.verdict is verdict
        low, high = self.interval or (0.0, 1.0)
        return low >= wanted if verdict is Verdict.GOOD else high < wanted

    def crossing(self, other: RateSample, verdict: Verdict, wanted: float) -> float:
        """The rate from which on, seen from the ``other`` that is in doubt, this sure verdict holds.

        Between the two the bound of the interval is taken to be a straight line.
        """
        if self.interval is None or other.interval is None or not (self.steady and other.steady):
            return self.rate
        bound = 0 if verdict is Verdict.GOOD else 1
        here, there = self.interval[bound] - wanted, other.interval[bound] - wanted
        return (
            self.rate + (other.rate - self.rate) * here / (here - there) if here * there < 0 else self.rate
        )

    def entry(self) -> SampleEntry:
        """This run in capacity.json."""
        return {
            "rate": self.rate,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "duration_s": self.duration_s,
            "sessions": self.sessions,
            "start_s": self.window.start_s,
            "end_s": None if self.window.end_s == inf else self.window.end_s,
            "requests": self.requests,
            "steady": self.steady,
            "good_share": self.good_share,
            "good_share_interval": self.interval,
            "requests_per_s": self.requests_per_s,
            "requests_per_s_per_gpu": self.requests_per_s_per_gpu,
            "cost_usd_per_1m_tokens": self.cost_usd_per_1m_tokens,
            "pricing": self.pricing,
        }


def sample_of(
    rate: float,
    trace: Trace,
    records: Records,
    asked: Asked,
    slo: Slo,
    price: Price | None,
    *,
    duration_s: float,
) -> RateSample:
    """Judge the run of ``trace``, whose sessions start for ``duration_s``, by its measured window.

    Without a steady state, it is judged by what arrives in the second half of the time in which sessions
    start: too little good there is too little later, when there are more later turns. Nothing else follows.
    """
    measured = steady.measure(trace, asked, {"": (records, records)}, traffic=trace.drawn_starts)
    window, is_steady = measured.windows[""][0], not measured.needed_s
    if not is_steady:
        window = Window(duration_s / 2, duration_s)
    requests, share, interval = _good(records, window, slo)
    generated = trace.origin == "generated"
    seen = Seen(
        measured=measured,
        window=window,
        duration_s=duration_s,
        wanted=slo.share,
        requests=requests,
        share=share,
        interval=interval,
        overload=validity.overload(records, window, steady.load_end_s(trace, records)),
        rising=_rising(records, window) if generated else None,
    )
    verdict = seen.verdict
    figures: dict[str, float | None] = {}
    if is_steady and not seen.overload:
        figures = _figures(records, price, window)
    return RateSample(
        rate=rate,
        verdict=verdict,
        reason=seen.reason(verdict),
        duration_s=duration_s,
        sessions=len(trace.starts()),
        window=window,
        requests=requests,
        good_share=share,
        interval=interval,
        steady=is_steady,
        overloaded=bool(seen.overload),
        load_error=_load_error(records, window) if generated else 0.0,
        ramp_s=measured.ramp_s,
        needed_s=seen.needed_s(verdict),
        pricing=price.pricing if price else None,
        unanswered=int((records.arrived(window) & ~records.completed).sum()),
        **figures,
    )


def _good(
    records: Records, window: Window, slo: Slo
) -> tuple[int, float | None, tuple[float, float] | None]:
    """How many requests arrive in ``window``, the share of good ones, and its interval from ten parts."""
    kept = slo.kept(records)

    def counts(part: Window) -> tuple[int, int]:
        inside = records.arrived(part)
        return int(inside.sum()), int((kept & inside).sum())

    total, good = counts(window)
    if not total:
        return 0, None, None
    parts = [counts(part) for part in window.parts(PARTS, float(records.arrival_s.max()))]
    share = good / total
    if total < PARTS * REQUESTS_PER_PART or not all(n for n, _ in parts):
        return total, share, None
    half = half_width([fine / n for n, fine in parts])
    return total, share, (max(0.0, share - half), min(1.0, share + half))


def _load_error(records: Records, window: Window) -> float:
    """The 95 % half width of the mean load, relative to it: computed prompt tokens and replies per s.

    Few sessions may happen to start close together, or to be long: a rate found with them is too low. The
    load is a sum over sessions that start independently (compound Poisson), with the variance sum(work^2).
    """
    inside = records.arrived(window)
    work = (records.computed_tokens + records.output_tokens)[inside]
    _, session = np.unique(records.session[inside], return_inverse=True)
    loads = np.bincount(session, weights=work)
    return float(NORMAL_95 * np.sqrt((loads**2).sum()) / loads.sum()) if len(loads) else 0.0


def _rising(records: Records, window: Window) -> tuple[float, float] | None:
    """The hit rate in the halves of the window, if it is higher in the second."""
    rates = validity.drift(records, window)
    return rates if rates is not None and rates[1] > rates[0] else None


def _figures(records: Records, price: Price | None, window: Window) -> dict[str, float | None]:
    """What is served in the window and what that costs, as ``python -m sim run`` computes it."""
    figures = summarise(records, price, window)
    gpu_s, usd = figures["cost"]["gpu_seconds"], figures["cost"]["cost_usd_total"]
    per_s, tokens_per_s = figures["request_throughput"], figures["total_token_throughput"]
    if per_s is None or not tokens_per_s or not gpu_s or not figures["duration"]:
        return {}
    tokens = tokens_per_s * figures["duration"]
    return {
        "requests_per_s": per_s,
        "requests_per_s_per_gpu": per_s / (gpu_s / figures["duration"]),
        "cost_usd_per_1m_tokens": None if usd is None else usd / tokens * 1e6,
    }
