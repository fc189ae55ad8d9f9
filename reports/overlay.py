"""Figures in which all systems of a run stand together: as many figures for twenty systems as for two."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports import canvas, comparison, looks, turns, units
from reports.canvas import Picture
from reports.figure_text import is_share
from reports.rows import bounds
from reports.turns import TWINS, WIDE, Looks, Runs
from sim.results import metrics
from sim.results.records import Floats
from sim.results.summary import Summary

if TYPE_CHECKING:
    from sim.result import Result

QUANTILES = 200
"""A distribution is drawn through so many of its quantiles, and those of its tail."""


def of_run(result: Result, runs: Runs, summary: Summary, seen: Looks) -> list[Picture]:
    """The figures of several systems, ``runs`` as measured; without those that nobody has anything for."""
    drawn = {name: runs[name] for name in seen if len(runs[name].records) and len(runs[name].twin)}
    pictures = [Picture(ranking(summary, seen), RANKING)]
    timed = {name: run for name, run in drawn.items() if (metrics.ttft_s(run.records) > 0).any()}
    if timed:
        pictures.append(Picture(ttft(timed, seen, summary), TTFT + (TWIN if len(timed) <= TWINS else "")))
    if drawn:
        pictures.append(Picture(turns.prompt_tokens(drawn), turns.TOKENS))
    pictures += turns.of_turns(result, runs, seen)
    held = [n for n in drawn if summary["systems"][n]["gpu_busy_seconds"] is not None]
    if held:
        pictures.append(Picture(gpu_time(summary, held), GPU_TIME))
    return pictures


RANKING = (
    "The figure that the systems are ranked by, the best on top. Bars are 95 % intervals, where they "
    "are known."
)


@canvas.styled
def ranking(summary: Summary, seen: Looks) -> Figure:
    """The compared figure of every system with its interval."""
    compared = summary["comparison"]
    assert compared is not None
    rows = [row for row in compared["rows"] if row["value"] is not None]
    asked = comparison.column(compared["by"])
    values = [row["value"] or 0.0 for row in rows]
    ends = [row["interval"] or (value, value) for row, value in zip(rows, values, strict=True)]
    in_s = asked.figure.endswith(comparison.TIME) and max(values, default=0.0) >= 10 * units.MS_PER_S
    scale = units.MS_PER_S if in_s else 1.0
    unit = ", s" if in_s else ", ms" if asked.figure.endswith(comparison.TIME) else ""
    timed = asked.figure.endswith(comparison.TIME) or "goodput" in asked.figure
    mark = canvas.mark(*(summary["systems"][row["system"]]["calibrated"] for row in rows if timed))
    figure, axes = canvas.new(
        f"Ranked by {asked.heading}", f"{asked.heading}{unit}{mark}", "", height_in=1.0 + 0.21 * len(rows)
    )
    for y, (row, value, (low, high)) in enumerate(zip(rows, values, ends, strict=True)):
        look = seen[row["system"]]
        colour = look.colour if look.named else canvas.MIDDLE
        axes.errorbar(
            [value / scale],
            [y],
            xerr=canvas.sides(value / scale, (low / scale, high / scale)),
            fmt="o",
            color=colour,
            markersize=4.5,
            capsize=2.5,
            label=row["system"],
        )
    axes.set_yticks(range(len(rows)), [units.shortened(row["system"]) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    looks.unnamed(axes)
    positive = [value for value in values if value > 0]
    if len(positive) == len(values) and positive and max(values) / min(positive) >= WIDE:
        canvas.log(axes, "x")
    elif is_share(asked.figure):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axes.xaxis.set_major_formatter(canvas.plain())
        if values and min(low for low, _ in ends) > 0.5 * max(high for _, high in ends):
            axes.margins(x=0.1)
        else:
            axes.set_xlim(left=0)
    return figure


TTFT = (
    "Share of requests whose first token is there within the time on the x axis (logarithmic): further "
    f"left is faster. Drawn through {QUANTILES} quantiles and the tail; dots with bars are medians "
    "(p99 too, of few systems) with their 95 % intervals, where these are known."
)
TWIN = " Dashed: the same system without its cache."


@canvas.styled
def ttft(runs: Runs, seen: Looks, summary: Summary) -> Figure:
    """Distributions of the time to first token of all systems."""
    mark = canvas.mark(*(run.calibrated for run in runs.values()))
    largest = max(float(np.nanmax(metrics.ttft_s(run.records))) for run in runs.values())
    scale, unit = (1.0, "s") if largest >= 10 else (1e3, "ms")
    figure, axes = canvas.new(
        "Time to first token", f"time to first token, {unit}{mark}", "share of requests"
    )
    twins = len(runs) <= TWINS
    for name, run in runs.items():
        if twins:
            x, share = ecdf(metrics.ttft_s(run.twin) * scale)
            axes.plot(
                x,
                share,
                **{**seen[name].style, "linewidth": 1.1},
                linestyle="--",
                label=f"{name} without cache",
            )
        x, share = ecdf(metrics.ttft_s(run.records) * scale)
        axes.plot(x, share, **seen[name].style, label=name)
    canvas.log(axes, "x")
    ends = axes.get_xlim()
    for name in runs:
        if seen[name].named:
            _percentiles(axes, summary, name, scale, seen[name].colour, (50, 99) if twins else (50,))
    axes.set_xlim(ends)  # an interval may reach far beyond all times
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.02)
    looks.legend(figure, seen, list(runs), {"without cache": "--"} if twins else {})
    return figure


def _percentiles(
    axes: Axes, summary: Summary, name: str, scale: float, colour: str, shown: tuple[int, ...]
) -> None:
    """Percentiles with their 95 % intervals, where they are known, on the curve of a system."""
    for percentile in shown:
        figure = f"p{percentile}_ttft_ms"
        value, ends = summary["systems"][name][figure], bounds(summary, "systems", name, figure)  # type: ignore[literal-required]
        if value and ends is not None:
            at, low, high = (ms / 1e3 * scale for ms in (value, max(ends[0], value / 100), ends[1]))
            axes.errorbar(
                [at], [percentile / 100], xerr=canvas.sides(at, (low, high)), fmt="o",
                color=colour, markersize=2.5, capsize=2, elinewidth=1.0, label=f"{name}, p{percentile}",
            )  # fmt: skip


def ecdf(values: Floats) -> tuple[Floats, Floats]:
    """A distribution function of what is above 0, through ``QUANTILES`` quantiles and some of the tail."""
    known = values[values > 0]
    share = np.unique(np.r_[np.linspace(0, 1, QUANTILES + 1), 0.99, 0.999])
    return np.quantile(known, share), share


GPU_TIME = (
    "GPU-hours held from the first arrival to the last token, and the part in which the engine computed; "
    "the mark is where that part would end without the cache. What is held is paid whether busy or not."
)


@canvas.styled
def gpu_time(summary: Summary, names: list[str]) -> Figure:
    """A bar for each system: GPU time busy and idle, the busy time without the cache marked."""
    mark = canvas.mark(*(summary["systems"][name]["calibrated"] for name in names))
    figure, axes = canvas.new("GPU time", f"GPU-hours{mark}", "", height_in=1.2 + 0.27 * len(names))
    at = np.arange(len(names))

    def hours(part: str, key: Callable[[object], float | None]) -> Floats:
        return np.array([(key(summary[part][name]) or 0.0) / 3600 for name in names])  # type: ignore[literal-required]

    busy = hours("systems", lambda entry: entry["gpu_busy_seconds"])  # type: ignore[index]
    held = hours("systems", lambda entry: entry["cost"]["gpu_seconds"])  # type: ignore[index]
    before = hours("no_cache", lambda entry: entry["gpu_busy_seconds"])  # type: ignore[index]
    axes.barh(at, busy, 0.62, color=canvas.GREEN, label="busy")
    known = [bounds(summary, "systems", name, "gpu_busy_seconds") for name in names]
    for y, mean, ends in zip(at, busy, known, strict=True):
        if ends is not None:
            sides = canvas.sides(mean, (ends[0] / 3600, ends[1] / 3600))
            axes.errorbar(
                [mean], [y], xerr=sides, fmt="none", color=canvas.BLACK, elinewidth=1.0, capsize=2.5
            )
    axes.barh(at, np.maximum(0.0, held - busy), 0.62, left=busy, color=canvas.IDLE, label="held, idle")
    axes.plot(
        before, at, "|", color=canvas.BLACK, markersize=11, markeredgewidth=2, label="busy without cache"
    )
    axes.set_yticks(at, [units.shortened(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    looks.unnamed(axes)
    axes.xaxis.set_major_formatter(canvas.plain())
    canvas.legend(figure, columns=3)
    return figure
