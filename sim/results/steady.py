"""Which part of a run is like any other: its figures are about that, and not about how it starts and ends.

A generated run starts empty: no session is at its tenth turn yet and no cache is full. And it ends in a
drain: sessions go on while no new ones start. Both would make its figures those of its length. So figures
begin when sessions and caches are as they will be from then on, and end when the last session starts.

    sessions start at 2/s for 3,600 s; turns come up to 1,500 s after their session's start, so 1 % of the
    tokens from 900 s on are missing; the cache is full after 270 s: figures are of what arrives from 900 s
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, inf
from typing import Literal, Protocol

import numpy as np

from sim.results import exact
from sim.results.records import Floats, Ints, Records
from sim.results.spread import Buckets, bucket_of
from sim.results.window import WHOLE, Window
from workloads.trace import GENERATED, NONE, Trace

GRID = 64
"""A found window begins at one of so many equally spaced times."""
MISSING = 0.01
"""Of the prompt tokens that a window would hold had the run begun long before, so many may be missing."""
FEWEST_REQUESTS = 100
"""A window with fewer says nothing."""
LATEST_START = 2 / 3
"""A window that begins later than after this share of the run would hold too little of it."""

Auto = Literal["auto"]
Chosen = Literal["whole", "given", "found"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the configuration says: ``warmup_s`` and ``until_s``, each a time in s, or to be found."""

    warmup_s: float | Auto = "auto"
    until_s: float | Literal["auto", "end"] = "auto"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the figures of an experiment are about."""

    windows: dict[str, tuple[Window, Window]]
    """Per system: that of its run and that of its twin; all the same in open loop."""
    chosen: Chosen
    ramp_s: float = 0.0
    """From this time on sessions are as far along as they ever are, but for a few turns."""
    full_s: dict[str, float] = field(default_factory=dict)
    """When each system's cache began to evict; infinite if it never did. Only of caches with a bound."""
    span_s: float = 0.0
    """How long sessions start."""
    needed_s: float = 0.0
    """How long they would have to for a window to be found; 0 where one was."""

    @property
    def differs(self) -> bool:
        """Whether runs have windows of their own, as in closed loop."""
        return len({window for pair in self.windows.values() for window in pair}) > 1


def is_traffic(trace: Trace) -> bool:
    """Whether ``trace`` is a piece of generated traffic that could go on: sessions that start by a process.

    Recorded sessions, requests written out by hand and a single session are measured as a whole.
    """
    return trace.drawn_starts and trace.origin == GENERATED and trace.starting > 1


def checkpoint_times_s(trace: Trace, asked: Asked) -> list[float]:
    """The times at which a window may begin or end, ascending; none where the whole run is measured."""
    given = {t for t in (asked.warmup_s, asked.until_s) if isinstance(t, float) and 0 < t < inf}
    if is_traffic(trace) and trace.concurrency is None:
        given |= set(_grid(trace))
    return sorted(given)


def _grid(trace: Trace) -> list[float]:
    """The times at which a found window may begin."""
    return [trace.last_start_s * (i + 1) / GRID for i in range(GRID)]


def load_end_s(trace: Trace, records: Records) -> float:
    """Until when the load is what it shall be: the last session's start, or the last recorded arrival."""
    return float(records.arrival_s[_firsts(trace)].max())


def measure(
    trace: Trace,
    asked: Asked,
    runs: Mapping[str, tuple[Records, Records]],
    *,
    traffic: bool | None = None,
) -> Measured:
    """The window of each run and its twin: as ``asked``, or found where it is to be found.

    ``traffic``: whether the trace stands for traffic that goes on like this (default: `is_traffic`).
    """
    start_asked, end_asked = asked.warmup_s, asked.until_s
    if not (is_traffic(trace) if traffic is None else traffic):
        window = Window(
            0.0 if start_asked == "auto" else start_asked,
            inf if isinstance(end_asked, str) else end_asked,
        )
        chosen: Chosen = "whole" if window == WHOLE else "given"
        return Measured(dict.fromkeys(runs, (window, window)), chosen)
    if trace.concurrency is not None:
        return _each_its_own(trace, asked, runs)
    courses = {name: InMemory(trace, records) for name, (records, _) in runs.items()}
    return of_traffic(trace, asked, courses)


