"""The hit-rate curve for a reader: a table, a CSV file, a figure and a page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import canvas, files, units
from reports.canvas import Picture
from reports.curve_figure import figure, lru_rate
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
    out = []
    for point in study.points:
        there = lru_rate(study, point.capacity_tokens)
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
        there = units.percent(lru_rate(study, tokens))
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
            (name, units.tokens(tokens), units.percent(lru_rate(study, tokens)))
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
