"""How much of a run's prompts an LRU cache of every size would have found, today's sizes marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from reports import canvas, looks
from reports.canvas import Picture
from reports.curve_figure import capacity_axes
from reports.looks import Look
from reports.rows import bounds
from sim.results.sample import DRAWN
from sim.results.summary import Bounds, Summary
from sim.studies.curve import Blocks, Curve, blocks_of, exact
from sim.studies.curve_sampled import capacity_tokens, log_spaced, sampled
from sim.systems.cache import CacheSystem
from workloads.errors import InputError

if TYPE_CHECKING:
    from sim.result import Result
    from sim.results.system_run import SystemRun

EXACT_USES = 400_000
"""Up to so many uses of segments (a second) the curve is exact; of more about so many are followed."""
POINTS = 300
ABOUT = (
    "Share of the prompt tokens of the whole trace that one LRU cache of each size would find. A dashed "
    "line is the size of today's KV memory, replicas together; a dot is what a system found in the "
    "measured part, with its 95 % interval: below the curve where a router spreads what belongs "
    "together, above it where replies are kept too."
)
SAMPLED = " The curve is estimated from a sample of the content (mean error {error} points)."


def of_run(
    result: Result, measured: Mapping[str, SystemRun], summary: Summary, seen: Mapping[str, Look]
) -> Picture | None:
    """The curve of the run's trace; None where no cache has a known size or nothing can be looked up.

    Of large runs there is none: `curve` draws them.
    """
    sizes = {name: size for name in measured if (size := _size(result, name)) is not None}
    sizes = {name: size for name, size in sizes.items() if len(measured[name].records)}
    if not sizes or result.trace.lengths_only or result.trace.requests > DRAWN:
        return None
    try:
        blocks = blocks_of(result.trace)
        curve, error = _curve(blocks)
    except InputError:  # prompts shorter than a block
        return None
    rates = {name: _hit_rate(measured[name]) for name in sizes}
    ends = {name: bounds(summary, "systems", name, "cache.prefix_cache_hit_rate") for name in sizes}
    figure = draw(curve, blocks.size_tokens, sizes, rates, ends, seen)
    return Picture(figure, ABOUT + ("" if error is None else SAMPLED.format(error=f"{100 * error:.2f}")))


def _size(result: Result, name: str) -> int | None:
    """Tokens that the cache of a system holds."""
    system, records = result.config.systems.get(name), result.runs[name].records
    if isinstance(system, CacheSystem):
        return capacity_tokens(system, result.trace)
    if records.engine is None or records.block_tokens is None or not records.engine.capacity_blocks:
        return None
    return records.engine.capacity_blocks * records.block_tokens * max(1, len(records.gpus))


def _curve(blocks: Blocks) -> tuple[Curve, float | None]:
    """The curve, and the mean error of its hit rate where it comes from a sample."""
    inside = blocks.count > 0
    uses, count = blocks.uses[inside].astype(float), blocks.count[inside].astype(float)
    if uses.sum() <= EXACT_USES:
        return exact(blocks), None
    curve, sample = sampled(blocks, min(1.0, EXACT_USES / float((count * uses**1.5).sum())))
    return curve, sample.error.mean


def _hit_rate(run: SystemRun) -> float:
    return float(run.records.cache_read_input_tokens.sum() / run.records.input_tokens.sum())


@canvas.styled
def draw(
    curve: Curve,
    size: int,
    sizes: Mapping[str, int],
    rates: Mapping[str, float],
    ends: Mapping[str, Bounds],
    seen: Mapping[str, Look],
) -> Figure:
    """Hit rate by tokens over the capacity, lines at the capacities in use, dots at what was found."""
    figure, axes = canvas.new("Hit rate by cache size", "capacity, tokens", "hit rate, by tokens")
    largest = max([curve.full_blocks * size, *sizes.values()]) * 2 + 10 * size
    at = log_spaced(largest // size, POINTS)
    axes.step(at * size, curve.rate_tokens(at), where="post", color=canvas.MIDDLE, label="LRU, one cache")
    capacity_axes(axes, size)
    for capacity in sorted(set(sizes.values())):
        axes.axvline(capacity, color=canvas.LINE, linewidth=0.9, linestyle="--", zorder=1)
    for name, capacity in sizes.items():
        sides = canvas.sides(rates[name], ends[name] or (rates[name], rates[name]))
        colour = seen[name].colour
        axes.errorbar(
            [capacity], [rates[name]], yerr=sides, fmt="o", color=colour, markersize=4, label=name
        )
    axes.set_ylim(0, 1.05 * max([float(curve.rate_tokens([curve.full_blocks])[0]), *rates.values(), 0.01]))
    axes.set_xlim(min([size * 4, *sizes.values()]), largest)
    looks.legend(figure, seen, list(sizes), {"LRU, one cache of this size": "-", "KV memory today": "--"})
    return figure
