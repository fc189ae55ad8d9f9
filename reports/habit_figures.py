"""Figures of a study of client habits: prompt tokens and dollars under each habit, per system."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from reports import canvas, units
from reports.canvas import Figure, Picture
from sim.studies.habits import SESSIONS, HabitStudy
from sim.studies.habits import dollars as paid
from sim.studies.outputs import HabitFigures

ON_TINT = "#222222"
"""Text on a cell, whose tint is the same on light and dark pages."""
BAR_IN, AROUND_IN = 0.2, 1.25
"""Height of a bar with its gap, and of everything around the bars."""
GAP = 0.6
"""Between a bad habit and the next good habit, in bars."""
PER = f"per {SESSIONS:,} sessions"
TOKENS = (
    f"Prompt tokens sent {PER}, computed and read from the cache; the percentage is the share that was "
    "read. Each good habit stands above its bad habits, whose conversations are the same."
)
WRITTEN = " Written tokens are computed ones that the provider bills as cache writes."
DOLLARS = (
    f"Dollars {PER} beyond what the good habit costs on the same conversations; to the left of zero the "
    "habit is cheaper, because it sends less."
)
RELATIVE = (
    "What caching saves (blue) or costs (red) under each habit: dollars beyond those of the same prompts "
    "with caching off, as a share of them. Of GPUs by the hour only the time in which they compute counts."
)
BUSY = " GPUs by the hour: only the time in which they compute, since a habit does not change what is held."


def of_system(study: HabitStudy, system: str) -> list[Picture]:
    """The figures that apply to a system: dollars only where it has a price, none without a request."""
    if not any(both.good[system]["prompt_tokens"] for both in study.pairs.values()):
        return []
    billed = _first(study, system)["written_tokens"] is not None
    pictures = [Picture(tokens(study, system), TOKENS + WRITTEN * billed)]
    if priced(study, system):
        pricing = _first(study, system)["pricing"]
        pictures.append(Picture(dollars(study, system), DOLLARS + BUSY * (pricing == "gpu_hours")))
    return pictures


def priced(study: HabitStudy, system: str) -> bool:
    """Whether the system has a price."""
    return _first(study, system)["pricing"] is not None


def _first(study: HabitStudy, system: str) -> HabitFigures:
    return next(iter(study.pairs.values())).good[system]


@canvas.styled
def tokens(study: HabitStudy, system: str) -> Figure:
    """Prompt tokens computed and read from the cache, a bar for every habit."""
    bars: list[tuple[str, HabitFigures]] = []
    places: list[float] = []
    at, above = 0.0, None
    for name, compared in study.pairs.items():
        if compared.good_name != above:
            above = compared.good_name
            at += GAP if bars else 0
            bars.append((above, compared.good[system]))
            places.append(at)
            at += 1
        bars.append((name, compared.bad[system]))
        places.append(at)
        at += 1
    sent = np.array([figures["prompt_tokens"] for _, figures in bars])
    computed = np.array([figures["computed_tokens"] for _, figures in bars])
    written = np.array([figures["written_tokens"] or 0 for _, figures in bars])
    scale, unit = (units.MILLION, ", millions") if sent.max() >= units.MILLION else (1, "")
    figure, axes = canvas.new(
        f"Prompt tokens by habit: {units.shortened(system)}",
        f"prompt tokens {PER}{unit}",
        "",
        height_in=AROUND_IN + BAR_IN * at,
    )
    axes.barh(places, computed - written, 0.78, color=canvas.COMPUTED, label="computed")
    if written.any():
        left = computed - written
        axes.barh(places, written, 0.78, left=left, color=canvas.VERMILION, label="computed and written")
    axes.barh(
        places, sent - computed, 0.78, left=computed, color=canvas.CACHED, label="read from the cache"
    )
    for place, end, (_, figures) in zip(places, sent, bars, strict=True):
        _note(axes, end, place, units.rate(figures["hit_rate"]))
    axes.xaxis.set_major_formatter(canvas.plain(scale))
    axes.set_xlim(0, sent.max() * 1.12)
    _rows(axes, places, [name for name, _ in bars])
    canvas.legend(figure, 3)
    return figure


@canvas.styled
def overview(study: HabitStudy) -> Picture:
    """What caching saves under every habit (rows) on every system with a price (columns)."""
    systems = [system for system in study.config.systems if priced(study, system)]
    rows: dict[str, list[float]] = {}
    for name, compared in study.pairs.items():
        rows.setdefault(compared.good_name, [_beyond_off(compared.good[system]) for system in systems])
        rows[name] = [_beyond_off(compared.bad[system]) for system in systems]
    shares = np.array(list(rows.values()))
    figure, axes = canvas.new(
        "Dollars against caching off", "", "", height_in=AROUND_IN + BAR_IN * (len(rows) + 1)
    )
    reach = max(0.01, float(np.abs(shares).max()))
    axes.imshow(
        shares, cmap="RdBu_r", vmin=-1.8 * reach, vmax=1.8 * reach, aspect="auto"
    )  # dark text has a contrast of 4.8 at least
    for (row, column), share in np.ndenumerate(shares):
        text = ("+" if share > 0 else "") + f"{share * 100:.0f}%"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=ON_TINT)
    names = [units.shortened(system, 20) for system in systems]
    axes.set_xticks(range(len(systems)), names, rotation=30, ha="right", rotation_mode="anchor")
    _rows(axes, list(range(len(rows))), list(rows))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return Picture(figure, RELATIVE)


def _beyond_off(figures: HabitFigures) -> float:
    usd, without = paid(figures)
    return usd / without - 1 if usd is not None and without else 0.0


@canvas.styled
def dollars(study: HabitStudy, system: str) -> Figure:
    """What every bad habit costs beyond its good habit."""
    first = _first(study, system)
    amounts, what = [compared.more(system) for compared in study.pairs.values()], "dollars"
    more = [amount["cost_usd"] or 0.0 for amount in amounts]
    if first["pricing"] == "gpu_hours":
        what = f"dollars, GPU-hours busy{canvas.mark(first['calibrated'])}"
        more = [amount["cost_usd_busy"] or 0.0 for amount in amounts]
    figure, axes = canvas.new(
        f"Dollars of a habit: {units.shortened(system)}",
        f"more {what}, {PER}",
        "",
        height_in=AROUND_IN + BAR_IN * len(more) - 0.2,
    )
    places = list(range(len(more)))
    axes.barh(places, more, 0.78, color=[canvas.VERMILION if x > 0 else canvas.GREEN for x in more])
    for place, amount in zip(places, more, strict=True):
        _note(axes, amount, place, ("+" if amount > 0 else "") + units.usd(amount))
    reach = max(abs(amount) for amount in more) or 1.0
    lowest, highest = min([0.0, *more]), max([0.0, *more])
    axes.set_xlim(lowest - 0.28 * reach * (lowest < 0), highest + 0.25 * reach)
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.xaxis.set_major_formatter(canvas.plain())
    _rows(axes, places, list(study.pairs))
    return figure


def _note(axes: Axes, x: float, y: float, text: str) -> None:
    """``text`` beside the end of a bar that begins at 0."""
    right = x >= 0
    axes.annotate(
        text, (x, y), (3 if right else -3, 0), textcoords="offset points",
        ha="left" if right else "right", va="center", fontsize=7.5,
    )  # fmt: skip


def _rows(axes: Axes, places: list[float] | list[int], names: list[str]) -> None:
    """The names of the bars, the first one on top."""
    axes.set_yticks(places, [units.shortened(name, 32) for name in names])
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
