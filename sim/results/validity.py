"""What a reader must know before the figures: overload, a cache still filling, too few requests.

Every check looks at the measured window only. Each says what it saw, in figures, and what would mend it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import numpy as np

from sim.results import exact
from sim.results.records import Records
from sim.results.request_log import ABORTED, COMPLETED, REJECTED, STATUS, TIMED_OUT
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
    end_s = min((window.end_s for pair in measured.windows.values() for window in pair), default=inf)
    slow = [name for name, full in measured.full_s.items() if full < inf and full > measured.ramp_s]
    why = [f"turns come up to {measured.ramp_s:,.0f} s after the start of theirs"]
    if slow:
        last_s = max(measured.full_s[name] for name in slow)
        caches = f"the cache of {slow[0]} is" if len(slow) == 1 else f"the caches of {', '.join(slow)} are"
        why.append(f"{caches} full only after {last_s:,.0f} s")
    if end_s < inf:
        return [
            f"too short for a steady state: until_s is {end_s:,.0f} s, but {' and '.join(why)}; figures "
            "are of all that arrives until then, the start of the run included, and a later end would move "
            f"them: let it be at least {measured.needed_s:,.0f} s, and sessions start for as long"
        ]
    return [
        f"too short for a steady state: sessions start for {measured.span_s:,.0f} s, but "
        f"{' and '.join(why)}; figures are of the whole run, its start and its drain, and a longer run "
        f"would move them: let sessions start for at least {measured.needed_s:,.0f} s "
        "(workload.duration_s, or more workload.sessions)"
    ]


class Watch:
    """What warnings about one run rest on, added up over its pieces.

    ``load_end_s`` is until when requests come as they shall, ``last_arrival_s`` when the last one comes.
    Without a ``steady`` part, overload is looked for in the second half of the time until ``load_end_s``.
    """

    def __init__(
        self, window: Window, load_end_s: float, last_arrival_s: float, *, steady: bool = True
    ) -> None:
        self.window = window
        self._load = Load(window if steady else Window(load_end_s / 2, load_end_s), load_end_s)
        self._drift = Drift(window, last_arrival_s)
        self._ended: dict[str, int] = {}

    def add(self, records: Records) -> None:
        """Look at a piece."""
        self._load.add(records)
        if not self.window.is_whole:
            self._drift.add(records)
        ended = records.status[records.arrived(self.window)]
        for status in STATUS:
            self._ended[status] = self._ended.get(status, 0) + int((ended == status).sum())

    def merge(self, other: Watch) -> None:
        """What ``other`` has seen."""
        self._load.merge(other._load)
        self._drift.merge(other._drift)
        for status, count in other._ended.items():
            self._ended[status] = self._ended.get(status, 0) + count

    def warnings(self, run: Records, full_s: float | None) -> list[str]:
        """Of ``run``; its cache began to evict at ``full_s`` (None: it has no bound)."""
        if not sum(self._ended.values()):
            return ["no request arrives in the measured window: warmup_s and until_s leave all of them out"]
        hosted = run.hosted is not None and bool(np.isfinite(run.first_token_s).any())  # with a latency
        timed = run.engine is not None or hosted
        return [
            *(self._load.said() if run.engine is not None else []),
            *_unserved(self._ended),
            *_filling(self.window, full_s),
            *(_drift(self._drift.rates()) if not self.window.is_whole else []),
            *(_few(self._ended[COMPLETED]) if timed else []),
        ]


class Load:
    """Whether more arrives than is served: what waits, and how long, then grows as long as the run does."""

    def __init__(self, window: Window, load_end_s: float) -> None:
        self._end_s = min(window.end_s, load_end_s)
        self._window = Window(window.start_s, self._end_s)
        self._span_s = self._end_s - window.start_s
        self._parts = self._window.parts(PARTS, self._end_s) if self._span_s > 0 else []
        self._arrived = self._served = self._left = 0
        self._last_s = self._end_s
        self._answered, self._waited = [0] * PARTS, [0] * PARTS
        self._unanswered, self._since = [0] * PARTS, [0] * PARTS
        """By part: requests with and without a first token, and exact sums of how long those waited and of
        when these arrived."""

    def add(self, records: Records) -> None:
        """Look at a piece."""
        arrived, finished = records.arrived(self._window), records.finished_s
        self._arrived += int(arrived.sum())
        self._served += int(((finished > self._window.start_s) & (finished <= self._end_s)).sum())
        self._left += int((records.status != COMPLETED)[arrived].sum())
        self._last_s = max(self._last_s, float(np.nanmax(finished, initial=self._end_s)))
        waited = records.first_token_s - records.arrival_s
        none = np.isnan(waited)
        for i, part in enumerate(self._parts):
            inside = records.arrived(part)
            self._answered[i] += int((inside & ~none).sum())
            self._waited[i] += exact.total(waited[inside & ~none])
            self._unanswered[i] += int((inside & none).sum())
            self._since[i] += exact.total(records.arrival_s[inside & none])

    def merge(self, other: Load) -> None:
        """What ``other`` has seen."""
        self._arrived += other._arrived
        self._served += other._served
        self._left += other._left
        self._last_s = max(self._last_s, other._last_s)
        for mine, others in (
            (self._answered, other._answered),
            (self._waited, other._waited),
            (self._unanswered, other._unanswered),
            (self._since, other._since),
        ):
            mine[:] = [one + more for one, more in zip(mine, others, strict=True)]

    def said(self) -> list[str]:
        """What to say of it."""
        if self._span_s <= 0:
            return []
        undone = self._arrived - self._served - self._left
        waits = self._waits()
        few = min(undone, self._served) < TAIL_REQUESTS
        if len(waits) < PARTS or undone <= BEHIND * self._arrived or few:
            return []
        if waits[-1] <= WAITING_GROWS * waits[0]:
            return []
        return [
            f"overloaded: {self._arrived / self._span_s:.3g} requests/s arrive and "
            f"{self._served / self._span_s:.3g} are served; the queue grows by {undone:,.0f} requests and "
            f"the mean time to first token with it, from {waits[0]:,.1f} to {waits[-1]:,.1f} s: such times "
            "are those of the run's length"
        ]

    def _waits(self) -> list[float]:
        """Mean time from arrival to first token, or to the run's end, in each part of the window, s."""
        out = []
        for answered, waited, without, since in zip(
            self._answered, self._waited, self._unanswered, self._since, strict=True
        ):
            if answered + without:
                until = without * exact.total([self._last_s])
                out.append(exact.mean(waited + until - since, answered + without))
        return out


