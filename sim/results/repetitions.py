"""Repetitions out of one run: parts of its window that follow each other, or resamples of its sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sim.results import exact, metrics
from sim.results.intervals import Flat, Repetitions, flat
from sim.results.pricing import Price
from sim.results.ramp import ages_s
from sim.results.records import Floats, Records
from sim.results.request_table import request_usd
from sim.results.slo import Slo
from sim.results.steady import Measured, is_traffic
from sim.results.tally import summarise
from sim.results.window import Window
from workloads.trace import GENERATED, NONE, Trace

PARTS = 10
FEWEST_PARTS = 5
"""Parts of a window: as many as are no shorter than a session lasts on average (what happens in shorter
ones hangs together), but so many at least and at most."""
REQUESTS_PER_PART = 20
RESAMPLES = 400
LATENCIES: dict[str, Callable[[Records], Floats]] = {
    "ttft": metrics.ttft_s,
    "tpot": metrics.tpot_s,
    "e2el": metrics.e2el_s,
}
Runs = Mapping[str, tuple[Records, Records, Price | None]]
"""Run, twin and price of each system."""


def of_one_run(
    trace: Trace, measured: Measured, runs: Runs, slo: Slo | None, seed: int
) -> Repetitions | None:
    """Repetitions of one run; None where it is too small for any, or has no steady part.

    A recorded trace of several sessions is resampled by session. All else is cut into parts by time: what
    waits, and what is cached, goes on from one request to the next.
    """
    if measured.needed_s:
        return None
    sessions, recorded = len(set(trace.session)), trace.origin != GENERATED
    whole = all(window.is_whole for pair in measured.windows.values() for window in pair)
    if recorded and whole and 1 < sessions < len(trace):
        return _resampled(trace, runs, seed)
    if sessions < 2 or not (is_traffic(trace) or recorded):
        return None
    counted = min(len(run.measured(measured.windows[name][0])) for name, (run, _, _) in runs.items())
    if counted < PARTS * REQUESTS_PER_PART:
        return None
    parts = min(
        parts_of(measured.windows[name][0], lasting_s(trace, run), float(run.arrival_s.max()))
        for name, (run, _, _) in runs.items()
    )
    systems, no_cache = {}, {}
    for name, (run, twin, price) in runs.items():
        window, of_twin = measured.windows[name]
        systems[name] = _parts(run, window, parts, price, slo)
        no_cache[name] = _parts(twin, of_twin, parts, price, slo)
    return Repetitions("parts", systems, no_cache)


def lasting_s(trace: Trace, records: Records) -> float:
    """How long a session lasts on average, s."""
    ages = ages_s(trace, records)[[after == NONE for after in trace.follower]]
    return exact.mean(exact.total(ages), len(ages))


def parts_of(window: Window, lasts_s: float, last_arrival_s: float) -> int:
    """How many parts the window of a system is cut into, whose sessions last ``lasts_s`` on average."""
    length_s = min(window.end_s, last_arrival_s) - window.start_s
    return PARTS if lasts_s <= 0 else int(np.clip(length_s / lasts_s, FEWEST_PARTS, PARTS))


def _parts(
    records: Records, window: Window, count: int, price: Price | None, slo: Slo | None
) -> list[Flat]:
    parts = window.parts(count, float(records.arrival_s.max()))
    return [flat(summarise(records, price, part, slo)) for part in parts]


def _resampled(trace: Trace, runs: Runs, seed: int) -> Repetitions:
    """Sessions drawn with replacement, as many as there are; the same draws for every system."""
    _, session = np.unique(np.array(trace.session), return_inverse=True)
    count = int(session.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    systems, no_cache = {}, {}
    for name, (run, twin, price) in runs.items():
        systems[name] = _weighted(run, price, session, draws)
        no_cache[name] = _weighted(twin, price, session, draws)
    return Repetitions("bootstrap", systems, no_cache)


def _weighted(
    everything: Records, price: Price | None, session: np.ndarray, draws: np.ndarray
) -> list[Flat]:
    """The figures that are functions of the request table, in each draw of sessions.

    What some draw does not have, because none of its requests completed, is left out of all.
    """
    records = everything.measured()
    of_bill = (everything, session)  # a hosted API bills what it did not answer too
    session = session[everything.completed]
    if everything.hosted is None:
        of_bill = (records, session)
    count = draws.shape[1]

    def total(values: np.ndarray) -> np.ndarray:
        return draws @ np.bincount(session, weights=values, minlength=count)

    requests = total(np.ones(len(records)))
    asked, found = total(records.input_tokens), total(records.cache_read_input_tokens)
    columns = {
        "completed": requests,
        "total_input_tokens": asked,
        "total_output_tokens": total(records.output_tokens),
        "computed_prompt_tokens": asked - found,
        "cache.prefix_cache_hit_rate": _over(found, asked),
        "cache.request_hit_rate": _over(total(records.cache_read_input_tokens > 0), requests),
    }
    usd = request_usd(of_bill[0], price)
    if usd is not None:
        paid = draws @ np.bincount(of_bill[1], weights=usd, minlength=count)
        columns["cost.cost_usd_total"] = paid
        columns["cost.cost_usd_per_request"] = _over(paid, requests)
    elif (held_usd := summarise(everything, price)["cost"]["cost_usd_total"]) is not None:
        columns["cost.cost_usd_total"] = np.full(len(draws), held_usd)  # whichever sessions come
    for name, of in LATENCIES.items():
        columns.update(_latency(name, of(records) * 1e3, session, draws))
    known = {name: column for name, column in columns.items() if not np.isnan(column).any()}
    return [{name: float(column[i]) for name, column in known.items()} for i in range(len(draws))]


def _over(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """``total / count``, NaN where there is nothing."""
    out = np.full(len(total), np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out


def _latency(name: str, values_ms: Floats, session: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and percentiles, every request weighing as often as its session was drawn."""
    known = ~np.isnan(values_ms)
    if not known.any():
        return {}
    order = np.argsort(values_ms[known])
    values, owner = values_ms[known][order], session[known][order]
    keys = [f"mean_{name}_ms", f"median_{name}_ms", *(f"p{p}_{name}_ms" for p in metrics.PERCENTILES)]
    out = {key: np.full(len(draws), np.nan) for key in keys}
    for i, draw in enumerate(draws):
        weight = draw[owner]
        upto = np.cumsum(weight)
        if not upto[-1]:
            continue
        out[keys[0]][i] = (values * weight).sum() / upto[-1]
        for key, p in zip(keys[1:], (50, *metrics.PERCENTILES), strict=True):
            out[key][i] = values[min(np.searchsorted(upto, p / 100 * upto[-1]), len(values) - 1)]
    return out
