"""What a reader must know before the figures: overload, a cache still filling, too few requests.

Every check looks at the measured window only. Each says what it saw, in figures, and what would mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from sim.results.records import Records
from sim.results.request_log import ABORTED, REJECTED, TIMED_OUT
from sim.results.steady import Measured
from sim.results.window import Window

BEHIND = 0.02
"""A system that leaves more than this share of what arrives undone at the end is overloaded..."""
WAITING_GROWS = 1.5
"""...if requests also wait this many times as long at the end of the window as before."""
TAIL_REQUESTS = 10
"""A percentile needs at least so many requests beyond it."""
PARTS = 4
"""Of a window whose parts are held against each other."""
DRIFT_PARTS = 5
DRIFT = 0.02
DRIFT_ERRORS = 4.0
"""A hit rate drifts if the halves of a window, of so many parts each, differ by this much, and by this many
standard errors: by chance that is 4 in 1,000 windows (Student's t with 8 degrees of freedom)."""


def of_experiment(measured: Measured) -> list[str]:
    """Warnings about the experiment as a whole."""
    if not measured.needed_s:
        return []
    span_s = measured.span_s
    slow = [name for name, full in measured.full_s.items() if full < inf and full > measured.ramp_s]
    why = [f"turns come up to {measured.ramp_s:,.0f} s after the start of theirs"]
    if slow:
        last_s = max(measured.full_s[name] for name in slow)
        caches = f"the cache of {slow[0]} is" if len(slow) == 1 else f"the caches of {', '.join(slow)} are"
        why.append(f"{caches} full only after {last_s:,.0f} s")
    return [
        f"too short for a steady state: sessions start for {span_s:,.0f} s, but {' and '.join(why)}; "
        "figures are of the whole run, its start and its drain, and a longer run would move them: let "
        f"sessions start for at least {measured.needed_s:,.0f} s (workload.duration_s, or more "
        "workload.sessions)"
    ]


def of_run(
    records: Records, window: Window, load_end_s: float, full_s: float | None, *, steady: bool = True
) -> list[str]:
    """Warnings about one system.

    ``load_end_s`` is until when requests come as they shall, ``full_s`` when its cache began to evict
    (None: it has no bound). Without a ``steady`` part, overload is looked for in the second half of that
    time.
    """
    if not records.arrived(window).any():
        return ["no request arrives in the measured window: warmup_s and until_s leave all of them out"]
    loaded = window if steady else Window(load_end_s / 2, load_end_s)
    return [
        *overload(records, loaded, load_end_s),
        *_unserved(records, window),
        *_filling(records, window, full_s),
        *_drift(records, window),
        *_few(records, window),
    ]


def overload(records: Records, window: Window, load_end_s: float) -> list[str]:
    """More arrives than is served: what waits, and how long, grows as long as the run does."""
    if records.engine is None:
        return []
    arrival, finished = records.arrival_s, records.finished_s
    end_s = min(window.end_s, load_end_s)
    window = Window(window.start_s, end_s)
    span_s = end_s - window.start_s
    if span_s <= 0:
        return []
    arrived = arrival[records.arrived(window)]
    served = int(((finished > window.start_s) & (finished <= end_s)).sum())
    left = float((records.status != "completed")[records.arrived(window)].sum())
    undone = len(arrived) - served - left
    waits = _waits(records, window, end_s)
    if len(waits) < PARTS or undone <= BEHIND * len(arrived) or min(undone, served) < TAIL_REQUESTS:
        return []
    if waits[-1] <= WAITING_GROWS * waits[0]:
        return []
    return [
        f"overloaded: {len(arrived) / span_s:.3g} requests/s arrive and {served / span_s:.3g} are served; "
        f"the queue grows by {undone:,.0f} requests and the mean time to first token with it, from "
        f"{waits[0]:,.1f} to {waits[-1]:,.1f} s: such times are those of the run's length"
    ]


def _waits(records: Records, window: Window, end_s: float) -> list[float]:
    """Mean time from arrival to first token, or to the end of the run, in each part of the window, s."""
    last = np.nanmax(records.finished_s, initial=end_s)
    waited = np.where(np.isnan(records.first_token_s), last, records.first_token_s) - records.arrival_s
    out = []
    for part in window.parts(PARTS, end_s):
        of_part = waited[records.arrived(part)]
        if len(of_part):
            out.append(float(of_part.mean()))
    return out


def _unserved(records: Records, window: Window) -> list[str]:
    """Requests that did not get their reply."""
    ended = records.status[records.arrived(window)]
    words = {REJECTED: "rejected", TIMED_OUT: "given up at their deadline", ABORTED: "aborted"}
    counts = {word: int((ended == status).sum()) for status, word in words.items()}
    said = [f"{count:,} {word}" for word, count in counts.items() if count]
    if not said:
        return []
    failed = sum(counts.values())
    return [
        f"{failed / len(ended):.1%} of the requests get no reply ({', '.join(said)}); figures are of the "
        "others"
    ]


def _filling(records: Records, window: Window, full_s: float | None) -> list[str]:
    """A cache that has not evicted yet finds more than it will."""
    if full_s is None or full_s <= window.start_s or window.is_whole:
        return []
    if full_s == inf:
        return ["its cache is still filling at the end: nothing was evicted, a longer run finds less"]
    return [f"its cache became full only after {full_s:,.0f} s, inside the measured window"]


def _drift(records: Records, window: Window) -> list[str]:
    """What to say of a hit rate that has not settled."""
    rates = None if window.is_whole else drift(records, window)
    if rates is None:
        return []
    first, second = rates
    return [
        f"its hit rate has not settled: {first:.1%} in the first half of the window, {second:.1%} in the "
        "second"
    ]


def drift(records: Records, window: Window) -> tuple[float, float] | None:
    """The hit rate in the halves of the window; None where they do not differ by more than chance."""
    if not records.cache_read_input_tokens.any():
        return None
    rates = []
    for part in window.parts(2 * DRIFT_PARTS, float(records.arrival_s.max())):
        inside = records.arrived(part)
        asked = int(records.input_tokens[inside].sum())
        if not asked:
            return None
        rates.append(records.cache_read_input_tokens[inside].sum() / asked)
    halves = np.array(rates).reshape(2, DRIFT_PARTS)
    first, second = halves.mean(axis=1).tolist()
    error = float(np.sqrt(halves.var(axis=1, ddof=1).sum() / DRIFT_PARTS))
    if abs(second - first) <= max(DRIFT, DRIFT_ERRORS * error):
        return None
    return first, second


def _few(records: Records, window: Window) -> list[str]:
    """Too few requests for a percentile that is shown."""
    count = int((records.completed & records.arrived(window)).sum())
    if records.engine is None and records.hosted is None:
        return []
    thin = [p for p in (90, 99) if count * (100 - p) / 100 < TAIL_REQUESTS]
    if not thin or not count:
        return []
    return [
        f"{count:,} requests are few for p{thin[0]}{' and p99' if len(thin) > 1 else ''}: fewer than "
        f"{TAIL_REQUESTS} of them lie beyond it"
    ]


def outside_ratio(runs: Sequence[tuple[Records, Window]]) -> float:
    """The share of all requests that arrive outside of their run's window."""
    total = sum(len(records) for records, _ in runs)
    counted = sum(int(records.arrived(window).sum()) for records, window in runs)
    return 1 - counted / total if total else 0.0
