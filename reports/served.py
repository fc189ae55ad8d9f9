"""What somebody's own server took beside its simulation: tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from reports import calibration, units

if TYPE_CHECKING:
    from calibration.served.against import Against
    from calibration.served.bench import Fitted
    from calibration.served.comparison import Hits, Metric
    from calibration.served.log_fit import LogFit
    from calibration.served.metrics_fit import MetricsComparison, MetricsFit
    from calibration.served.search import Found
    from calibration.served.server_metrics import ServerMetrics

INTERPOLATED = "percentiles of a server's histograms are interpolated within their buckets; means are exact"


def bench_table(fitted: Fitted) -> RenderableType:
    """The numbers that were found, and both halves beside their simulation."""
    bench = fitted.profile.bench
    assert bench is not None
    return Group(
        Text(fitted.profile.id, style="bold"),
        numbers_table(fitted.found),
        Text(
            f"error of the fitted requests: {fitted.found.error:.1%} (mean size of a request's error as a "
            "share of the metric's mean, over TTFT, TPOT and E2E)"
        ),
        comparison_table(f"fitted requests ({fitted.fitted.requests:,})", fitted.fitted.metrics),
        comparison_table(f"held-out requests ({fitted.heldout.requests:,})", fitted.heldout.metrics),
        *hits_lines(fitted.heldout.hits),
        Text(bench.split),
        *map(Text, fitted.notes),
    )


def numbers_table(found: Found) -> Table:
    """What a search found, and whether what it was held against tells it."""
    table = Table(
        "number",
        *map(_right, ("value", f"error with {found.moved:.0%} less", f"with {found.moved:.0%} more")),
        "meaning",
        header_style="bold",
    )
    for parameter in found.parameters:
        less, more = found.aside[parameter.name]
        table.add_row(
            parameter.name,
            units.significant(found.values[parameter.name]),
            *(f"{grows * 100:+.1f} points" for grows in (less, more)),
            parameter.meaning
            + ("; not told by this run, left where it began" if parameter.name in found.untold else ""),
        )
    return table


def metrics_table(server: ServerMetrics) -> RenderableType:
    """What a server's metrics say."""
    table = Table("", *map(_right, ("requests or gaps", "mean", "p50", "p90", "p99")), header_style="bold")
    for name, found in server.latencies.items():
        quantiles = [ms(found.quantile(share)) for share in (0.5, 0.9, 0.99)]
        table.add_row(name, f"{found.count:,.0f}", ms(found.mean), *quantiles)
    lines = [
        f"{what}: {tokens.mean:,.0f} on average"
        for what, tokens in (
            ("prompt tokens", server.prompt_tokens),
            ("output tokens", server.output_tokens),
        )
        if tokens is not None and tokens.count
    ]
    if server.query_tokens and server.hit_tokens is not None:
        lines.append(
            f"prefix cache: {server.hit_tokens:,.0f} of {server.query_tokens:,.0f} prompt tokens hit, "
            f"{server.hit_tokens / server.query_tokens:.1%}"
        )
    return Group(Text(server.where, style="bold"), table, *map(Text, [*lines, INTERPOLATED]))


def beside_metrics_table(compared: MetricsComparison) -> RenderableType:
    """A server's metrics beside a simulated run."""
    title = f"{compared.server.requests:,} requests measured, {compared.requests:,} simulated"
    lines = [
        f"{name}, mean, measured -> predicted: {real:,.0f} -> {simulated:,.0f}"
        for name, (real, simulated) in compared.lengths.items()
    ]
    real, simulated = compared.hit_rates
    if real is not None and simulated is not None:
        lines.append(
            f"prompt tokens hit, measured -> predicted: {real:.1%} -> {simulated:.1%} "
            f"({(simulated - real) * 100:+.1f} points)"
        )
    return Group(
        Text(f"{compared.server.where} beside {compared.run}", style="bold"),
        comparison_table(title, compared.metrics),
        *map(Text, [*lines, INTERPOLATED]),
        *(Text(note, style="yellow") for note in compared.notes()),
    )


def metrics_fit_table(fitted: MetricsFit) -> RenderableType:
    """The numbers that meet a server's means, and all that was not fitted."""
    return Group(
        Text(fitted.profile.id, style="bold"),
        numbers_table(fitted.found),
        Text("fitted to the means of TTFT and TPOT; percentiles, ITL, E2E and hits are not fitted"),
        beside_metrics_table(fitted.compared),
        *(Text(note, style="yellow") for note in fitted.notes),
    )


def log_table(fitted: LogFit) -> RenderableType:
    """The coefficients that a log gave, their errors on its later half, and what was left out."""
    return Group(
        calibration.profile_table(fitted.profile),
        Text(f"{fitted.iterations:,} iterations, {fitted.used:,} of them used"),
        *map(Text, fitted.notes),
    )


def against_table(against: Against) -> RenderableType:
    """A served run beside its simulation, and on what that rests."""
    compared = against.compared
    return Group(
        Text(f"{against.run.path.name}: {against.profile.id}", style="bold"),
        comparison_table(f"requests ({compared.requests:,})", compared.metrics),
        *hits_lines(compared.hits),
        *(Text(note) for note in against.notes),
    )


def comparison_table(title: str, metrics: dict[str, Metric]) -> Table:
    """Predicted beside measured: mean and percentiles of each metric, and the errors of single requests."""
    table = Table(
        "",
        *map(_right, ("mean", "p50", "p90", "p99", "each: mean", "median")),
        title=title,
        title_justify="left",
        header_style="bold",
    )
    for name, metric in metrics.items():
        table.add_row(f"{name} measured", *map(ms, metric.measured_s.values()))
        table.add_row("     predicted", *map(ms, metric.predicted_s.values()))
        table.add_row("     error", *errors_of(metric))
    return table


def errors_of(metric: Metric) -> list[str]:
    """The error of each statistic, then mean and median size of a request's error."""
    sizes = (metric.request_mape, metric.request_median)
    errors = [f"{metric.error(statistic):+.1%}" for statistic in metric.measured_s]
    return [*errors, *("" if size is None else f"{size:.1%}" for size in sizes)]


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
