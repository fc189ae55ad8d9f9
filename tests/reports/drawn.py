"""What a figure has drawn, as numbers."""

from __future__ import annotations

import numpy as np
from matplotlib.container import BarContainer, Container
from matplotlib.lines import Line2D


def points(line: Line2D) -> tuple[list[float], list[float]]:
    """x and y of a line."""
    x, y = (np.asarray(values, dtype=float).tolist() for values in line.get_data())
    return x, y


def lengths(bars: Container) -> list[float]:
    """Of the bars of one colour, in their order."""
    assert isinstance(bars, BarContainer)
    values: list[float] = np.asarray(bars.datavalues, dtype=float).tolist()
    return values