def overload(records: Records, window: Window, load_end_s: float) -> list[str]:
    """What to say of the load of a run that is in memory."""
    load = Load(window, load_end_s)
    load.add(records)
    return load.said() if records.engine is not None else []


def _unserved(ended: Mapping[str, int]) -> list[str]:
    """Requests that did not get their reply."""
    words = {REJECTED: "rejected", TIMED_OUT: "given up at their deadline", ABORTED: "aborted"}
    counts = {word: ended[status] for status, word in words.items()}
    said = [f"{count:,} {word}" for word, count in counts.items() if count]
    if not said:
        return []
    failed = sum(counts.values())
    return [
        f"{failed / sum(ended.values()):.1%} of the requests get no reply ({', '.join(said)}); figures are "
        "of the others"
    ]


def _filling(window: Window, full_s: float | None) -> list[str]:
    """A cache that has not evicted yet finds more than it will."""
    if full_s is None or full_s <= window.start_s or window.is_whole:
        return []
    if full_s == inf:
        return ["its cache is still filling at the end: nothing was evicted, a longer run finds less"]
    where = "inside" if full_s < window.end_s else "after"
    return [f"its cache became full only after {full_s:,.0f} s, {where} the measured window"]


class Drift:
    """The hit rate in parts of a window."""

    def __init__(self, window: Window, last_arrival_s: float) -> None:
        self._parts = window.parts(2 * DRIFT_PARTS, last_arrival_s)
        self._asked, self._found = [0] * len(self._parts), [0] * len(self._parts)

    def add(self, records: Records) -> None:
        """Look at a piece."""
        for i, part in enumerate(self._parts):
            inside = records.arrived(part)
            self._asked[i] += int(records.input_tokens[inside].sum())
            self._found[i] += int(records.cache_read_input_tokens[inside].sum())

    def merge(self, other: Drift) -> None:
        """What ``other`` has seen."""
        self._asked = [one + more for one, more in zip(self._asked, other._asked, strict=True)]
        self._found = [one + more for one, more in zip(self._found, other._found, strict=True)]

    def rates(self) -> tuple[float, float] | None:
        """The hit rate in the halves of the window; None where they do not differ by more than chance."""
        if not any(self._found) or not all(self._asked):
            return None
        rates = [found / asked for found, asked in zip(self._found, self._asked, strict=True)]
        halves = np.array(rates).reshape(2, DRIFT_PARTS)
        first, second = halves.mean(axis=1).tolist()
        error = float(np.sqrt(halves.var(axis=1, ddof=1).sum() / DRIFT_PARTS))
        if abs(second - first) <= max(DRIFT, DRIFT_ERRORS * error):
            return None
        return first, second


def drift(records: Records, window: Window) -> tuple[float, float] | None:
    """The hit rate in the halves of the window, of a run that is in memory; None where they agree."""
    parts = Drift(window, float(records.arrival_s.max()))
    parts.add(records)
    return parts.rates()


def _drift(rates: tuple[float, float] | None) -> list[str]:
    """What to say of a hit rate that has not settled."""
    if rates is None:
        return []
    first, second = rates
    return [
        f"its hit rate has not settled: {first:.1%} in the first half of the window, {second:.1%} in the "
        "second"
    ]


def _few(count: int) -> list[str]:
    """Too few requests for a percentile that is shown."""
    thin = [p for p in (90, 99) if count * (100 - p) / 100 < TAIL_REQUESTS]
    if not thin or not count:
        return []
    return [
        f"{count:,} requests are few for p{thin[0]}{' and p99' if len(thin) > 1 else ''}: fewer than "
        f"{TAIL_REQUESTS} of them lie beyond it"
    ]
