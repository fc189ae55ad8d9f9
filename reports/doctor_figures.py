"""Figures of the doctor: dollars by cause, what each change saves, what was lost over time."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np

from reports import canvas, units
from reports.canvas import Figure, Picture
from reports.doctor import NOTHING_USD, in_order
from sim.doctor.outcome import CauseEntry, Diagnosis, GroupEntry, WhatIf

BAR_IN, AROUND_IN = 0.34, 1.0
"""Height of a bar with its text, and of everything around the bars."""
NAME_WIDTH, TEXT_IN, GAP_IN = 40, 0.13, 0.16
"""Characters of a line of a change's name, its height, and what is free between two names."""
MOST = 14
"""So many bars at most."""
CAUSES = "What each cause of misses cost: writing tokens that could have been read, above reading them."
CHANGES = (
    "What the same calls would have cost less (right of zero) or more had the client done one thing "
    "otherwise; what costs far more, and other models, are in the table alone. Lines are "
    "95 % intervals over resampled sessions."
)
TIME = "The part of the input bill that was lost to misses, first calls of threads left out."


def of_causes(diagnosis: Diagnosis) -> list[Picture]:
    """Dollars by cause."""
    found = [one for one in diagnosis["causes"] if one["usd"] >= NOTHING_USD]
    return [Picture(causes(found), CAUSES)] if len(found) > 1 else []


def of_changes(diagnosis: Diagnosis) -> list[Picture]:
    """What each change of the client saves."""
    found = [one for one in in_order(diagnosis["what_if"]) if one["kind"] != "other answers"]
    largest = max((one["usd"] for one in found if one["usd"] > 0), default=0.0)
    seen = [one for one in found if one["usd"] > -3 * largest or not largest]
    return [Picture(changes(seen[:MOST]), CHANGES)] if len(seen) > 1 else []


def of_time(diagnosis: Diagnosis) -> list[Picture]:
    """What was lost, day by day."""
    days = diagnosis["by_day"]
    return [Picture(over_time(days), TIME)] if len(days) > 2 else []


@canvas.styled
def causes(found: Sequence[CauseEntry]) -> Figure:
    """Bars of dollars, a cause each."""
    figure, axes = canvas.new("What misses cost", "USD", "", height_in=AROUND_IN + BAR_IN * len(found))
    at = np.arange(len(found))
    axes.barh(at, [one["usd"] for one in found], 0.6, color=canvas.ORANGE)
    axes.set_yticks(at, [one["cause"].replace("_", " ") for one in found])
    for y, one in zip(at, found, strict=True):
        axes.annotate(f" {units.usd(one['usd'])}", (one["usd"], float(y)), va="center", fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(canvas.plain())
    return figure


@canvas.styled
def changes(found: Sequence[WhatIf]) -> Figure:
    """Dots with intervals, a change each, named in full beside its line."""
    names = [wrap(units.printable(one["change"]) + _kind(one), NAME_WIDTH) for one in found]
    ends = np.cumsum([len(lines) * TEXT_IN + GAP_IN for lines in names])
    at = [end - (len(lines) * TEXT_IN + GAP_IN) / 2 for end, lines in zip(ends, names, strict=True)]
    figure, axes = canvas.new(
        "What each change would have saved", "saved, USD", "", height_in=AROUND_IN + float(ends[-1])
    )
    for y, one in zip(at, found, strict=True):
        colour = canvas.BLUE if one["usd"] > 0 else canvas.VERMILION
        if one["interval"] is not None:
            axes.plot(one["interval"], (y, y), color=colour, linewidth=1.5)
        axes.plot([one["usd"]], [y], "o", color=colour, markersize=4)
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_ylim(float(ends[-1]), 0)
    axes.set_yticks(at, ["\n".join(lines) for lines in names], fontsize=7.5)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(canvas.plain())
    return figure


def _kind(one: WhatIf) -> str:
    return " (upper\u00a0bound)" if one["kind"] == "upper bound" else ""


@canvas.styled
def over_time(days: Sequence[GroupEntry]) -> Figure:
    """Lost shares, a bar a day."""
    figure, axes = canvas.new("Lost, part of the bill", "", "%")
    axes.bar(np.arange(len(days)), [100 * one["lost_share"] for one in days], 0.7, color=canvas.ORANGE)
    step = max(1, len(days) // 6)
    axes.set_xticks(np.arange(len(days))[::step], [one["name"] for one in days][::step])
    axes.set_ylim(0)
    return figure
