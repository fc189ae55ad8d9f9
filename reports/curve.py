"""The hit-rate curve for a reader: a table, a CSV file, a figure and a page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import canvas, files, units
from reports.canvas import Picture
from reports.frame import Part
from reports.frame import rows as rows_of
from reports.frame import study as page
from reports.inline import image
from sim.results.records import Ints
from sim.studies.curve import Curve
from sim.studies.curve_sampled import CurveStudy, log_spaced

FILES = ("curve.csv", "curve.png", "curve.html")
COLUMNS = (
    "capacity_blocks",
    "capacity_tokens",
    "hit_blocks",
    "hit_rate_blocks",
    "hit_tokens",
    "hit_rate_tokens",
)
MOST_ROWS = 2000
"""The file has every capacity at which the curve changes if they are no more, else so many log-spaced."""
SIZES = ("of the most hits", "capacity, blocks", "capacity, tokens", "hit rate, by tokens")
REPLAYS = ("system", "capacity, tokens", "hit rate, by tokens", "LRU curve there")
MEMORY = ("engine", "KV memory, tokens", "LRU curve there")
"""Headings of the tables."""
ENOUGH = 0.9
"""A cache that finds this share of the most hits is called large enough."""
SHARES = (0.50, 0.80, 0.90, 0.95, 0.99)
DRAWN_POINTS = 800
NAME_WIDTH, NAME_HEIGHT, NAME_GAP = 0.0135, 0.048, 0.03
"""Of a point's name: width of a letter, height, distance from the point, as shares of the panel."""


