"""Figures of a sweep: each metric over an axis, and two metrics against each other with their front."""

from __future__ import annotations

import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from reports import canvas, units
from reports.canvas import Picture
from reports.figure_text import TIMES
from sim.studies.axes import Label, short_names, shown
from sim.studies.metric import Metric
from sim.studies.sweep import Row, Sweep

WIDE = 16
"""From this ratio of the largest to the smallest setting on, an axis of numbers is logarithmic."""
MOST_LINES = 24
"""More lines cannot be told apart; the others are in the table."""
MOST_LABELLED = 8
"""Points of a front that carry their names."""
SYSTEM = "system"


def of(study: Sweep) -> dict[str, Picture]:
    """The figures by the names of their files: one for each metric that has values, then the front."""
    out = {}
    known = [metric for metric in study.metrics if any(row.mean(metric) for row in study.rows)]
    for metric in known:
        out[metric.path.replace(".", "-").replace("/", "-")] = over_an_axis(study, metric)
    if study.pareto and study.pareto.rows:
        out["pareto"] = pareto(study)
    return out


@canvas.styled
def over_an_axis(study: Sweep, metric: Metric) -> Picture:
    """A metric over the axis with most settings, numbers first; a line for every other combination."""
    names = [axis.name for axis in study.axes]
    short = dict(zip([*names, SYSTEM], [*short_names(names), SYSTEM], strict=True))
    places = [row.point.labels | {SYSTEM: row.system} for row in study.rows]
    varying = [name for name in short if len({shown(place[name]) for place in places}) > 1]
    x = max(varying or [SYSTEM], key=lambda name: _worth(name, places))
    lines: dict[str, list[tuple[Label, Row]]] = {}
    for place, row in zip(places, study.rows, strict=True):
        label = ", ".join(_named(short[name], place[name]) for name in varying if name != x)
        lines.setdefault(label, []).append((place[x], row))
    figure, axes = canvas.new(
        metric.name.replace("_", " "), short[x], _label(study, metric), height_in=3.4 + 0.1 * len(lines)
    )
    position = _scale(axes, [place[x] for place in places])
    for i, (label, points) in enumerate(list(lines.items())[:MOST_LINES]):
        _line(axes, i, label, metric, [(position(setting), row) for setting, row in points])
    _ticks(axes, metric)
    _within(axes, metric, [mean.value for row in study.rows if (mean := row.mean(metric)) is not None])
    canvas.legend(figure, 1 if max(map(len, lines)) > 40 else 2)
    caption = f"Mean of {len(study.seeds)} seeds at each point."
    if len(study.seeds) > 1:
        caption += " Bars are 95 % intervals of the mean."
    else:
        caption = "One seed: how far another would lie from it is not known."
    if len(lines) > MOST_LINES:
        caption += f" {len(lines) - MOST_LINES} more lines are left out; the table has them."
    return Picture(figure, caption)


def _worth(name: str, places: list[dict[str, Label]]) -> tuple[bool, bool, int]:
    """How well an axis does as the horizontal one: numbers, then settings, then many of them."""
    labels = {shown(place[name]): place[name] for place in places}
    return all(map(_is_number, labels.values())), name != SYSTEM, len(labels)


def _is_number(label: Label) -> bool:
    return isinstance(label, int | float) and not isinstance(label, bool)


def _named(name: str, label: Label) -> str:
    return units.shortened(str(label) if name == SYSTEM else f"{name} {shown(label)}", 40)


