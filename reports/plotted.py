"""What a finished figure has drawn, as numbers: for hovering, for its CSV, and for tests.

Read from matplotlib's own artists, so that what is shown and what can be downloaded cannot differ. Lines,
dots, bars and error bars with a label count; what has none (frames, zero lines, shades) does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, PercentFormatter

from reports import canvas
from sim.results.records import Floats

DIGITS = 6
"""Significant ones of a number in a page."""
Value = float | str | None


@dataclass(slots=True)
class Series:
    """One line, one set of dots or the bars of one colour."""

    name: str
    x: list[Value]
    y: list[Value]
    low: list[Value] = field(default_factory=list)
    """Lower ends of the intervals; empty where there are none."""
    high: list[Value] = field(default_factory=list)
    places: list[list[Value]] = field(default_factory=list)
    """Where the points lie, of a series whose x or y are names."""
    boxes: list[list[float]] = field(default_factory=list)
    """Of bars: left, bottom, width and height in the coordinates of the panel."""
    gid: str = ""
    """Of the group in the SVG."""


@dataclass(slots=True)
class Panel:
    """One pair of axes: where it lies in the figure, its scales, and its series."""

    title: str
    x: str
    y: str
    box: list[float]
    """Left, top, width and height, as shares of the figure."""
    x_ends: list[float]
    y_ends: list[float]
    x_log: bool
    y_log: bool
    series: list[Series]


def label(figure: Figure) -> None:
    """Give every series a name by which its group in the SVG is found; before it is drawn."""
    drawn = (one for axes in figure.axes for one in _of_axes(axes))
    for i, (artist, _) in enumerate(drawn):
        if artist is not None:
            artist.set_gid(f"s{i}")


def panels(figure: Figure) -> list[Panel]:
    """The panels of a figure that was drawn (only then its layout is known)."""
    numbers = iter(range(10**6))
    out = []
    for axes in figure.axes:
        place = axes.get_position()
        series = [made for _, made in _of_axes(axes)]
        for one in series:
            one.gid = f"s{next(numbers)}"
        out.append(
            Panel(
                title=axes.get_title(loc="left"),
                x=axes.get_xlabel(),
                y=axes.get_ylabel(),
                box=[round(v, 6) for v in (place.x0, 1 - place.y1, place.width, place.height)],
                x_ends=list(axes.get_xlim()),
                y_ends=list(axes.get_ylim()),
                x_log=axes.get_xscale() == "log",
                y_log=axes.get_yscale() == "log",
                series=series,
            )
        )
    return out


def _of_axes(axes: Axes) -> list[tuple[Artist | None, Series]]:
    """Every series of a panel with the line or the dots that show it."""
    out: list[tuple[Artist | None, Series]] = []
    inside: set[int] = set()  # lines that are part of error bars
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer):
            line, caps, bars = container.lines
            inside |= {id(artist) for artist in (line, *caps)}
            if _named(container) and line is not None:
                made = _line(str(container.get_label()), line, axes)
                ends = [np.asarray(segment) for segment in bars[0].get_segments()] if bars else []
                sideways = container.has_xerr
                made.low = [_short(s[0][0 if sideways else 1]) if len(s) else None for s in ends]
                made.high = [_short(s[-1][0 if sideways else 1]) if len(s) else None for s in ends]
                out.append((line, made))
        elif isinstance(container, BarContainer) and _named(container):
            out.append((None, _bars(container, axes)))
    for line in axes.lines:
        if id(line) not in inside and _named(line) and line.get_transform() == axes.transData:
            out.append((line, _line(str(line.get_label()), line, axes)))
    for dots in axes.collections:
        if isinstance(dots, PathCollection) and _named(dots):
            at = np.asarray(dots.get_offsets(), dtype=float)
            out.append((dots, _series(str(dots.get_label()), at[:, 0], at[:, 1], axes)))
    for image in axes.images:
        cells = np.asarray(image.get_array(), dtype=float)
        rows = _values(axes.yaxis, range(cells.shape[0]))
        columns = _values(axes.xaxis, range(cells.shape[1]))
        out += [
            (None, Series(str(c), rows, [_short(v) for v in cells[:, i]])) for i, c in enumerate(columns)
        ]
    return out


def _named(artist: Any) -> bool:
    return bool(artist.get_label()) and not str(artist.get_label()).startswith("_")


def _line(name: str, line: Line2D, axes: Axes) -> Series:
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    return _series(name, x, y, axes)


def _series(name: str, x: Floats, y: Floats, axes: Axes) -> Series:
    made = Series(name, _values(axes.xaxis, x), _values(axes.yaxis, y))
    if any(isinstance(value, str) for value in (*made.x[:1], *made.y[:1])):
        made.places = [[_short(a), _short(b)] for a, b in zip(x, y, strict=True)]
    return made


def _bars(container: BarContainer, axes: Axes) -> Series:
    boxes = [[b.get_x(), b.get_y(), b.get_width(), b.get_height()] for b in container.patches]
    along = container.orientation == "horizontal"
    sizes: list[Value] = [_short(box[2 if along else 3]) for box in boxes]
    at = [box[1 if along else 0] + box[3 if along else 2] / 2 for box in boxes]
    names = _values(axes.yaxis if along else axes.xaxis, at)
    x, y = (sizes, names) if along else (names, sizes)
    shown = [[_short(v) or 0.0 for v in box] for box in boxes]
    return Series(str(container.get_label()), x, y, boxes=shown)


def _values(axis: Axis, at: Iterable[float]) -> list[Value]:
    """Positions as numbers, or as the names that stand at the nearest ticks where the axis has names."""
    named = isinstance(axis.get_major_locator(), FixedLocator)
    if not named or isinstance(axis.get_major_formatter(), canvas.Plain | PercentFormatter):
        return [_short(v) for v in at]
    places = np.asarray(axis.get_majorticklocs(), dtype=float)
    names = [name.replace("\n", " ") for name in axis.get_major_formatter().format_ticks(places.tolist())]
    return [names[int(np.abs(places - v).argmin())] for v in at] if len(places) else []


def _short(value: float) -> float | None:
    """A number with as many digits as a page carries; None for what is not one."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
