"""Own GPUs and hosted APIs side by side: the table, the bars, and where owning beats renting."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import NullFormatter

from reports import canvas, units
from reports.canvas import Picture
from reports.hosted import BILL_PARTS, bill_parts
from sim.results.owning_or_renting import FULL, owned_usd_per_1000_sessions
from sim.results.summary import Summary
from sim.results.summary_cost import PricedSystem

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


def pictures(summary: Summary) -> list[Picture]:
    """The figures that compare systems in dollars; none without a hosted API, or where nothing is paid."""
    if not summary.get("side_by_side"):
        return []
    found = [Picture(bars(summary), BARS)]
    if summary["crossovers"]:
        found.append(Picture(crossover(summary), CROSSOVER))
    return found


BARS = (
    "Dollars per 1,000 sessions of this trace by what they pay for. GPUs are paid by the hour, "
    "busy or not: at more traffic on the same GPUs their bar is shorter."
)


@canvas.styled
def bars(summary: Summary) -> canvas.Figure:
    """One horizontal stacked bar per system, dollars per 1,000 sessions."""
    rows = summary["side_by_side"]
    figure, axes = canvas.new(
        "Dollars per 1,000 sessions", "dollars per 1,000 sessions", "", height_in=1.6 + 0.34 * len(rows)
    )
    at, left = np.arange(len(rows)), np.zeros(len(rows))
    split = [_split(summary, row) for row in rows]
    for part, colour in PARTS:
        width = np.array([parts.get(part, 0.0) for parts in split])
        if width.any():
            axes.barh(at, width, 0.6, left=left, color=colour, label=part)
        left += width
    for y, row in zip(at, rows, strict=True):
        axes.annotate(
            f"{units.usd(row['usd_per_1000_sessions'])}, hits {_share(row['prefix_cache_hit_rate'])}",
            (row["usd_per_1000_sessions"], float(y)),
            (3, 0),
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
    "run. A dot is the run itself, with the GPUs that it held."
)


@canvas.styled
def crossover(summary: Summary) -> canvas.Figure:
    """Dollars per 1,000 sessions over sessions per hour (both logarithmic), owned and rented."""
    pairs = summary["crossovers"]
    figure, axes = canvas.new(
        "Owning or renting", "sessions per hour", "dollars per 1,000 sessions", height_in=4.2
    )
    owned = {pair["owned"]: pair for pair in pairs}
    rented = {pair["rented"]: pair["rented_usd_per_1000_sessions"] for pair in pairs}
    marks = [pair["simulated_sessions_per_h"] for pair in pairs]
    marks += [pair["sessions_per_gpu_hour"] * 6 for pair in pairs]
    marks += [pair["first_sessions_per_h"] for pair in pairs if pair["first_sessions_per_h"]]
    x = np.geomspace(min(marks) / 3, max(marks) * 2, 800)
    for i, (name, pair) in enumerate(owned.items()):
        mark = canvas.mark(summary["systems"][name]["calibrated"])
        hour_usd, capacity = pair["gpu_hour_usd"], pair["sessions_per_gpu_hour"]
        y = [owned_usd_per_1000_sessions(hour_usd, capacity, rate) for rate in x.tolist()]
        label = f"own: {units.shortened(name)}{mark}"
        axes.plot(x, y, color=canvas.BLACK, linestyle=canvas.DASHES[i % 4], label=label)
        now, paid = pair["simulated_sessions_per_h"], pair["simulated_usd_per_1000_sessions"]
        axes.plot([now], [paid], "o", color=canvas.BLACK)
    for i, (name, usd) in enumerate(rented.items()):
        colour, dash = canvas.LINES[i % 5], canvas.DASHES[i // 5 % 4]
        axes.axhline(
            usd, color=colour, linestyle=dash, linewidth=1.3, label=f"rent: {units.shortened(name)}"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(canvas.plain())
        axis.set_minor_formatter(NullFormatter())
    canvas.legend(figure, columns=2)
    return figure