def _scale(axes: Axes, settings: list[Label]) -> Callable[[Label], float]:
    """Set the horizontal axis up; return where on it a setting lies."""
    if all(map(_is_number, settings)):
        numbers = sorted({float(setting) for setting in settings if setting is not None})
        if numbers[0] > 0 and numbers[-1] / numbers[0] >= WIDE:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(numbers if len(numbers) <= 10 else numbers[:: math.ceil(len(numbers) / 10)])
        axes.xaxis.set_major_formatter(canvas.plain())
        return lambda setting: float(setting) if setting is not None else math.nan
    order = {name: i for i, name in enumerate(dict.fromkeys(shown(setting) for setting in settings))}
    short = [units.shortened(name, 18) for name in order]
    slanted = sum(map(len, short)) > 60
    axes.set_xticks(
        range(len(order)), short, rotation=30 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_xlim(-0.5, len(order) - 0.5)
    return lambda setting: order[shown(setting)]


def _line(axes: Axes, i: int, label: str, metric: Metric, points: list[tuple[float, Row]]) -> None:
    """A line with intervals through the points that have a value."""
    # Both change from line to line, so that lines on top of each other are seen; no pair comes twice.
    colour, dash = canvas.LINES[i % 6], canvas.DASHES[(i + i // 12) % 4]
    known = [(x, mean) for x, row in points if (mean := row.mean(metric)) is not None]
    axes.errorbar(
        [x for x, _ in known],
        [mean.value for _, mean in known],
        yerr=[mean.half or 0.0 for _, mean in known],
        color=colour,
        linestyle=dash,
        marker="o",
        markersize=3.5,
        capsize=2.5,
        label=label or None,
    )


def _label(study: Sweep, metric: Metric) -> str:
    """A metric as the label of an axis, with its unit, and the mark of times that are not measured."""
    times = any(row.calibrated is False for row in study.rows) and metric.unit in TIMES
    told = metric.unit == "0-1" or metric.name.endswith(f"_{metric.unit}")
    unit = "" if told else f", {metric.unit}"
    return f"{metric.name}{unit}{canvas.mark(False) if times else ''}"


def _ticks(axes: Axes, metric: Metric) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0) if metric.unit == "0-1" else canvas.plain())


def _within(axes: Axes, metric: Metric, values: list[float]) -> None:
    """Cut intervals off where no figure can be: below 0 if none is there, of a share above 1."""
    low, high = axes.get_ylim()
    if low < 0 <= min(values, default=-1.0):
        axes.set_ylim(bottom=0)
    if metric.unit == "0-1" and high > 1 >= max(values):
        axes.set_ylim(top=1.02)


@canvas.styled
def pareto(study: Sweep) -> Picture:
    """All points by two metrics; those that nothing beats in both are joined and named."""
    assert study.pareto is not None
    x, y, on_front = study.pareto.x, study.pareto.y, study.pareto.rows
    figure, axes = canvas.new(
        f"{x.name} and {y.name}".replace("_", " "), _label(study, x), _label(study, y), height_in=4.0
    )
    at = [row.pair(x, y) for row in study.rows]
    others = [place for i, place in enumerate(at) if place is not None and i not in on_front]
    line = [place for i in on_front if (place := at[i]) is not None]
    if others:
        axes.plot(
            *zip(*others, strict=True), "o", color=canvas.SKY, markersize=4, label="beaten by another"
        )
    axes.plot(*zip(*line, strict=True), "o-", color=canvas.BLUE, markersize=5, label="Pareto front")
    low, high = axes.get_xlim()
    for i in on_front[:MOST_LABELLED]:
        place = at[i]
        assert place is not None
        right = place[0] > low + 0.6 * (high - low)
        row = study.rows[i]
        several = len({row.system for row in study.rows}) > 1
        words = f"{row.point}, {row.system}" if several else str(row.point)
        axes.annotate(
            units.shortened(words.replace(" = ", " "), 40), place, (-5 if right else 5, 5),
            textcoords="offset points", fontsize=7.5, ha="right" if right else "left",
        )  # fmt: skip
    axes.margins(y=0.15)
    for axis, metric in ((axes.xaxis, x), (axes.yaxis, y)):
        percent = metric.unit == "0-1"
        formatter: FuncFormatter | PercentFormatter = PercentFormatter(1.0) if percent else canvas.plain()
        axis.set_major_formatter(formatter)
    canvas.legend(figure)
    better = " and ".join(
        f"{'higher' if metric.higher_is_better else 'lower'} {metric.name}" for metric in (x, y)
    )
    return Picture(figure, f"Every system at every point, means over the seeds. Better: {better}.")
