"""Figures of a hosted API: what its bill pays for, by turn, and what other strategies would have cost."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from reports import canvas, units
from reports.canvas import Bar, Picture, stacked
from sim.results.summary import Summary
from sim.results.summary_cost import BillSplit


def of_provider(name: str, summary: Summary) -> list[Picture]:
    """The figures of one provider's bill: by turn where there are turns."""
    entry = summary["systems"][name]
    pictures = [Picture(provider_bill(name, summary), PROVIDER_BILL)]
    if len(entry["cost"]["bill"]["mean_usd_by_turn"]) > 1:
        pictures.append(Picture(bill_by_turn(name, summary), BILL_BY_TURN))
    return pictures


PROVIDER_BILL = (
    "The bill of the whole trace at the provider's prices, with caching off and as configured. "
    "Written tokens are computed and stored, read ones are neither."
)
BILL_PARTS = (
    ("uncached input", canvas.COMPUTED),
    ("cache writes", canvas.VERMILION),
    ("cache reads", canvas.CACHED),
    ("storage", canvas.GREEN),
    ("output", canvas.OUTPUT),
)


@canvas.styled
def provider_bill(name: str, summary: Summary) -> Figure:
    """Dollars of a provider's bill by what they pay for, without and with caching."""
    title = f"Bill at the provider's prices: {units.shortened(name)}"
    figure, axes = canvas.new(title, "dollars", "", height_in=2.6)
    bars: list[Bar] = []
    for label, entries in (("without cache", summary["no_cache"]), ("with cache", summary["systems"])):
        cost = entries[name]["cost"]
        assert cost["cost_usd_total"] is not None
        bars.append((f"{label}: {units.usd(cost['cost_usd_total'])}", bill_parts(cost["bill"])))
    stacked(axes, bars, BILL_PARTS)
    canvas.legend(figure, columns=3)
    return figure


BILL_BY_TURN = (
    "Mean dollars of a request at the provider's prices by its turn in the conversation, output included: "
    "each turn resends the history."
)


@canvas.styled
def bill_by_turn(name: str, summary: Summary) -> Figure:
    """Dollars per request by turn, without and with caching."""
    figure, axes = canvas.new(
        f"Dollars by turn: {units.shortened(name)}", "turn", "dollars per request, mean"
    )
    for label, colour, entries, shift in (
        ("without cache", canvas.WITHOUT, summary["no_cache"], -0.2),
        ("with cache", canvas.WITH, summary["systems"], 0.2),
    ):
        by_turn = entries[name]["cost"]["bill"]["mean_usd_by_turn"]
        at = np.arange(len(by_turn))
        axes.bar(at + shift, list(by_turn.values()), 0.4, color=colour, label=label)
        axes.set_xticks(at, list(by_turn))
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_formatter(canvas.plain())
    canvas.legend(figure)
    return figure


def bill_parts(bill: BillSplit) -> tuple[float, ...]:
    """A bill of the summary in the order of `BILL_PARTS`."""
    writes = sum(bill["cache_write_usd"].values())
    return (
        bill["uncached_input_usd"],
        writes,
        bill["cache_read_usd"],
        bill["storage_usd"],
        bill["output_usd"],
    )
