"""Figures by turn of the conversation, all systems together: prompt tokens, times and dollars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports import canvas, looks, units
from reports.canvas import Picture
from reports.figures import LAST_TURN, token_bars
from reports.looks import Look
from sim.results import metrics
from sim.results.records import Floats, Ints, Records
from sim.results.request_table import request_usd

if TYPE_CHECKING:
    from sim.result import Result
    from sim.results.system_run import SystemRun

WIDE = 20
"""From this ratio of its ends on, an axis of times or dollars is logarithmic."""
TWINS = 3
"""Up to so many systems have their twins without cache in the same panel."""
Looks = Mapping[str, Look]
Runs = Mapping[str, "SystemRun"]


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


TOKENS = (
    "Prompt tokens computed and read from the cache, a panel each: the mean of a request by its turn, or, "
    "where turns cannot be told apart, the shares of the whole trace by the length of the prompt."
)


@canvas.styled
def prompt_tokens(runs: Runs) -> Figure:
    """Small panels, one a system: stacked bars of prompt tokens by turn."""
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
    mark = canvas.mark(*(run.calibrated for run in runs.values()))
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
