"""What somebody's own server took beside its simulation: tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from reports import units

if TYPE_CHECKING:
    from calibration.served.bench import Fitted
    from calibration.served.comparison import Comparison, Hits

UNTOLD = 1e-3
"""A number is hardly told if the error grows by less than this when it is moved aside."""


def bench_table(fitted: Fitted) -> RenderableType:
    """The numbers that were found, and both halves beside their simulation."""
    from calibration.served.search import ASIDE, PARAMETERS

    table = Table(
        "number",
        *map(_right, ("value", f"error with {ASIDE:.0%} less", f"with {ASIDE:.0%} more")),
        "meaning",
        header_style="bold",
    )
    for parameter in PARAMETERS:
        less, more = fitted.found.aside[parameter.name]
        table.add_row(
            parameter.name,
            units.significant(fitted.found.values[parameter.name]),
            *(f"{grows * 100:+.1f} points" for grows in (less, more)),
            parameter.meaning + (" (hardly told by this run)" if max(less, more) < UNTOLD else ""),
        )
    bench = fitted.profile.bench
    assert bench is not None
    return Group(
        Text(fitted.profile.id, style="bold"),
        table,
        Text(
            f"{fitted.found.simulations} simulations; error of the fitted ones: {fitted.found.error:.1%} "
            "(mean size of a request's error as a share of the metric's mean, over TTFT, TPOT and E2E)"
        ),
        comparison_table("fitted requests", fitted.fitted),
        comparison_table("held-out requests", fitted.heldout),
        *hits_lines(fitted.heldout.hits),
        Text(bench.split),
        *map(Text, fitted.notes),
    )


def comparison_table(title: str, compared: Comparison) -> Table:
    """Predicted beside measured: mean and percentiles of each metric, and the errors of single requests."""
    table = Table(
        f"{title} ({compared.requests:,})",
        "",
        *map(_right, ("mean", "p50", "p90", "p99", "each: mean", "median")),
        header_style="bold",
    )
    for name, metric in compared.metrics.items():
        sizes = (metric.request_mape, metric.request_median)
        table.add_row(name, "measured", *map(ms, metric.measured_s.values()))
        table.add_row("", "predicted", *map(ms, metric.predicted_s.values()))
        errors = [f"{metric.error(statistic):+.1%}" for statistic in metric.measured_s]
        table.add_row("", "error", *errors, *("" if size is None else f"{size:.1%}" for size in sizes))
    return table


def hits_lines(hits: Hits | None) -> Iterable[Text]:
    """Hits beside each other, where the run told its own."""
    if hits is None:
        return []
    return [
        Text(
            f"prompt tokens found in the cache, measured -> predicted: {hits.measured_tokens:,} -> "
            f"{hits.predicted_tokens:,} of {hits.prompt_tokens:,}; equal on {hits.equal:,} requests"
        )
    ]


def ms(seconds: float) -> str:
    """A time in the unit in which it has few digits."""
    return units.times_ms(seconds * 1e3)[0]


def _right(name: str) -> Column:
    return Column(name, justify="right")
