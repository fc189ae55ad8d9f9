"""What there is to say about a study of capacity, in sentences."""

from __future__ import annotations

from reports import units
from sim.studies.capacity import Between, CapacityStudy, Side
from sim.studies.rate_sample import RateSample
from sim.studies.rate_verdict import requests_needed
from sim.studies.search import MOST_DOUBLINGS, Outcome, Verdict


def limits(study: CapacityStudy) -> str:
    """What a request has to meet, and how many of them: '99% of requests within ttft 500 ms'."""
    return f"{study.slo.share * 100:g}% of requests within {stated_limits(study)}"


def stated_limits(study: CapacityStudy) -> str:
    """What a request has to meet: 'ttft 500 ms, tpot 50 ms'."""
    return ", ".join(f"{name} {ms:,g} ms" for name, ms in study.slo.limits_ms.items())


def general_notes(study: CapacityStudy) -> list[str]:
    """How the rates were found, and on what they rest."""
    return [
        f"The same {_drawn(study)} at every rate ({study.rate_key}), found to "
        f"{study.precision * 100:g}%. Assumed: the share of good requests falls with the rate.",
        "Share, requests per s and dollars are those of each run's measured window, a steady state.",
    ]


def _drawn(study: CapacityStudy) -> str:
    """What is served at every rate: 'draws, sessions starting for 900 s or longer,'."""
    if study.configured_duration_s is None:
        return "recorded requests"
    return f"draws, sessions starting for {units.significant(study.configured_duration_s)} s or longer,"


def side_notes(study: CapacityStudy, side: Side) -> list[str]:
    """What has to be known about one side: no rate, its interval, a longer run, a share that rises."""
    tried = side.search.tried
    if side.search.outcome is Outcome.UNBOUNDED:
        last = side.samples[max(tried)]
        return [
            f"no bound: at {_rate(study, last.rate)}, {2**MOST_DOUBLINGS:,} times the configured rate, "
            f"{good_share(last)} of requests are still good"
        ]
    if side.search.outcome is Outcome.NONE:
        first = side.samples[min(tried)]
        return [
            f"no rate: at {_rate(study, first.rate)}, the configured rate / {2**MOST_DOUBLINGS:,}, only "
            f"{good_share(first)} of requests are good; {_too_tight(first)}"
        ]
    if side.search.outcome is Outcome.REFUSED:
        return [_refusal(study, side)]
    best = side.best
    assert best is not None
    notes, rise = [_interval(study, side)], side.search.largest_rise
    if study.configured_duration_s is not None and best.duration_s > study.configured_duration_s:
        notes.append(
            f"lengthened: at this rate sessions start for {units.significant(best.duration_s)} s instead "
            f"of {units.significant(study.configured_duration_s)} s, which hold no steady state of "
            f"{requests_needed(study.slo.share):,} requests"
        )
    if rise is not None:
        low, high = rise
        points = (side.search.shares[high] - side.search.shares[low]) * 100
        notes.append(
            f"not monotone: from {_rate(study, low)} to {_rate(study, high)} the share of good requests "
            f"rises by {units.significant(points, 2)} points, to {units.percent(side.search.shares[high])}"
        )
    if side.search.contradictions:
        at = ", ".join(units.significant(rate) for rate in side.search.contradictions)
        notes.append(f"not the only boundary: good above it, or bad below, at {at}")
    return notes


def _too_tight(sample: RateSample) -> str:
    """Why not even an idle system keeps the limits: the limits, or requests that get no reply."""
    if not sample.unanswered:
        return "the limits are too tight at hardly any load"
    share = units.percent(sample.unanswered / sample.requests)
    return f"{share} get no reply at hardly any load (rejected, or given up at deadline_s)"


def _refusal(study: CapacityStudy, side: Side) -> str:
    """Why there is no rate, and up to which one requests are good."""
    good = [s for s in side.samples.values() if s.verdict is Verdict.GOOD]
    above = side.search.above
    where = "" if above is None else f"at {_rate(study, above)} "
    known = ""
    if good:
        highest = max(good, key=lambda sample: sample.rate)
        known = f"; {good_share(highest)} are good at {_rate(study, highest.rate)}, the highest rate known"
    return f"refused: {where}{side.refused}{known}"


def _interval(study: CapacityStudy, side: Side) -> str:
    """Between which rates the limit lies: '95 % interval, sessions/s: 7.95 to 8.31'."""
    return f"95 % interval, {study.unit}: {bounds(side.interval)}"


def bounds(interval: Between) -> str:
    """An interval in words."""
    low, high = interval
    if low is None:
        if high is None:
            return "not told by the rates tried"
        return f"up to {units.significant(high)} (the rates tried tell no lower bound)"
    if high is None:
        return f"from {units.significant(low)} on (the rates tried tell no upper bound)"
    return f"{units.significant(low)} to {units.significant(high)}"


def good_share(sample: RateSample) -> str:
    """Of the requests of one run: '99.2%'."""
    return "none" if sample.good_share is None else units.percent(sample.good_share)


def _rate(study: CapacityStudy, rate: float) -> str:
    return f"{units.significant(rate)} {study.unit}"


def answer(study: CapacityStudy) -> str:
    """The highest rate that a system sustains with its cache, and without."""
    known = [(name, system) for name, system in study.systems.items() if system.with_cache.best is not None]
    if not known:
        return f"No system has a rate with {limits(study)}."
    name, system = max(
        known, key=lambda one: one[1].with_cache.best.rate if one[1].with_cache.best else 0.0
    )
    best, before = system.with_cache.best, system.without_cache.best
    assert best is not None
    out = f"{units.printable(name)} sustains {_rate(study, best.rate)} with its cache"
    if before is not None:
        out += f" instead of {units.significant(before.rate)}"
    if system.ratio is not None:
        out += f", {units.significant(system.ratio)} times as much (95 %: {bounds(system.ratio_interval)})"
    return f"{out}, with {limits(study)}."
