"""The figure of the hit-rate curve: hit rate over capacity, and the experiment's own caches on it."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from reports import canvas, units
from sim.studies.curve_sampled import CurveStudy, log_spaced

DRAWN_POINTS = 800
NAME_WIDTH, NAME_HEIGHT, NAME_GAP = 0.0135, 0.048, 0.03
"""Of a point's name: width of a letter, height, distance from the point, as shares of the panel."""


def lru_rate(study: CurveStudy, tokens: int) -> float:
    """The hit rate, by tokens, of one LRU cache of so many tokens."""
    return float(study.curve.rate_tokens([tokens // study.curve.blocks.size_tokens])[0])


@canvas.styled
def figure(study: CurveStudy) -> Figure:
    """Hit rate by tokens and by blocks over the capacity; the experiment's own caches as points."""
    curve, size = study.curve, study.curve.blocks.size_tokens
    title = f"LRU hit rate by cache size: {units.shortened(study.name)}"
    figure, axes = canvas.new(title, "capacity, tokens", "hit rate", height_in=4.2)
    own = [point.capacity_tokens for point in study.points]
    largest = max([curve.full_blocks * size, *study.memory_tokens.values(), *own])
    right = largest * 2 + 10 * size
    at = log_spaced(right // size, DRAWN_POINTS)
    sample = study.sample
    how = "" if sample is None else f" (sample, rate {sample.rate:g})"
    axes.step(at * size, curve.rate_tokens(at), where="post", color=canvas.BLUE, label=f"by tokens{how}")
    axes.step(
        at * size, curve.rate_blocks(at), "--", where="post", color=canvas.GREEN, label=f"by blocks{how}"
    )
    if sample is not None and sample.truth is not None:
        truth = sample.truth.rate_tokens(at)
        axes.step(at * size, truth, ":", where="post", color=canvas.BLACK, label="by tokens (exact)")
    axes.set_xlim(min([size, *own]), right)
    capacity_axes(axes, size)
    for tokens in sorted(set(study.memory_tokens.values())):
        names = [units.shortened(name) for name, own in study.memory_tokens.items() if own == tokens]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        there = lru_rate(study, tokens)
        axes.plot(
            [tokens, tokens], [0, there], "--", color=canvas.LINE, linewidth=1.2,
            label=f"KV memory today: {names[0]}{more}",
        )  # fmt: skip
    if study.points:
        _draw_points(axes, study)
    canvas.legend(figure, columns=2)
    return figure


def capacity_axes(axes: Axes, size: int) -> None:
    """Logarithmic capacity: tokens below, blocks of ``size`` tokens above; hit rates in percent."""
    axes.set_xscale("log")
    above = axes.secondary_xaxis(
        "top", functions=(partial(np.multiply, 1 / size), partial(np.multiply, size))
    )
    above.set_xlabel(f"capacity, blocks of {size:,} tokens")
    for axis in (axes.xaxis, above.xaxis):
        axis.set_major_locator(LogLocator(numticks=9))
        axis.set_major_formatter(FuncFormatter(lambda value, position: _short(value)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_tick_params(which="minor", length=1.5)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(bottom=0)


def _short(value: float) -> str:
    """A power of ten as a tick: 100, 10 k, 1 M."""
    for scale, unit in ((1e6, " M"), (1e3, " k")):
        if value >= scale:
            return f"{value / scale:,.6g}{unit}"
    return f"{value:,.6g}"


def _draw_points(axes: Axes, study: CurveStudy) -> None:
    """Each cache as a point with its name, on the side where the curve is not."""
    points = sorted(study.points, key=lambda point: (-point.hit_rate, point.capacity_tokens))
    top = max(axes.get_ylim()[1], 1.05 * points[0].hit_rate)
    axes.set_ylim(0, top)
    axes.plot(
        [point.capacity_tokens for point in points],
        [point.hit_rate for point in points],
        "o",
        color=canvas.VERMILION,
        markersize=5,
        label="replay of the experiment, by tokens",
    )
    start, end = axes.get_xlim()
    taken: list[tuple[float, float, float]] = []  # names so far: left, right, height in the panel
    for point in points:
        name = units.shortened(point.system)
        x = math.log(point.capacity_tokens / start) / math.log(end / start)
        y, width = point.hit_rate / top, NAME_WIDTH * len(name)
        lru = lru_rate(study, point.capacity_tokens) / top
        if y - lru > NAME_HEIGHT / 2 and x > width + NAME_GAP:
            left, anchor = x - NAME_GAP - width, (1.0, 0.5)
        elif x + NAME_GAP + width > 1:
            left, y, anchor = 1 - width, y - 2 * NAME_HEIGHT, (0.5, 1.0)
        else:
            left, y, anchor = x + NAME_GAP, y - NAME_HEIGHT, (0.0, 0.5)
        others = [height for a, b, height in taken if a < left + width and left < b]
        y = _free(y, others)
        taken.append((left, left + width, y))
        line = {"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3}
        axes.annotate(
            name,
            (point.capacity_tokens, point.hit_rate),
            (left if anchor[0] < 1 else left + width, y),
            textcoords="axes fraction",
            ha="left" if anchor[0] < 1 else "right",
            va="center",
            fontsize=7.5,
            arrowprops={**line, "relpos": anchor},
        )


def _free(y: float, others: list[float]) -> float:
    """The next place at or below ``y`` that is no other name's, or above it where there is none."""
    steps = [y - i * NAME_HEIGHT / 4 for i in range(int(4 / NAME_HEIGHT))]
    below = [place for place in steps if place > NAME_HEIGHT / 2]
    above = [NAME_HEIGHT / 2 + i * NAME_HEIGHT / 4 for i in range(len(steps))]
    places = (place for place in below + above if all(abs(place - o) >= NAME_HEIGHT for o in others))
    return next(places, y)
