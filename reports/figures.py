"""Figures of a run: pure functions from records to a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports import canvas, hosted, looks, units
from reports.canvas import Bar, Picture, stacked
from reports.looks import Look
from sim.results import metrics
from sim.results.pricing import Price
from sim.results.records import Floats, Ints, Records
from sim.results.summary import Summary

if TYPE_CHECKING:
    from sim.results.system_run import SystemRun

LAST_TURN = 12
"""Turns beyond this one share a bar."""
CURVE_POINTS = 300
"""A curve is drawn through at most this many of its points."""


def of_system(name: str, run: SystemRun, summary: Summary) -> list[Picture]:
    """The figures that apply to a system: a replay has no times and holds no GPU.

    ``run`` is as measured; where a side has no completed request there is nothing to draw.
    """
    if not len(run.records) or not len(run.twin):
        return []
    sessions = bool(run.records.turn.max() > 1)
    pictures = [Picture(prompt_tokens(name, run), BY_TURN if sessions else BY_LENGTH)]
    # A system without times has none; 0 has no logarithm.
    if any((metrics.ttft_s(records) > 0).any() for _, _, records in _both(run)):
        pictures.insert(0, Picture(ttft(name, run), TTFT))
    if run.records.engine is not None:
        pictures.append(Picture(gpu_time(name, summary), GPU_TIME))
    if run.records.hosted is not None:
        pictures += hosted.of_provider(name, summary)
    if run.price is not None and run.price.pricing == "tokens":
        pictures.append(Picture(token_bill(name, run), TOKEN_BILL))
    return pictures


def of_experiment(runs: Mapping[str, SystemRun], seen: Mapping[str, Look]) -> Picture | None:
    """The figure in which all systems stand side by side; None if none completed a request."""
    drawn = {name: run for name, run in runs.items() if len(run.records) and len(run.twin)}
    return Picture(computed_over_time(drawn, seen), OVER_TIME) if drawn else None


TTFT = (
    "Share of requests whose first token is there within the time on the x axis (logarithmic). Further "
    "left is faster; p50 and p99 are where a curve crosses 50% and 99%."
)


@canvas.styled
def ttft(name: str, run: SystemRun) -> Figure:
    """Distribution of the time to first token with and without the cache of an engine, ms or s."""
    curves = [(label, colour, metrics.ttft_s(records) * 1e3) for label, colour, records in _both(run)]
    largest = max(float(values.max()) for _, _, values in curves)
    scale, unit = (units.MS_PER_S, "s") if largest >= 10 * units.MS_PER_S else (1.0, "ms")
    figure, axes = canvas.new(
        f"Time to first token: {units.shortened(name)}",
        f"time to first token, {unit}{canvas.mark(run.calibrated)}",
        "share of requests",
    )
    for i, (label, colour, values) in enumerate(curves):
        values.sort()
        keep = _thinned(len(values))
        x, y = values[keep] / scale, (keep + 1) / len(values)
        p50, p99 = (units.significant(p / scale) for p in np.percentile(values, (50, 99)).tolist())
        axes.plot(
            np.r_[x[0], x],
            np.r_[0.0, y],
            color=colour,
            linewidth=3.6 if i == 0 else None,  # seen below the other one where the two are equal
            label=f"{label}: p50 {p50} {unit}, p99 {p99} {unit}",
            drawstyle="steps-post",
        )
    axes.set_xscale("log")
    low, high = (limit * factor for limit, factor in zip(axes.get_xlim(), (1 / 1.1, 1.1), strict=True))
    axes.set_xlim(low, high)
    canvas.log(axes, "x")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.02)
    canvas.legend(figure, columns=1)
    return figure


BY_TURN = (
    "Mean prompt tokens of a request by its turn in the conversation: each turn resends the history. "
    "The percentage is the share of these tokens that the cache gave."
)
BY_LENGTH = (
    "The prompt tokens of the trace by the length of the prompt they belong to (the trace does not tell "
    "turns apart). The percentage is the share of these tokens that the cache gave."
)


@dataclass(frozen=True, slots=True)
class TokenBars:
    """Prompt tokens by turn (means of a request), or by length where there are no turns (shares of all)."""

    by_turn: bool
    labels: list[str]
    computed: Floats
    cached: Floats


def token_bars(records: Records) -> TokenBars:
    """What the cache gave and what was computed, by turn or by length."""
    by_turn = bool(records.turn.max() > 1)
    if by_turn:
        group = np.minimum(records.turn, LAST_TURN + 1) - 1
        labels = [str(turn) for turn in range(1, LAST_TURN + 1)] + [f">{LAST_TURN}"]
    else:
        group, labels = _length_buckets(records.input_tokens)
    size = int(group.max()) + 1
    of = np.maximum(np.bincount(group, minlength=size), 1) if by_turn else records.input_tokens.sum()
    return TokenBars(
        by_turn,
        labels[:size],
        np.bincount(group, records.computed_tokens, minlength=size) / of,
        np.bincount(group, records.cache_read_input_tokens, minlength=size) / of,
    )


@canvas.styled
def prompt_tokens(name: str, run: SystemRun) -> Figure:
    """Prompt tokens computed and read from the cache, by turn, or by length where there are no turns."""
    bars, short = token_bars(run.records), units.shortened(name)
    if bars.by_turn:
        title, x, y = f"Prompt tokens by turn: {short}", "turn", "prompt tokens per request, mean"
    else:
        title, x = f"Prompt tokens by prompt length: {short}", "length of the prompt up to, tokens"
        y = "share of all prompt tokens"
    figure, axes = canvas.new(title, x, y)
    _stack(axes, bars)
    canvas.legend(figure)
    return figure


def _stack(axes: Axes, bars: TokenBars) -> None:
    at, total = np.arange(len(bars.labels)), bars.computed + bars.cached
    axes.bar(at, bars.computed, 0.75, color=canvas.COMPUTED, label="computed")
    axes.bar(at, bars.cached, 0.75, bottom=bars.computed, color=canvas.CACHED, label="read from the cache")
    scale, unit = (units.MILLION, ", millions") if total.max() >= units.MILLION else (1, "")
    axes.yaxis.set_major_formatter(canvas.plain(scale) if bars.by_turn else PercentFormatter(1.0, 0))
    axes.set_ylabel(axes.get_ylabel() + unit)
    for x, part, whole in zip(at, bars.cached, total, strict=True):
        if whole:
            axes.annotate(
                f"{part / whole:.0%}", (float(x), float(whole)), (0, 2), textcoords="offset points",
                ha="center", va="bottom", fontsize=7.5,
            )  # fmt: skip
    axes.set_xticks(at, bars.labels)
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0, (float(total.max()) or 1.0) * 1.1)


def _length_buckets(lengths: Ints) -> tuple[Ints, list[str]]:
    """Bucket of each length, and each bucket's largest length: powers of two, at most ten of them."""
    exponent = np.ceil(np.log2(lengths)).astype(np.int64)
    last = int(exponent.max())
    first = max(int(exponent.min()), last - 9)
    return np.clip(exponent, first, last) - first, [_power(e) for e in range(first, last + 1)]


