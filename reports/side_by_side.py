"""Own GPUs and hosted APIs side by side: the table, the bars, and where owning beats renting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from reports import canvas, looks, units
from reports.canvas import Picture
from reports.hosted import BILL_PARTS, bill_parts
from reports.looks import Look
from reports.rows import bounds
from sim.results.owning_or_renting import FULL, owned_usd_per_1000_sessions
from sim.results.summary import Summary
from sim.results.summary_cost import Crossover, PricedSystem

PARTS = (
    *BILL_PARTS,
    ("GPU-hours held", canvas.IDLE),
    ("token prices", canvas.SKY),
)
"""What dollars pay for, in the order of the bars."""
HEADINGS = (
    "system",
    "hit rate, by tokens",
    "$ per 1,000 sessions",
    "$ per 1 M tokens",
    "saved by caching",
    "GPUs busy",
    "above the best strategy",
)


def table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of ``summary["side_by_side"]`` as text; a column that no system has is left out."""
    rows = [
        [
            units.printable(row["system"]),
            _share(row["prefix_cache_hit_rate"]),
            units.usd(row["usd_per_1000_sessions"]),
            units.usd(row["usd_per_1m_tokens"]),
            _share(row["saved_ratio"]),
            _share(row["utilisation"]),
            _share(row["regret_ratio"]),
        ]
        for row in summary.get("side_by_side", [])
    ]
    shown = [i for i in range(len(HEADINGS)) if any(row[i] for row in rows)]
    return [HEADINGS[i] for i in shown], [[row[i] for i in shown] for row in rows]


def verdicts(summary: Summary) -> list[str]:
    """One sentence per pair of own GPUs and a provider: the traffic at which owning beats renting."""
    said = []
    for pair in summary["crossovers"]:
        owned, rented = units.printable(pair["owned"]), units.printable(pair["rented"])
        first, always = pair["first_sessions_per_h"], pair["always_sessions_per_h"]
        if first is None:
            best = units.usd(pair["owned_usd_per_1000_sessions_at_best"])
            text = f"never cheaper: {best} per 1,000 sessions at best"
        else:
            text = f"cheaper from {units.significant(first)} sessions an hour on"
            if always is not None and always > first:
                text += f", always from {units.significant(always)}"
        said.append(f"{owned} against {rented}: {text}")
    return said


def _share(ratio: float | None) -> str:
    return "" if ratio is None else units.percent(ratio)


def pictures(summary: Summary, seen: Mapping[str, Look]) -> list[Picture]:
    """The figures that compare systems in dollars; none without a hosted API, or if nobody was answered."""
    if not summary.get("side_by_side"):
        return []
    found = [Picture(bars(summary), BARS)]
    if summary["crossovers"]:
        found.append(Picture(crossover(summary, seen), CROSSOVER))
    return found


BARS = (
    "Dollars per 1,000 sessions of this trace by what they pay for, the cheapest on top; thin lines are "
    "95 % intervals. GPUs are paid by the hour, busy or not: at more traffic on the same GPUs their bar "
    "is shorter."
)


@canvas.styled
def bars(summary: Summary) -> canvas.Figure:
    """One horizontal stacked bar per system, dollars per 1,000 sessions."""
    rows = sorted(summary["side_by_side"], key=lambda row: row["usd_per_1000_sessions"])
    figure, axes = canvas.new(
        "Dollars per 1,000 sessions", "dollars per 1,000 sessions", "", height_in=1.4 + 0.25 * len(rows)
    )
    at, left = np.arange(len(rows)), np.zeros(len(rows))
    split = [_split(summary, row) for row in rows]
    for part, colour in PARTS:
        width = np.array([parts.get(part, 0.0) for parts in split])
        if width.any():
            axes.barh(at, width, 0.6, left=left, color=colour, label=part)
        left += width
    for y, row in zip(at, rows, strict=True):
        total = summary["systems"][row["system"]]["cost"]["cost_usd_total"]
        ends = bounds(summary, "systems", row["system"], "cost.cost_usd_total")
        usd = row["usd_per_1000_sessions"]
        if ends is not None and total:
            low, high = (end * usd / total for end in ends)
            sides = canvas.sides(usd, (low, high))
            axes.errorbar(
                [usd], [y], xerr=sides, fmt="none", color=canvas.BLACK, elinewidth=1.0, capsize=2.5
            )
            usd = max(usd, high)
        axes.annotate(
            f"{units.usd(row['usd_per_1000_sessions'])}, hits {_share(row['prefix_cache_hit_rate'])}",
            (usd, float(y)),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    axes.set_yticks(at, [units.shortened(row["system"]) for row in rows])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, (float(left.max()) or 1.0) * 1.5)
    axes.margins(y=0.02)
    axes.xaxis.set_major_formatter(canvas.plain())
    canvas.legend(figure, columns=3)
    return figure


def _split(summary: Summary, row: PricedSystem) -> dict[str, float]:
    """Dollars per 1,000 sessions of one system by part."""
    total = row["usd_per_1000_sessions"]
    if row["pricing"] != "provider":
        return {"GPU-hours held" if row["pricing"] == "gpu_hours" else "token prices": total}
    cost = summary["systems"][row["system"]]["cost"]
    scale = total / cost["cost_usd_total"] if cost["cost_usd_total"] else 0.0
    names = (name for name, _ in BILL_PARTS)
    return {name: usd * scale for name, usd in zip(names, bill_parts(cost["bill"]), strict=True)}