class Course(Protocol):
    """What has to be known of a run to find its window."""

    def ramp_s(self, end_s: float) -> float:
        """From when on to ``end_s`` few prompt tokens are missing (`Ramp`)."""

    def arrived(self, window: Window) -> int:
        """How many requests arrive in ``window``."""

    @property
    def full_s(self) -> float | None:
        """When its cache began to evict; infinite if it never did, None for one without a bound."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """The `Course` of a run that is in memory."""

    trace: Trace
    records: Records

    def ramp_s(self, end_s: float) -> float:
        """See `Course`."""
        return _ramp_s(self.trace, self.records, end_s)

    def arrived(self, window: Window) -> int:
        """See `Course`."""
        return int(self.records.arrived(window).sum())

    @property
    def full_s(self) -> float | None:
        """See `Course`."""
        return full_s(self.records)


def of_traffic(trace: Trace, asked: Asked, runs: Mapping[str, Course]) -> Measured:
    """One window for all runs of traffic whose sessions start by themselves, and for their twins."""
    start_asked, end_asked = asked.warmup_s, asked.until_s
    end_s = trace.last_start_s if end_asked == "auto" else inf if end_asked == "end" else end_asked
    ramp_s = max(run.ramp_s(min(end_s, trace.last_start_s)) for run in runs.values())
    full_s = {name: full for name, run in runs.items() if (full := run.full_s) is not None}
    if start_asked != "auto":
        window = _from(start_asked, end_s)
        return Measured(dict.fromkeys(runs, (window, window)), "given", ramp_s, full_s)
    span_s = min(end_s, trace.last_start_s)
    latest_s = span_s * LATEST_START
    steady_s = max(ramp_s, *(full for full in full_s.values() if full <= latest_s), 0.0)
    needed_s = steady_s / LATEST_START
    if steady_s <= latest_s:
        start_s = next(t for t in _grid(trace) if t >= steady_s)
        window = Window(start_s, end_s)
        count = min(run.arrived(window) for run in runs.values())
        if count >= FEWEST_REQUESTS:
            return Measured(dict.fromkeys(runs, (window, window)), "found", ramp_s, full_s, span_s)
        needed_s = start_s + (span_s - start_s) * FEWEST_REQUESTS / max(1, count)
    window, chosen = _none_found(asked)
    return Measured(dict.fromkeys(runs, (window, window)), chosen, ramp_s, full_s, span_s, needed_s)


def _none_found(asked: Asked) -> tuple[Window, Chosen]:
    """What is measured where no window is found: the run, or its beginning if an end is given."""
    if isinstance(asked.until_s, str):
        return WHOLE, "whole"
    return Window(0.0, asked.until_s), "given"


def _each_its_own(trace: Trace, asked: Asked, runs: Mapping[str, tuple[Records, Records]]) -> Measured:
    """Closed loop: how fast sessions start follows from how fast they are served, in each run anew."""
    windows = {name: (_own(trace, asked, a), _own(trace, asked, b)) for name, (a, b) in runs.items()}
    if asked.warmup_s != "auto":
        return Measured(windows, "given")
    if any(window.is_whole for pair in windows.values() for window in pair):
        span_s = min(load_end_s(trace, run) for run, _ in runs.values())
        ramp_s = max(_ramp_s(trace, run, load_end_s(trace, run)) for run, _ in runs.values())
        window, chosen = _none_found(asked)
        each = dict.fromkeys(runs, (window, window))
        needed_s = max(ramp_s / LATEST_START, 2 * span_s)
        return Measured(each, chosen, ramp_s, {}, span_s, needed_s if span_s > 0 else 0.0)
    return Measured(windows, "found")


def _own(trace: Trace, asked: Asked, records: Records) -> Window:
    end_s = load_end_s(trace, records)
    if end_s <= 0:  # a replay: everything starts at once
        return WHOLE
    start_s = _ramp_s(trace, records, end_s)
    few = records.arrived(Window(start_s, end_s)).sum() < FEWEST_REQUESTS
    if asked.warmup_s == "auto" and (few or start_s > end_s * LATEST_START):
        return WHOLE
    return _from(
        start_s if asked.warmup_s == "auto" else asked.warmup_s,
        end_s if asked.until_s == "auto" else inf if asked.until_s == "end" else asked.until_s,
    )


def _from(start_s: float, end_s: float) -> Window:
    """The window from ``start_s``; to the end of the run where ``end_s``, found from it, comes before."""
    return Window(start_s, end_s if end_s > start_s else inf)


def _firsts(trace: Trace) -> list[int]:
    """The first request of each session."""
    return [i for i, at in enumerate(trace.arrival_s) if at is not None]


def ages_s(trace: Trace, records: Records) -> Floats:
    """How long after the start of its session each request would arrive if none ever waited, s.

    The time that replies take counts, what requests wait for admission does not: in a system that is
    overloaded sessions go on for as long as the run is long.
    """
    service_s = np.nan_to_num(records.finished_s - records.scheduled_s).tolist()
    ages = np.zeros(len(trace))
    for first in _firsts(trace):
        at, after = first, trace.follower[first]
        while after != NONE:
            ages[after] = ages[at] + service_s[at] + trace.think_s[after]
            at, after = after, trace.follower[after]
    return ages


class Ramp:
    """From when on to ``end_s`` few prompt tokens are missing, from pieces that are looked at twice.

    At time t after the start those turns are missing that would come later than t after their session's
    start: their sessions would have had to start before the run did. They count by their prompts, because
    late turns are few and long. Where too much is missing whatever the time, that is how long nearly all
    take to come.
    """

    def __init__(self, end_s: float) -> None:
        self._end_s = end_s
        self._grid = np.linspace(0, end_s, GRID, endpoint=False)
        self._tokens, self._waits = [0] * (GRID + 1), [0] * (GRID + 1)
        """Of what is as old as each time of the grid and younger than the next: prompt tokens, and the
        exact sum of these times their age. The last ones are of what is as old as ``end_s``."""
        self._ages = Buckets()
        self._wanted: tuple[int, int, int] | None = None
        self._kept: list[tuple[Floats, Ints]] = []

    def add(self, ages_s: Floats, tokens: Ints) -> None:
        """The first look at a piece: how old requests are, and their prompts."""
        place = np.searchsorted(self._grid, ages_s, side="right") - 1
        place[ages_s >= self._end_s] = GRID
        self._tokens = _plus(self._tokens, np.bincount(place, weights=tokens, minlength=GRID + 1).tolist())
        self._waits = _plus(self._waits, exact.totals(ages_s * tokens, place, GRID + 1))
        self._ages.add(bucket_of(ages_s), tokens)

    def merge(self, other: Ramp) -> None:
        """What ``other`` has seen the first time."""
        self._tokens = _plus(self._tokens, other._tokens)
        self._waits = _plus(self._waits, other._waits)
        self._ages.merge(other._ages)

    def starts_s(self) -> float | None:
        """The time of the grid from which on few tokens are missing; None if there is none."""
        tokens, end = sum(self._tokens), Fraction(self._end_s)
        late, found = self._tokens[GRID], None
        waits = late * end
        for start_s, more, waited in reversed(
            list(zip(self._grid.tolist(), self._tokens[:GRID], self._waits[:GRID], strict=True))
        ):
            late, waits = late + more, waits + Fraction(waited, exact.UNITS)
            start = Fraction(start_s)
            if waits - late * start <= Fraction(MISSING) * (end - start) * tokens:
                found = float(start_s)
        return found

    def settle(self) -> None:
        """All pieces have been seen once, and the age is wanted to which nearly all tokens come."""
        rank = ceil(sum(self._tokens) * (1 - MISSING)) - 1
        bucket, before = self._ages.find([rank])[rank]
        self._wanted = rank, bucket, before

    def look(self, ages_s: Floats, tokens: Ints) -> None:
        """The second look at a piece."""
        assert self._wanted is not None
        inside = bucket_of(ages_s) == self._wanted[1]
        self._kept.append((ages_s[inside], tokens[inside]))

    def nearly_all_s(self) -> float:
        """The age to which nearly all tokens come."""
        assert self._wanted is not None
        ages_s, tokens = (np.concatenate(column) for column in zip(*self._kept, strict=True))
        order = np.argsort(ages_s, kind="stable")
        rank, _, before = self._wanted
        upto = np.cumsum(tokens[order])
        return float(ages_s[order][np.searchsorted(upto, rank - before, side="right")])


def _plus(one: Sequence[float], other: Sequence[float]) -> list[int]:
    return [int(a) + int(b) for a, b in zip(one, other, strict=True)]


def _ramp_s(trace: Trace, records: Records, end_s: float) -> float:
    """The ramp of a run that is in memory."""
    ages, ramp = ages_s(trace, records), Ramp(end_s)
    ramp.add(ages, records.input_tokens)
    if (start_s := ramp.starts_s()) is not None:
        return start_s
    ramp.settle()
    ramp.look(ages, records.input_tokens)
    return ramp.nearly_all_s()


def full_s(records: Records) -> float | None:
    """When its cache began to evict; None for one without a bound, or without counters."""
    if not records.bounded or not records.checkpoints:
        return None
    return next((c.at_s for c in records.checkpoints if c.full), inf)
