"""Figures of a sweep: each metric over an axis, and two metrics against each other with their front."""

from __future__ import annotations

import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, PercentFormatter

from reports import canvas, looks, units
from reports.canvas import Picture
from reports.figure_text import TIMES
from sim.studies.axes import Label, short_names, shown
from sim.studies.means import mean
from sim.studies.metric import Metric, metric
from sim.studies.pareto import front
from sim.studies.sweep import Front, Row, Sweep

WIDE = 16
"""From this ratio of the largest to the smallest setting on, an axis of numbers is logarithmic."""
MOST_LINES = 24
"""More lines cannot be told apart; the others are in the table."""
LETTER_PX, LINE_PX = 6.0, 16.0
"""Room for a letter of a point's name and for its line, in pixels of the canvas."""
CUT = 0.75
"""An interval is shown as far as this share of the range of all means beyond them."""
SYSTEM = "system"


def of(study: Sweep) -> dict[str, Picture]:
    """The figures by the names of their files: one for each metric that has values, then the front."""
    out = {}
    known = [each for each in study.metrics if any(row.mean(each) for row in study.rows)]
    for each in known:
        out[each.path.replace(".", "-").replace("/", "-")] = over_an_axis(study, each)
    if study.pareto and study.pareto.rows:
        out["pareto"] = pareto(study, study.pareto)
    if (front := throughput_and_latency(study)) is not None:
        out["throughput-latency"] = pareto(study, front, "Throughput against latency")
    return out


def throughput_and_latency(study: Sweep) -> Front | None:
    """Tokens per second against p99 TTFT; None where fewer than three rows have both."""
    x, y = metric("total_token_throughput", ""), metric("p99_ttft_ms", "")
    at = [_pair(row, x, y) for row in study.rows]
    if len({pair for pair in at if pair is not None}) < 3:
        return None
    return Front(x, y, front(at, (True, False)))


def _pair(row: Row, x: Metric, y: Metric) -> tuple[float, float] | None:
    """The means of two figures over the seeds, whether the study asks for them or not."""
    means = [mean([figures.get(each.path) for figures in row.figures]) for each in (x, y)]
    a, b = means
    return (
        row.pair(x, y)
        if {x, y} <= row.values.keys()
        else None
        if a is None or b is None
        else (a.value, b.value)
    )


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
        caption += " Bars are 95 % intervals of the mean, cut far beyond all means."
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
    colours = len(canvas.LINES)
    colour, dash = canvas.LINES[i % colours], canvas.DASHES[i // colours % 4]
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
    """A range in which lines can be told apart, and where figures can be.

    Intervals of few seeds may be many times wider than all differences: they are cut at the frame. Nothing
    is shown below 0 if nothing is there, of a share above 1.
    """
    if not values:
        return
    low, high = axes.get_ylim()
    least, most = min(values), max(values)
    if least > 0 and most / least >= WIDE and metric.unit != "0-1":
        axes.set_ylim(max(low, least / 2) if low > 0 else least / 2, min(high, most * 2))
        canvas.log(axes, "y")
        return
    reach = CUT * (most - least or abs(most) or 1.0)
    low, high = max(low, least - reach), min(high, most + reach)
    axes.set_ylim(
        0 if low < 0 <= least else low, 1.02 if metric.unit == "0-1" and high > 1 >= most else high
    )


@canvas.styled
def pareto(study: Sweep, found: Front, title: str = "") -> Picture:
    """All points by two metrics; those that nothing beats in both are joined and named."""
    x, y, on_front = found.x, found.y, found.rows
    figure, axes = canvas.new(
        title or f"{x.name} and {y.name}".replace("_", " "),
        _label(study, x),
        _label(study, y),
        height_in=4.0,
    )
    at = [_pair(row, x, y) for row in study.rows]
    systems = list(dict.fromkeys(row.system for row in study.rows))
    for number, system in enumerate(systems):
        own = [
            (place, row)
            for place, row in zip(at, study.rows, strict=True)
            if place is not None and row.system == system
        ]
        colour = canvas.LINES[number] if number < len(canvas.LINES) else canvas.GREY
        for dot, row in own:
            axes.plot(
                [dot[0]], [dot[1]], "o", color=colour, markersize=4, label=_words(study, row) or system
            )
    line = [place for i in on_front if (place := at[i]) is not None]
    axes.plot(
        *zip(*line, strict=True), "-", color=canvas.BLACK, linewidth=1.0, label="Pareto front", zorder=1
    )
    known = [place for place in at if place is not None]
    for which, values in (("x", [p[0] for p in known]), ("y", [p[1] for p in known])):
        if min(values) > 0 and max(values) / min(values) >= WIDE:
            canvas.log(axes, which)
    axes.margins(y=0.15)
    _name(axes, {_values(study, study.rows[i]): place for i in on_front if (place := at[i]) is not None})
    for axis, each in ((axes.xaxis, x), (axes.yaxis, y)):
        if each.unit == "0-1":
            axis.set_major_formatter(PercentFormatter(1.0))
        elif axis.get_scale() != "log":
            axis.set_major_formatter(canvas.plain())
    handles = [Line2D([], [], color=canvas.BLACK, linewidth=1.0, label="Pareto front")]
    if len(systems) > 1:
        named = [(units.shortened(s), colour) for s, colour in zip(systems, canvas.LINES, strict=False)]
        if others := len(systems) - len(named):
            named.append((looks.grey(others), canvas.GREY))
        handles += [
            Line2D([], [], color=colour, marker="o", linestyle="", markersize=4, label=label)
            for label, colour in named
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    better = " and ".join(
        f"{'higher' if each.higher_is_better else 'lower'} {each.name}" for each in (x, y)
    )
    names = ", ".join([*short_names([axis.name for axis in study.axes]), *[SYSTEM] * (len(systems) > 1)])
    caption = f"Every system at every point, means over the seeds. Better: {better}."
    return Picture(figure, f"{caption} Names on the front: {names}." if names else caption)


def _name(axes: Axes, places: dict[str, tuple[float, float]]) -> None:
    """The names of as many points as find room, the outer ones first; hovering tells the others."""
    low, high = (axes.transData.transform((end, axes.get_ylim()[0]))[0] for end in axes.get_xlim())
    taken: list[tuple[float, float, float]] = []
    names = list(places.items())
    for name, place in [names[0], names[-1], *names[1:-1]]:
        text = units.shortened(name, 40)
        x, y = axes.transData.transform(place)
        right = x > low + 0.5 * (high - low)
        width = LETTER_PX * len(text)
        left = x - width if right else x
        if any(abs(y - b) < LINE_PX and left < a + w and a < left + width for a, b, w in taken):
            continue
        taken.append((left, y, width))
        axes.annotate(
            text, place, (-5 if right else 5, -9), textcoords="offset points", fontsize=7.5,
            ha="right" if right else "left",
        )  # fmt: skip


def _values(study: Sweep, row: Row) -> str:
    """Which row it is by its settings alone, in the order of the axes."""
    several = len({row.system for row in study.rows}) > 1
    return ", ".join([*(shown(label) for label in row.point.labels.values()), *[row.system] * several])


def _words(study: Sweep, row: Row) -> str:
    """Which row it is, in few words."""
    several = len({row.system for row in study.rows}) > 1
    words = f"{row.point}, {row.system}" if several and str(row.point) else str(row.point)
    return words.replace(" = ", " ")