CROSSOVER = (
    "Renting costs the same per session at any traffic; an owned GPU costs its hour. A step is one more "
    f"GPU, taken when the others are busy {FULL:.0%} of the time at the busy seconds per session of this "
    "run. A dot is the run itself, with the GPUs that it held. Where a step lies below a line, "
    "owning is cheaper."
)
LABEL_IN, LABEL_SIZE = 0.125, 7
"""Height of a line's name in the margin, and its size in points."""
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}


@canvas.styled
def crossover(summary: Summary, seen: Mapping[str, Look] | None = None) -> canvas.Figure:
    """Dollars per 1,000 sessions over sessions per hour (both logarithmic), owned and rented.

    Rented lines have their names in the margin beside them, so that many of them can be told apart.
    """
    seen = looks.of(summary) if seen is None else seen
    pairs = summary["crossovers"]
    owned = {pair["owned"]: pair for pair in pairs}
    rented = {pair["rented"]: pair["rented_usd_per_1000_sessions"] for pair in pairs}
    height_in = max(4.2, 1.6 + LABEL_IN * 1.15 * len(rented))
    figure, axes = canvas.new(
        "Owning or renting", "sessions per hour", "dollars per 1,000 sessions", height_in
    )
    marks = [pair["simulated_sessions_per_h"] for pair in pairs]
    marks += [pair["sessions_per_gpu_hour"] * 6 for pair in pairs]
    marks += [pair["first_sessions_per_h"] for pair in pairs if pair["first_sessions_per_h"]]
    x = np.geomspace(min(marks) / 3, max(marks) * 2, 800)
    for i, (name, pair) in enumerate(owned.items()):
        mark = canvas.mark(summary["systems"][name]["calibrated"])
        hour_usd, capacity = pair["gpu_hour_usd"], pair["sessions_per_gpu_hour"]
        y = [owned_usd_per_1000_sessions(hour_usd, capacity, rate) for rate in x.tolist()]
        label = f"own: {units.shortened(name)}{mark}"
        colour = seen[name].colour if seen[name].named else canvas.BLACK
        axes.plot(x, y, color=colour, linestyle=canvas.DASHES[i % 4], linewidth=2.2, label=label, zorder=4)
        now, paid = pair["simulated_sessions_per_h"], pair["simulated_usd_per_1000_sessions"]
        axes.plot([now], [paid], "o", color=colour, label=f"{name}, this run", zorder=5)
    for name, usd in rented.items():
        axes.plot(
            [x[0], x[-1]], [usd, usd], **{**seen[name].style, "linewidth": 1.2}, label=f"rent: {name}"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(x[0], x[-1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(canvas.plain())
        axis.set_minor_formatter(NullFormatter())
    handles = [line for line in axes.lines if str(line.get_label()).startswith("own: ")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.draw_without_rendering()  # so that the height of the panel is known
    height_px = axes.get_window_extent().height
    _margin(axes, rented, seen, room=LABEL_IN * figure.dpi / height_px)
    return figure


def _margin(axes: Axes, lines: Mapping[str, float], seen: Mapping[str, Look], room: float) -> None:
    """The name of each horizontal line right of the panel, ``room`` of its height apart from each other."""
    low, high = (np.log(end) for end in axes.get_ylim())
    ranked = sorted(lines.items(), key=lambda item: item[1])
    wanted = [float((np.log(usd) - low) / (high - low)) if usd > 0 else 0.0 for _, usd in ranked]
    for (name, usd), height, want in zip(ranked, spread(wanted, room), wanted, strict=True):
        colour = seen[name].colour if seen[name].named else canvas.LINE
        axes.annotate(
            f"{units.shortened(name, 22)} {units.usd(usd)}", (1.0, want), (1.07, height),
            xycoords="axes fraction", textcoords="axes fraction", fontsize=LABEL_SIZE, va="center",
            color=colour, arrowprops={**LEADER, "color": colour},
        )  # fmt: skip


def spread(wanted: list[float], room: float) -> list[float]:
    """Ascending places as near as they can be to those ``wanted`` (ascending), ``room`` apart.

    Neighbours that would overlap form a group around their mean.

    >>> spread([0.1, 0.5], 0.1), [round(place, 2) for place in spread([0.5, 0.5, 0.52], 0.1)]
    ([0.1, 0.5], [0.41, 0.51, 0.61])
    """
    groups: list[tuple[float, int]] = []  # centre, members
    for place in wanted:
        groups.append((place, 1))
        while len(groups) > 1:
            (a, m), (b, n) = groups[-2:]
            if b - a >= (m + n) / 2 * room - 1e-12:
                break
            groups[-2:] = [((a * m + b * n) / (m + n), m + n)]
    return [centre + (i - (n - 1) / 2) * room for centre, n in groups for i in range(n)]


def verdict_rows(summary: Summary) -> list[list[str]]:
    """Every pair: dollars of 1,000 sessions, and from which traffic owning is cheaper."""
    return [
        [
            units.printable(pair["owned"]),
            units.printable(pair["rented"]),
            units.usd(pair["owned_usd_per_1000_sessions_at_best"]),
            units.usd(pair["rented_usd_per_1000_sessions"]),
            *("never" if rate is None else units.significant(rate) for rate in _from(pair)),
        ]
        for pair in summary.get("crossovers", [])
    ]


VERDICTS = ("owned", "rented", "$ owned at best", "$ rented", "cheaper from, sessions/h", "always from")
"""Headings of `verdict_rows`; dollars are those of 1,000 sessions."""


def _from(pair: Crossover) -> tuple[float | None, float | None]:
    return pair["first_sessions_per_h"], pair["always_sessions_per_h"]
