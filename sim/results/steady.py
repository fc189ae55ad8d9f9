"""Which part of a run is like any other: its figures are about that, and not about how it starts and ends.

A generated run starts empty: no session is at its tenth turn yet and no cache is full. And it ends in a
drain: sessions go on while no new ones start. Both would make its figures those of its length. So figures
begin when sessions and caches are as they will be from then on, and end when the last session starts.

    sessions start at 2/s for 3,600 s; turns come up to 1,500 s after their session's start, so 1 % of the
    tokens from 900 s on are missing; the cache is full after 270 s: figures are of what arrives from 900 s
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, Protocol

from sim.results.ramp import GRID, firsts, run_ramp_s
from sim.results.records import Records
from sim.results.window import WHOLE, Window
from workloads.trace import GENERATED, Trace

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
    last_s = trace.last_start_s  # a look at every request
    return [last_s * (i + 1) / GRID for i in range(GRID)]


def load_end_s(trace: Trace, records: Records) -> float:
    """Until when the load is what it shall be: the last session's start, or the last recorded arrival."""
    return float(records.arrival_s[firsts(trace)].max())


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
        return run_ramp_s(self.trace, self.records, end_s)

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
        ramp_s = max(run_ramp_s(trace, run, load_end_s(trace, run)) for run, _ in runs.values())
        window, chosen = _none_found(asked)
        each = dict.fromkeys(runs, (window, window))
        needed_s = max(ramp_s / LATEST_START, 2 * span_s)
        return Measured(each, chosen, ramp_s, {}, span_s, needed_s if span_s > 0 else 0.0)
    return Measured(windows, "found")


def _own(trace: Trace, asked: Asked, records: Records) -> Window:
    end_s = load_end_s(trace, records)
    if end_s <= 0:  # a replay: everything starts at once
        return WHOLE
    start_s = run_ramp_s(trace, records, end_s)
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


def full_s(records: Records) -> float | None:
    """When its cache began to evict; None for one without a bound, or without counters."""
    if not records.bounded or not records.checkpoints:
        return None
    return next((c.at_s for c in records.checkpoints if c.full), inf)
