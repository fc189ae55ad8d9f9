"""What all figures share: colours, fonts, an empty figure, and deterministic bytes of a finished one.

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
from matplotlib.ticker import FuncFormatter

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
IDLE = "#DDDDDD"
LINES = (BLUE, GREEN, VERMILION, PURPLE, SKY, BLACK)
DASHES = ("-", (0, (7, 2)), "-.", ":")
"""Of the lines with a cache, so that two that lie on each other are both seen."""

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


def new(title: str, x: str, y: str, height_in: float = HEIGHT_IN) -> tuple[Figure, Axes]:
    """An empty figure of one panel, with its title and axis labels; units belong into the labels."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def legend(figure: Figure, columns: int = 2) -> None:
    """The legend below the panel, where it cannot cover data."""
    if any(axes.get_legend_handles_labels()[0] for axes in figure.axes):
        figure.legend(loc="outside lower center", ncols=columns)


def plain(scale: float = 1.0) -> FuncFormatter:
    """Ticks as numbers with thousands separators, divided by ``scale``."""
    return FuncFormatter(lambda value, position: f"{value / scale:,.6g}")


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
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, float(left.max()) * 1.02 or 1.0)
    axes.xaxis.set_major_formatter(plain())


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


def mark(calibrated: bool | None) -> str:
    """The mark that every figure with uncalibrated times carries."""
    return " (uncalibrated)" if calibrated is False else ""