def _power(exponent: int) -> str:
    return f"{2 ** (exponent - 10)}k" if exponent >= 10 else str(2**exponent)


OVER_TIME = (
    "Prompt tokens computed by the completed requests that arrived up to a time, as a share of all that "
    "they sent. Without a cache every prompt is computed in full; the distance between a system's lines "
    "is what its cache has saved until then. Where clients wait for replies, slower systems get their "
    "turns later, so dashed lines differ too."
)


@canvas.styled
def computed_over_time(runs: Mapping[str, SystemRun], seen: Mapping[str, Look]) -> Figure:
    """Cumulative prompt tokens computed over the time of arrival, each system and its twin."""
    latest = max(float(r.arrival_s.max()) for run in runs.values() for r in (run.records, run.twin))
    unit, scale = canvas.time_scale(latest)
    figure, axes = canvas.new(
        "Prompt tokens computed so far", f"arrival time, {unit}", "share of all prompt tokens"
    )
    before: list[tuple[Floats, Floats]] = []
    for name, run in runs.items():
        x, y = _running_total(run.twin)
        if not any(np.array_equal(y, other) and np.array_equal(x, at) for at, other in before):
            before.append((x, y))
            label = "without cache" if len(runs) == 1 else f"{name} without cache"
            axes.plot(x / scale, y, color=canvas.MIDDLE, linewidth=1.2, linestyle="--", label=label)
        x, y = _running_total(run.records)
        axes.plot(x / scale, y, **seen[name].style, label=name, drawstyle="steps-post")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0))
    axes.xaxis.set_major_formatter(canvas.plain())
    looks.legend(figure, seen, list(runs), {"without cache": "--"})
    return figure


