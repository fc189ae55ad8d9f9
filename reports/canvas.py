"""What all figures share: colours, fonts, an empty figure, and deterministic bytes of a finished one.

Colours are written as those of a light page; `THEMED` says which variable of `style.css` each becomes in a
page, where a dark mode gives it another tint.

``matplotlib.pyplot`` is not used: it takes seconds to import and keeps every figure alive.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's set, safe for colour-blind readers. The first two also differ in a grey print.
ORANGE, BLUE, GREEN, PURPLE, VERMILION, SKY, BLACK = (
    "#E69F00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#000000",
)
WITHOUT, WITH = ORANGE, BLUE
COMPUTED, CACHED = ORANGE, BLUE
OUTPUT = PURPLE
IDLE, GREY, LINE, MIDDLE = "#DDDDDD", "#B4BAC2", "#555555", "#999999"
"""What is held but unused; what stands behind; zero lines and frames; helping lines."""
LINES = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, BLACK)
DASHES = ("-", (0, (7, 2)), "-.", ":")
"""Of lines in the same colour, so that two that lie on each other are both seen."""
THEMED = {
    colour.lower(): f"var(--{name})"
    for name, colour in {
        "orange": ORANGE, "blue": BLUE, "green": GREEN, "purple": PURPLE, "vermilion": VERMILION,
        "sky": SKY,
        "idle": IDLE, "faint": GREY, "axis": LINE, "middle": MIDDLE, "grid": "#E6E6E6",
    }.items()
} | {"#000000": "currentColor", "#ffffff": "none"}  # fmt: skip
"""Colours of figures and the variables that stand for them in a page; black is the page's ink."""

WIDTH_IN, HEIGHT_IN = 5.6, 3.6
PNG_DPI = 160
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.edgecolor": "#555555",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "prefixsim",
}
Bar = tuple[str, tuple[float, ...]]
"""A bar's text and the lengths of its parts."""
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and the sentence below it."""

    figure: Figure
    caption: str


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Run ``function`` with the house style, whatever the user's own matplotlib settings are."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return inside


def empty(height_in: float) -> Figure:
    """A figure without panels."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new(title: str, x: str, y: str, height_in: float = HEIGHT_IN) -> tuple[Figure, Axes]:
    """An empty figure of one panel, with its title and axis labels; units belong into the labels."""
    figure = empty(height_in)
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def legend(figure: Figure, columns: int = 2) -> None:
    """The legend below the panel, where it cannot cover data."""
    if any(axes.get_legend_handles_labels()[0] for axes in figure.axes):
        figure.legend(loc="outside lower center", ncols=columns)


class Plain(FuncFormatter):
    """Ticks that are numbers; `plotted` tells them from names by it."""


def plain(scale: float = 1.0, unit: str = "") -> Plain:
    """Ticks as numbers with thousands separators, divided by ``scale``, which ``unit`` stands for."""

    def text(value: float, position: int | None) -> str:
        shown = value / scale
        if 0 < abs(shown) < 1e-4:  # never in exponent form
            return f"{shown:.12f}".rstrip("0") + unit
        return (f"{shown:,.0f}" if abs(shown) >= 1e6 else f"{shown:,.6g}") + unit * bool(value)

    return Plain(text)


def log(axes: Axes, which: str) -> None:
    """Make an axis, x or y, logarithmic, with 1, 2, 5, 10 as they are written as far as they find room.

    An axis on which fewer than two of them lie has all digits.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    subs: tuple[int, ...] = (1, 2, 5) if high / low < 300 else (1,)
    if sum(low <= tick <= high for tick in LogLocator(subs=subs).tick_values(low, high)) < 2:
        subs = tuple(range(1, 10))
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(plain())
    axis.set_minor_formatter(NullFormatter())


def stacked(axes: Axes, bars: list[Bar], kinds: tuple[tuple[str, str], ...]) -> None:
    """Horizontal stacked bars with their text above them, the first bar on top."""
    at = np.arange(len(bars))
    left = np.zeros(len(bars))
    for i, (kind, colour) in enumerate(kinds):
        width = np.array([parts[i] for _, parts in bars])
        if width.any():
            axes.barh(at, width, 0.42, left=left, color=colour, label=kind)
        left += width
    for y, (text, _) in zip(at, bars, strict=True):
        axes.annotate(
            text, (0, float(y) - 0.24), (1, 2), textcoords="offset points", va="bottom", fontsize=8.5
        )
    axes.set_ylim(len(bars) - 0.6, -0.65)
    axes.set_yticks(at, [text.partition(":")[0] for text, _ in bars])
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, float(left.max()) * 1.02 or 1.0)
    axes.xaxis.set_major_formatter(plain())


def mark(*calibrated: bool | None) -> str:
    """The mark that every figure with uncalibrated times carries; given is what each system has."""
    return " (uncalibrated)" if any(one is False for one in calibrated) else ""


def sides(value: float, ends: tuple[float, float]) -> list[list[float]]:
    """How far the ends of an interval are below and above ``value``, as error bars want it."""
    low, high = ends
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def time_scale(latest_s: float) -> tuple[str, int]:
    """The unit of an axis of times up to ``latest_s``, and the seconds of one."""
    return ("h", 3600) if latest_s >= 7200 else ("min", 60) if latest_s >= 300 else ("s", 1)


@styled
def svg(figure: Figure) -> bytes:
    """The figure as SVG: the same bytes for the same figure."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


@styled
def png(figure: Figure) -> bytes:
    """The figure as PNG: the same bytes for the same figure."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return out.getvalue()


__all__ = ["Bar", "Figure", "Picture", "legend", "new", "plain", "png", "stacked", "styled", "svg"]