def write(study: CurveStudy, folder: Path) -> list[Path]:
    """Write curve.csv, curve.png and curve.html into ``folder``, all or none, and return where they are."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows(study)])
    contents = (text.getvalue().encode(), canvas.png(figure(study)), render(study).encode())
    files.put(folder, dict(zip(FILES, contents, strict=True)))
    return [folder / name for name in FILES]


def rows(study: CurveStudy) -> list[tuple[int, int, int, str, int, str]]:
    """The rows of curve.csv: hits from each capacity on, up to the next row's where all are listed."""
    curve, size = study.curve, study.curve.blocks.size_tokens
    at = capacities(curve, [point.capacity_tokens // size for point in study.points])
    columns = (
        at,
        at * size,
        curve.hit_blocks(at),
        curve.rate_blocks(at),
        curve.hit_tokens(at),
        curve.rate_tokens(at),
    )
    return [
        (blocks, tokens, hit_blocks, f"{by_blocks:.9f}", hit_tokens, f"{by_tokens:.9f}")
        for blocks, tokens, hit_blocks, by_blocks, hit_tokens, by_tokens in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def capacities(curve: Curve, also: Sequence[int] = (), most: int = MOST_ROWS) -> Ints:
    """Capacities in blocks at which the curve is written: where it changes, or ``most`` log-spaced ones.

    One block, the smallest capacity with all hits, and those in ``also`` are always among them.
    """
    rising = np.flatnonzero(curve.slopes)
    low, high = curve.knots[rising].astype(np.int64), curve.knots[rising + 1].astype(np.int64)
    if int((high - low).sum()) <= most:
        inner = [np.arange(a + 1, b + 1) for a, b in zip(low, high, strict=True)]
    else:
        inner = [log_spaced(curve.full_blocks, most)]
    ends = np.array([1, curve.full_blocks, *(size for size in also if size > 0)], dtype=np.int64)
    return np.unique(np.concatenate([*inner, ends]))


def table(study: CurveStudy) -> RenderableType:
    """What the curve says, for the terminal: sizes for shares of the most hits, and the own caches."""
    out = Table(title=Text(f"LRU hit rate by cache size: {study.name}", "bold"), title_justify="left")
    for heading in SIZES:
        out.add_column(heading, justify="right")
    for cells in sizes(study):
        out.add_row(*cells)
    parts: list[RenderableType] = [out, *(Text(line) for line in notes(study))]
    if study.points:
        parts += [Text(), _points_table(study)]
    return Group(*parts)


def notes(study: CurveStudy) -> list[str]:
    """How the curve was made and what it adds up to, a sentence each."""
    blocks, sample = study.curve.blocks, study.sample
    by_blocks = units.percent(blocks.most_hit_blocks / blocks.references)
    by_tokens = units.percent(blocks.most_hit_tokens / blocks.input_tokens)
    lines = [
        f"Blocks: the trace's own ids of {blocks.size_tokens} tokens; a partial last one counts one."
        if blocks.own_ids
        else f"Blocks: all full blocks of {blocks.size_tokens} tokens of the prompts; no replies.",
        f"Most hits: {by_tokens} of {units.tokens(blocks.input_tokens)} prompt tokens, "
        f"{by_blocks} of {units.count_of(blocks.references)} blocks.",
        f"Working set: {units.count_of(blocks.working_set_blocks)} distinct blocks, "
        f"{units.tokens(blocks.working_set_tokens)} tokens.",
    ]
    if sample is not None:
        kind = "estimated from the sample" if sample.truth is None else "measured against the exact curve"
        lines.append(
            f"Sampled at {sample.rate:g}: {units.count_of(sample.followed)} of "
            f"{units.count_of(sample.segments)} segments. Error of the hit rate by blocks, {kind}: mean "
            f"{_points(sample.error.mean)}, largest {_points(sample.error.largest)} percentage points."
        )
    return lines


def _points(error: float) -> str:
    """An error of a rate in percentage points, rounded up."""
    return f"{math.ceil(error * 1e4) / 1e2:.2f}"


def _points_table(study: CurveStudy) -> Table:
    out = Table(title=Text("Replays of the experiment", "bold"), title_justify="left")
    out.add_column("system", overflow="fold")
    for heading in REPLAYS[1:]:
        out.add_column(heading, justify="right")
    for name, *cells in replays(study):
        out.add_row(Text(name), *cells)
    return out


def replays(study: CurveStudy) -> list[tuple[str, str, str, str]]:
    """The experiment's own caches: name, capacity, what they found, and the curve there."""
    size, out = study.curve.blocks.size_tokens, []
    for point in study.points:
        there = float(study.curve.rate_tokens([point.capacity_tokens // size])[0])
        figures = units.tokens(point.capacity_tokens), units.percent(point.hit_rate), units.percent(there)
        out.append((units.printable(point.system), *figures))
    return out


def sizes(study: CurveStudy) -> list[tuple[str, str, str, str]]:
    """How large a cache has to be for shares of the most hits: share, blocks, tokens, hit rate."""
    curve, out = study.curve, []
    for share in (*SHARES, 1.0):
        size = curve.capacity_for(share)
        tokens = units.tokens(size * curve.blocks.size_tokens)
        rate = units.percent(float(curve.rate_tokens([size])[0]))
        out.append((f"{share:.0%}", units.count_of(size), tokens, rate))
    return out


def answer(study: CurveStudy) -> str:
    """How large a cache is worth having, in a sentence."""
    curve, blocks = study.curve, study.curve.blocks
    most, enough = curve.full_blocks * blocks.size_tokens, curve.capacity_for(ENOUGH) * blocks.size_tokens
    share = units.percent(blocks.most_hit_tokens / blocks.input_tokens)
    said = (
        f"A cache of {units.tokens(enough)} tokens finds {ENOUGH:.0%} of what an endless one would; the "
        f"most, {share} of the prompt tokens, takes {units.tokens(most)}."
    )
    if study.memory_tokens:
        name, tokens = next(iter(study.memory_tokens.items()))
        there = units.percent(float(curve.rate_tokens([tokens // blocks.size_tokens])[0]))
        said += (
            f" Today's KV memory of {units.printable(name)}, {units.tokens(tokens)}, would find {there}."
        )
    return said


CAPTION = (
    "What an LRU cache finds of the prompts, by its size (logarithmic). Where the curve is flat a larger "
    "cache brings nothing. Dashed lines are the KV memory of engines, replicas together; dots are caches "
    "of the experiment, of which others than LRU may lie off the curve."
)
DEFINITIONS = (
    (
        "Hit rate, by tokens and by blocks",
        "Prompt tokens, or blocks of them, that the cache held, as a share of all.",
    ),
    (
        "Of the most hits",
        "A cache without limit finds every block but the first time it is used: the most hits.",
    ),
    ("Working set", "All distinct blocks: what a cache without limit would hold at the end."),
    (
        "LRU",
        "What was not used for longest goes first. One pass over the trace gives every size at once "
        "(Mattson, 1970).",
    ),
)


def render(study: CurveStudy) -> str:
    """The page as HTML5 text, self-contained, in the frame of all pages."""
    curve, size = study.curve, study.curve.blocks.size_tokens
    parts = [
        Part(
            "Hit rate by cache size",
            images=[image(Picture(figure(study), CAPTION))],
            headings=SIZES,
            rows=rows_of(sizes(study)),
            sorts=False,
        )
    ]
    if study.points:
        parts.append(Part("Caches of the experiment", headings=REPLAYS, rows=rows_of(replays(study))))
    if study.memory_tokens:
        about = "What one LRU cache as large as the KV memory of all replicas would find."
        found = [
            (name, units.tokens(tokens), units.percent(float(curve.rate_tokens([tokens // size])[0])))
            for name, tokens in study.memory_tokens.items()
        ]
        parts.append(Part("KV memory today", about, headings=MEMORY, rows=rows_of(found)))
    return page(
        subject="hit rate by cache size",
        about="What an LRU cache of every size would find of this workload's prompts.",
        name=study.name,
        answer=units.unbroken(answer(study)),
        notes=notes(study),
        parts=parts,
        definitions=DEFINITIONS,
    )


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
        there = float(curve.rate_tokens([tokens // size])[0])
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
    size, (start, end) = study.curve.blocks.size_tokens, axes.get_xlim()
    taken: list[tuple[float, float, float]] = []  # names so far: left, right, height in the panel
    for point in points:
        name = units.shortened(point.system)
        x = math.log(point.capacity_tokens / start) / math.log(end / start)
        y, width = point.hit_rate / top, NAME_WIDTH * len(name)
        lru = float(study.curve.rate_tokens([point.capacity_tokens // size])[0]) / top
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