def _running_total(records: Records) -> tuple[Floats, Floats]:
    """(arrival in s, share of all prompt tokens computed until then), thinned to a curve's points."""
    order = np.argsort(records.arrival_s, kind="stable")
    total = np.cumsum(records.computed_tokens[order]) / records.input_tokens.sum()
    keep = _thinned(len(order))
    return records.arrival_s[order][keep], total[keep]


def _thinned(points: int) -> Ints:
    """Positions of at most ``CURVE_POINTS`` of so many points, the first and the last among them."""
    return np.unique(np.linspace(0, points - 1, min(CURVE_POINTS, points)).astype(np.int64))


GPU_TIME = (
    "GPU-hours held from the first arrival to the last token, and the part in which the engine "
    "computed. Fewer tokens shorten the busy part; what is held is paid whether busy or not."
)


@canvas.styled
def gpu_time(name: str, summary: Summary) -> Figure:
    """GPU time busy and idle, without and with the cache; with the bill where GPUs are paid by the hour."""
    unit = f"GPU-hours{canvas.mark(summary['systems'][name]['calibrated'])}"
    figure, axes = canvas.new(f"GPU time: {units.shortened(name)}", unit, "", height_in=2.6)
    bars: list[Bar] = []
    for label, entries in (("without cache", summary["no_cache"]), ("with cache", summary["systems"])):
        cost, busy_s = entries[name]["cost"], entries[name]["gpu_busy_seconds"]
        held_s, total_usd = cost["gpu_seconds"], cost["cost_usd_total"]
        assert busy_s is not None and held_s is not None
        text = f"{label}: held {units.gpu_hours(held_s)}, busy {units.gpu_hours(busy_s)} GPU-hours"
        if cost["pricing"] == "gpu_hours" and total_usd is not None:
            text += f", {units.usd(total_usd)}"
        busy, held = busy_s / 3600, held_s / 3600
        bars.append((text, (busy, max(0.0, held - busy))))
    stacked(axes, bars, (("busy", canvas.GREEN), ("held, idle", canvas.IDLE)))
    canvas.legend(figure)
    return figure


TOKEN_BILL = "The bill of the whole trace at the system's token prices, without and with the cache."


@canvas.styled
def token_bill(name: str, run: SystemRun) -> Figure:
    """Dollars at token prices by what they pay for, without and with the cache."""
    assert run.price is not None
    title = f"Bill at token prices: {units.shortened(name)}"
    figure, axes = canvas.new(title, "dollars", "", height_in=2.6)
    bars: list[Bar] = []
    for label, _, records in _both(run):
        parts = _bill(records, run.price)
        bars.append((f"{label}: {units.usd(sum(parts))}", parts))
    kinds = (
        ("prompt, computed", canvas.COMPUTED),
        ("prompt, cached", canvas.CACHED),
        ("output", canvas.OUTPUT),
    )
    stacked(axes, bars, kinds)
    canvas.legend(figure, columns=3)
    return figure


def _bill(records: Records, price: Price) -> tuple[float, float, float]:
    """Dollars for (computed prompt, cached prompt, output) tokens."""
    nothing = np.zeros_like(records.input_tokens)
    hits = records.cache_read_input_tokens
    computed, output = price.token_bill_usd(records.computed_tokens, nothing, records.output_tokens)
    cached, _ = price.token_bill_usd(hits, hits, nothing)
    return float(computed.sum()), float(cached.sum()), float(output.sum())


def _both(run: SystemRun) -> list[tuple[str, str, Records]]:
    return [("without cache", canvas.WITHOUT, run.twin), ("with cache", canvas.WITH, run.records)]
