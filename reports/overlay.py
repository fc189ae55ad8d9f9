"""Figures in which all systems of a run stand together: as many figures for twenty systems as for two."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports import canvas, comparison, looks, units
from reports.canvas import Picture
from reports.figure_text import is_share
from reports.looks import Look
from reports.rows import bounds
from sim.results import metrics
from sim.results.records import Floats, Ints, Records
from sim.results.request_table import request_usd
from sim.results.summary import Summary

if TYPE_CHECKING:
    from sim.experiment import Result, SystemRun

QUANTILES = 200
"""A distribution is drawn through so many of its quantiles, and those of its tail."""
LAST_TURN = 12
"""Turns beyond this one share a place."""
WIDE = 20
"""From this ratio of its ends on, an axis of times or dollars is logarithmic."""
TWINS = 3
"""Up to so many systems have their twins without cache in the same panel."""
Looks = Mapping[str, Look]
Runs = Mapping[str, "SystemRun"]


def of_run(result: Result, runs: Runs, summary: Summary, seen: Looks) -> list[Picture]:
    """The figures of several systems, ``runs`` as measured; without those that nobody has anything for."""
    drawn = {name: runs[name] for name in seen if len(runs[name].records) and len(runs[name].twin)}
    pictures = [Picture(ranking(summary, seen), RANKING)]
    timed = {name: run for name, run in drawn.items() if (metrics.ttft_s(run.records) > 0).any()}
    if timed:
        pictures.append(Picture(ttft(timed, seen, summary), TTFT + (TWIN if len(timed) <= TWINS else "")))
    if drawn:
        pictures.append(Picture(prompt_tokens(drawn), TOKENS))
    pictures += of_turns(result, runs, seen)
    held = [n for n in drawn if summary["systems"][n]["gpu_busy_seconds"] is not None]
    if held:
        pictures.append(Picture(gpu_time(summary, held), GPU_TIME))
    return pictures


def of_turns(result: Result, runs: Runs, seen: Looks) -> list[Picture]:
    """Times and dollars by turn, where there are turns."""
    drawn = {name: run for name, run in runs.items() if len(run.records) and len(run.twin)}
    if not any(run.records.turn.max() > 1 for run in drawn.values()):
        return []
    timed = {name: run for name, run in drawn.items() if (metrics.ttft_s(run.records) > 0).any()}
    pictures = [Picture(ttft_by_turn(timed, seen), TTFT_BY_TURN)] if timed else []
    if paid := paid_by_request(result):
        pictures.append(Picture(cost_by_turn(paid, seen), COST_BY_TURN))
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
    mark = canvas.mark(
        False
        if timed and any(summary["systems"][r["system"]]["calibrated"] is False for r in rows)
        else None
    )
    figure, axes = canvas.new(
        f"Ranked by {asked.heading}", f"{asked.heading}{unit}{mark}", "", height_in=1.0 + 0.21 * len(rows)
    )
    for y, (row, value, (low, high)) in enumerate(zip(rows, values, ends, strict=True)):
        look = seen[row["system"]]
        colour = look.colour if look.named else canvas.MIDDLE
        sides = [[max(0.0, value - low) / scale], [max(0.0, high - value) / scale]]
        axes.errorbar(
            [value / scale],
            [y],
            xerr=sides,
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
    mark = canvas.mark(False if any(run.calibrated is False for run in runs.values()) else None)
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
                [at], [percentile / 100], xerr=[[max(0.0, at - low)], [max(0.0, high - at)]], fmt="o",
                color=colour, markersize=2.5, capsize=2, elinewidth=1.0, label=f"{name}, p{percentile}",
            )  # fmt: skip


def ecdf(values: Floats) -> tuple[Floats, Floats]:
    """A distribution function of what is above 0, through ``QUANTILES`` quantiles and some of the tail."""
    known = values[values > 0]
    share = np.unique(np.r_[np.linspace(0, 1, QUANTILES + 1), 0.99, 0.999])
    return np.quantile(known, share), share


TOKENS = (
    "Prompt tokens computed and read from the cache, a panel each: the mean of a request by its turn, or, "
    "where turns cannot be told apart, the shares of the whole trace by the length of the prompt."
)


@canvas.styled
def prompt_tokens(runs: Runs) -> Figure:
    """Small panels, one a system: stacked bars of prompt tokens by turn."""
    from reports.figures import token_bars

    columns = min(3, len(runs))
    lines = math.ceil(len(runs) / columns)
    figure = canvas.empty(height_in=1.0 + (1.02 if lines > 1 else 1.9) * lines)
    bars = {name: token_bars(run.records) for name, run in runs.items()}
    by_turn = next(iter(bars.values())).by_turn
    top = max(float((b.computed + b.cached).max()) for b in bars.values())
    scale, unit = (1000, " k") if top >= 10_000 else (1, "")
    ticks = canvas.plain(scale, unit) if by_turn else PercentFormatter(1.0, 0)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for place, (name, one) in enumerate(bars.items()):
        axes = grid[place // columns][place % columns]
        at = np.arange(len(one.labels))
        axes.bar(at, one.computed, 0.8, color=canvas.COMPUTED, label="computed")
        axes.bar(at, one.cached, 0.8, bottom=one.computed, color=canvas.CACHED, label="read from the cache")
        axes.set_title(units.shortened(name, 24), fontsize=8, fontweight="normal")
        axes.set_xticks(at, one.labels, fontsize=7.5)
        axes.tick_params(axis="y", labelsize=7.5)
        axes.yaxis.set_major_formatter(ticks)
        axes.grid(visible=False, axis="x")
    for axes in grid.flat[len(runs) :]:
        axes.set_visible(False)
    title = "Prompt tokens by turn" if by_turn else "Prompt tokens by prompt length"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    step = max(1, math.ceil(max(len(one.labels) for one in bars.values()) / 5))
    for place in range(max(0, len(runs) - columns), len(runs)):
        axes = grid[place // columns][place % columns]
        axes.set_xlabel("turn" if by_turn else "prompt length up to, tokens", fontsize=8)
        axes.tick_params(labelbottom=True)
        for i, label in enumerate(axes.get_xticklabels()):
            label.set_visible(i % step == 0)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


TTFT_BY_TURN = (
    "Median time to first token by turn: without a cache it grows with the history that each turn resends. "
    "Bars are 95 % intervals of the median, taking requests as independent."
)


@canvas.styled
def ttft_by_turn(runs: Runs, seen: Looks) -> Figure:
    """The median time to first token of every system by turn, and of the twin of a single one."""
    mark = canvas.mark(False if any(run.calibrated is False for run in runs.values()) else None)
    twins = len(runs) <= TWINS
    largest = max(
        float(np.nanmax(metrics.ttft_s(run.twin if twins else run.records))) for run in runs.values()
    )
    scale, unit = (1e3, "s") if largest >= 100 else (1.0, "ms")
    figure, axes = canvas.new("Time to first token by turn", "turn", f"median TTFT, {unit}{mark}")
    last = max(int(run.records.turn.max()) for run in runs.values())
    for name, run in runs.items():
        tables = [(name, run.records, "-")]
        if twins:
            tables.insert(0, (f"{name} without cache", run.twin, "--"))
        for label, records, dash in tables:
            turn, *times = _medians(records)
            median, low, high = (each / scale for each in times)
            axes.errorbar(
                turn, median, yerr=[median - low, high - median], **seen[name].style, linestyle=dash,
                marker="o", markersize=2.5, elinewidth=0.8, label=label,
            )  # fmt: skip
    _turn_axis(axes, last)
    axes.yaxis.set_major_formatter(canvas.plain())
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    if len(values) and values.min() > 0 and values.max() / values.min() >= WIDE:
        canvas.log(axes, "y")
    else:
        axes.set_ylim(bottom=0)
    looks.legend(figure, seen, list(runs), {"without cache": "--"} if twins else {})
    return figure


def _medians(records: Records) -> tuple[Floats, Floats, Floats, Floats]:
    """Turns, median TTFT in ms, and the ends of its 95 % interval from order statistics."""
    times = metrics.ttft_s(records) * 1e3
    turn = turn_places(records.turn)
    rows = []
    for one in np.unique(turn):
        values = np.sort(times[(turn == one) & ~np.isnan(times)])
        if len(values):
            reach = 0.98 * math.sqrt(len(values))
            ends = (
                max(0, math.floor(len(values) / 2 - reach)),
                min(len(values) - 1, math.ceil(len(values) / 2 + reach)),
            )
            rows.append((one, np.median(values), values[ends[0]], values[ends[1]]))
    a, b, c, d = np.array(rows, dtype=float).T
    return a, b, c, d


def turn_places(turn: Ints) -> Ints:
    """Turns from 1, those beyond the last one shown together."""
    return np.minimum(turn, LAST_TURN + 1)


def _turn_axis(axes: Axes, last: int) -> None:
    names = [str(turn) for turn in range(1, min(last, LAST_TURN) + 1)] + [f">{LAST_TURN}"] * (
        last > LAST_TURN
    )
    axes.set_xticks(range(1, len(names) + 1), names)


COST_BY_TURN = (
    "Mean dollars of a request by turn, output included, at prices by the token. Bars are 95 % intervals "
    "of the mean, taking requests as independent. GPUs by the hour have no price by the request."
)


@canvas.styled
def cost_by_turn(paid: Mapping[str, tuple[Ints, Floats]], seen: Looks) -> Figure:
    """Dollars per request of every system that has a price per token, by turn."""
    figure, axes = canvas.new("Dollars by turn", "turn", "dollars per request, mean")
    last, means = 1, []
    for name, (turn, usd) in paid.items():
        place = turn_places(turn)
        last = max(last, int(turn.max()))
        count = np.bincount(place)[1:]
        there = np.flatnonzero(count)
        mean = np.bincount(place, usd)[1:][there] / count[there]
        square = np.bincount(place, usd**2)[1:][there] / count[there]
        error = 1.96 * np.sqrt(np.maximum(0, square - mean**2) / np.maximum(1, count[there] - 1))
        means += mean.tolist()
        axes.errorbar(there + 1, mean, yerr=np.minimum(error, mean * 0.999), **seen[name].style, marker="o",
                      markersize=2.5, elinewidth=0.8, label=name)  # fmt: skip
    _turn_axis(axes, last)
    axes.yaxis.set_major_formatter(canvas.plain())
    if min(means) > 0 and max(means) / min(means) >= WIDE:
        canvas.log(axes, "y")
    else:
        axes.set_ylim(bottom=0)
    looks.legend(figure, seen, list(paid))
    return figure


def paid_by_request(result: Result) -> dict[str, tuple[Ints, Floats]]:
    """Turn and dollars of each measured request, of the systems where requests have a price."""
    out = {}
    for name, run in result.runs.items():
        usd = request_usd(run.records, run.price)
        if usd is not None:
            counted = run.records.completed & run.records.arrived(result.measure.windows[name][0])
            if counted.any():
                out[name] = run.records.turn[counted], usd[counted]
    return out


GPU_TIME = (
    "GPU-hours held from the first arrival to the last token, and the part in which the engine computed; "
    "the mark is where that part would end without the cache. What is held is paid whether busy or not."
)


@canvas.styled
def gpu_time(summary: Summary, names: list[str]) -> Figure:
    """A bar for each system: GPU time busy and idle, the busy time without the cache marked."""
    mark = canvas.mark(
        False if any(summary["systems"][name]["calibrated"] is False for name in names) else None
    )
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
            sides = [[max(0.0, mean - ends[0] / 3600)], [max(0.0, ends[1] / 3600 - mean)]]
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
