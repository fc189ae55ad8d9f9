"""What engines did over time: KV memory, queue, running requests, hit rate, and requests without a reply.

Queue, running requests and hits follow from the request table; where a system has ``sample_s``, its samples
say them (and how full the KV memory was, which only they know).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports import canvas, looks
from reports.canvas import Picture
from reports.looks import Look
from sim.results.records import Floats, Records
from sim.results.summary import Summary

if TYPE_CHECKING:
    from sim.result import Result
    from sim.results.system_run import SystemRun

PLACES = 240
"""A curve has so many points over the run; samples between two of them are averaged."""
BINS = 48
"""Hit rates and requests without a reply are those of so many parts of the run."""
PANELS = ("waiting", "running", "KV held", "hit rate", "no reply")
SHARES = ("KV held", "hit rate")
ABOUT = (
    "Requests that wait and that run, and the hit rate by tokens, over the whole run, all replicas "
    "together. A queue that only grows is overload."
)
SAMPLE = " Counts are estimated from a sample of the sessions."
WINDOW = " Outside of {which} measured window the ground is grey."
DOWN = " Red ground: a replica is down."
KV = " KV held: share of the blocks that requests hold, mean of the replicas, where a system has sample_s."
NO_REPLY = (
    " No reply: requests that were rejected, given up or aborted, in each of {bins} parts of the run."
)
Line = tuple[Floats, Floats]


def of_run(result: Result, summary: Summary, seen: Mapping[str, Look]) -> Picture | None:
    """The figure of all engines; None where there is none."""
    engines = {
        name: run
        for name, run in result.runs.items()
        if run.records.engine is not None
        and len(run.records)
        and not np.isnan(run.records.scheduled_s).all()
    }
    if not engines:
        return None
    figure, caption = draw(result, engines, summary, seen)
    return Picture(figure, caption)


@canvas.styled
def draw(
    result: Result, engines: Mapping[str, SystemRun], summary: Summary, seen: Mapping[str, Look]
) -> tuple[Figure, str]:
    """Panels below each other over one time, and what the caption has to say of them."""
    weight = {name: result.trace.requests / len(run.records) for name, run in engines.items()}
    lines = {name: _lines(run.records, weight[name]) for name, run in engines.items()}
    panels = [panel for panel in PANELS if any(panel in of for of in lines.values())]
    latest = max(_edges(run.records)[-1] for run in engines.values())
    unit, scale = canvas.time_scale(latest)
    figure = canvas.empty(height_in=0.9 + 1.0 * len(panels))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    overloaded = {
        name
        for name in engines
        if any(w.startswith("overloaded") for w in summary["systems"][name]["warnings"])
    }
    caption = (
        ABOUT
        + SAMPLE * (max(weight.values()) > 1)
        + KV * ("KV held" in panels)
        + NO_REPLY.format(bins=BINS) * ("no reply" in panels)
    )
    for axes, panel in zip(grid, panels, strict=True):
        for name, of in lines.items():
            if panel in of:
                x, y = of[panel]
                label = f"{name} (overloaded)" if name in overloaded and panel == PANELS[0] else name
                axes.plot(x / scale, y, **{**seen[name].style, "linewidth": 1.2}, label=label)
        axes.set_ylabel(panel, fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=8)
        axes.yaxis.set_major_formatter(
            PercentFormatter(1.0, decimals=0) if panel in SHARES else canvas.plain()
        )
        axes.set_xlim(0, latest / scale)
        for start, end in _outside(result, engines, latest):
            axes.axvspan(start / scale, end / scale, color=canvas.IDLE, alpha=0.45, linewidth=0, zorder=0)
    failures = [
        failure for name in engines for failure in getattr(result.config.systems.get(name), "failures", [])
    ]
    for start, end in sorted({(f.at_s, latest if f.back_s is None else f.back_s) for f in failures}):
        for axes in grid:
            axes.axvspan(
                start / scale, end / scale, color=canvas.VERMILION, alpha=0.25, linewidth=0, zorder=1
            )
    grid[-1].set_xlabel(f"time, {unit}")
    grid[-1].xaxis.set_major_formatter(canvas.plain())
    grid[0].set_title("Over time")
    figure.align_ylabels()
    _legend(figure, grid[0], engines, seen, overloaded)
    if _outside(result, engines, latest):
        caption += WINDOW.format(which="every" if result.measure.differs else "the")
    return figure, caption + DOWN * bool(failures)


def _legend(
    figure: Figure,
    axes: Axes,
    engines: Mapping[str, object],
    seen: Mapping[str, Look],
    overloaded: set[str],
) -> None:
    names = {name: f"{name} (overloaded)" if name in overloaded else name for name in engines}
    looks.legend(figure, {names[n]: seen[n] for n in seen if n in engines}, list(names.values()))


def _outside(result: Result, names: Iterable[str], latest: float) -> list[tuple[float, float]]:
    """The parts of the run that no figure of these systems is about."""
    windows = [result.measure.windows[name][0] for name in names]
    first, last = min(w.start_s for w in windows), max(w.end_s for w in windows)
    return [(a, b) for a, b in ((0.0, first), (min(last, latest), latest)) if b > a]


def _lines(records: Records, weight: float = 1.0) -> dict[str, Line]:
    """The curves of one system by panel; a request stands for so many as its ``weight``."""
    failed = ~records.completed
    lines = _sampled(records) if records.samples else _from_requests(records, weight)
    if failed.any():
        edges = _edges(records)
        ended = np.where(np.isnan(records.finished_s), records.arrival_s, records.finished_s)[failed]
        lines["no reply"] = _steps(edges, weight * np.histogram(ended, edges)[0])
    return lines


def _edges(records: Records) -> Floats:
    return np.linspace(0, float(np.fmax.reduce(np.r_[records.arrival_s, records.finished_s])), BINS + 1)


def _steps(edges: Floats, values: Floats) -> Line:
    return (edges[:-1] + edges[1:]) / 2, values


def _from_requests(records: Records, weight: float) -> dict[str, Line]:
    """Waiting and running requests at times, and the hit rate of what is admitted between times."""
    edges = _edges(records)
    at = np.linspace(0, float(edges[-1]), PLACES)
    left = records.finished_s
    gone = np.where(np.isnan(left), records.arrival_s, left)
    admitted = ~np.isnan(records.scheduled_s)
    begun = np.where(admitted, records.scheduled_s, gone)
    counts = [
        np.searchsorted(np.sort(times), at, side="right") for times in (records.arrival_s, begun, gone)
    ]
    running = np.searchsorted(np.sort(begun[admitted]), at, side="right") - np.searchsorted(
        np.sort(gone[admitted]), at, side="right"
    )
    hits, asked = (
        np.histogram(records.scheduled_s[admitted], edges, weights=tokens[admitted])[0]
        for tokens in (records.cache_read_input_tokens, records.input_tokens)
    )
    return {
        "waiting": (at, weight * (counts[0] - counts[1]).astype(float)),
        "running": (at, weight * running.astype(float)),
        "hit rate": _rate(edges, hits, asked),
    }


def _rate(edges: Floats, hits: Floats, asked: Floats) -> Line:
    """Hits by what was asked for; where nothing was, the curve has no point."""
    x, _ = _steps(edges, hits)
    known = asked > 0
    return x[known], hits[known] / asked[known]


def _sampled(records: Records) -> dict[str, Line]:
    """The same from samples: replicas added up at each time (KV memory: their mean), thinned by means."""
    table = np.array(records.samples, dtype=float)
    times, place = np.unique(table[:, 0], return_inverse=True)
    totals = [np.bincount(place, table[:, column]) for column in (2, 3, 4, 5, 6)]
    running, waiting, held, asked, hits = totals
    replicas = np.bincount(place)
    bins = np.minimum(np.arange(len(times)) * PLACES // max(len(times), PLACES), PLACES - 1)
    in_bin = np.bincount(bins)

    def thin(values: Floats) -> Floats:
        return np.asarray(np.bincount(bins, values) / in_bin, dtype=float)

    x = thin(times)
    edges = np.linspace(0, float(times[-1]) or 1.0, BINS + 1)
    found = [np.histogram(times, edges, weights=tokens)[0] for tokens in (hits, asked)]
    return {
        "waiting": (x, thin(waiting.astype(float))),
        "running": (x, thin(running.astype(float))),
        "KV held": (x, thin(held / replicas)),
        "hit rate": _rate(edges, found[0], found[1]),
    }
