"""How far a figure may be off: 95 % intervals from repetitions of what it was computed from.

Repetitions are runs with other seeds, or parts of one run's window that follow each other (batch means),
or resamples of a recorded trace's sessions (bootstrap). All systems of an experiment have the same ones, so
a difference between two of them, or between a system and its twin, is taken repetition by repetition: what
moves both (a part with more long prompts, say) cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from sim.results.summary import Intervals, SavedFigure, Saving, SavingIntervals, Summary
from sim.results.summary_system import FIGURES

CONFIDENCE = 0.95
FEWEST = 2
"""Repetitions that an interval needs at least."""
Flat = dict[str, float]
"""Figures of one system by name; those of ``cache`` and ``cost`` as ``cache.NAME`` and ``cost.NAME``."""
Interval = tuple[float, float]

NO_MEANS = {"max_output_tokens_per_s", "max_concurrent_requests", "cache.kv_cache_usage_perc", "duration"}
"""Figures that are no means over requests or time: parts of a run say nothing about them."""
TOTALS = {
    "completed", "failed", "rejected", "timed_out", "aborted", "retried", "sessions",
    "total_input_tokens", "total_output_tokens", "computed_prompt_tokens",
    "engine_iterations", "gpu_busy_seconds", "extrapolated_seconds",
    "cache.prefix_cache_queries_tokens", "cache.prefix_cache_hits_tokens",
    "cache.prefix_cache_queries_blocks", "cache.prefix_cache_hits_blocks",
    "cache.hits_lost_to_isolation_tokens", "cache.preempted_queries_tokens", "cache.preempted_hits_tokens",
    "cache.recomputed_tokens", "cache.abandoned_tokens", "cache.evicted_blocks", "cache.evicted_tokens",
    "cache.num_preemptions",
    "cost.cost_usd_total", "cost.saved_usd_by_cache", "cost.gpu_seconds", "cost.cost_usd_busy",
}  # fmt: skip
"""Figures that add up over the parts of a run."""


@dataclass(frozen=True, slots=True)
class Repetitions:
    """The figures of every system in each repetition; system and repetition name the same draws."""

    kind: Literal["seeds", "parts", "bootstrap"]
    systems: Mapping[str, Sequence[Flat]]
    no_cache: Mapping[str, Sequence[Flat]]

    @property
    def count(self) -> int:
        """How many there are."""
        return min((len(flats) for flats in self.systems.values()), default=0)

    def interval(self, figure: str, values: Sequence[float], centre: float, level: float) -> Interval:
        """The interval of ``figure`` around its value ``centre``, given its ``values`` by repetition."""
        if self.kind == "bootstrap":
            tail = (1 - level) / 2
            low, high = np.quantile(values, [tail, 1 - tail])
            return float(low), float(high)
        half = half_width(values, level)
        if self.kind == "parts" and figure in TOTALS:
            half *= len(values)
        return centre - half, centre + half

    def values(self, figure: str, system: str, *, cached: bool = True) -> list[float] | None:
        """``figure`` in each repetition; None unless every one has it."""
        flats = (self.systems if cached else self.no_cache)[system]
        if len(flats) < FEWEST or any(figure not in flat for flat in flats):
            return None
        if self.kind != "seeds" and figure in NO_MEANS:
            return None
        return [flat[figure] for flat in flats]


@cache
def t_quantile(level: float, freedom: int) -> float:
    """Within how many standard errors of the mean Student's t lies with probability ``level``.

    >>> round(t_quantile(0.95, 9), 3)
    2.262
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def half_width(values: Sequence[float], level: float = CONFIDENCE) -> float:
    """Half of the interval of a mean from independent ``values``, at least two.

    >>> round(half_width([1.0, 2.0, 3.0]), 3)
    2.484
    """
    n = len(values)
    return float(t_quantile(level, n - 1) * np.std(values, ddof=1) / n**0.5)


def flat(entry: Mapping[str, Any]) -> Flat:
    """The figures of a system's entry in summary.json that are numbers."""
    out: Flat = {}
    for prefix, part in (("", entry), ("cache.", entry["cache"]), ("cost.", entry["cost"])):
        for name, value in part.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                out[prefix + name] = float(value)
    return out


def of_figures(
    repetitions: Repetitions, figures: Flat, system: str, *, cached: bool
) -> dict[str, Interval]:
    """The interval of every figure of ``system`` that all repetitions have."""
    out = {}
    for name, centre in figures.items():
        if name not in FIGURES:
            continue
        values = repetitions.values(name, system, cached=cached)
        if values is not None:
            out[name] = repetitions.interval(name, values, centre, CONFIDENCE)
    return out


def of_saving(
    repetitions: Repetitions, name: str, system: str, saved: float | None, ratio: float | None
) -> tuple[Interval | None, Interval | None]:
    """The intervals of what the cache saves of a figure, and of that as a share."""
    before = repetitions.values(name, system, cached=False)
    after = repetitions.values(name, system)
    if before is None or after is None or saved is None:
        return None, None
    differences = [b - a for b, a in zip(before, after, strict=True)]
    of_saved = repetitions.interval(name, differences, saved, CONFIDENCE)
    if ratio is None or not all(before):
        return of_saved, None
    ratios = [(b - a) / b for b, a in zip(before, after, strict=True)]
    return of_saved, repetitions.interval("ratio", ratios, ratio, CONFIDENCE)


def of_summary(summary: Summary, repetitions: Repetitions) -> Intervals:
    """The intervals of every figure and every saving in ``summary``."""
    return {
        "repetitions": repetitions.kind,
        "count": repetitions.count,
        "systems": {
            name: of_figures(repetitions, flat(entry), name, cached=True)
            for name, entry in summary["systems"].items()
        },
        "no_cache": {
            name: of_figures(repetitions, flat(entry), name, cached=False)
            for name, entry in summary["no_cache"].items()
        },
        "savings": {name: _savings(repetitions, name, of) for name, of in summary["savings"].items()},
    }


def _savings(
    repetitions: Repetitions, system: str, savings: Mapping[SavedFigure, Saving]
) -> dict[SavedFigure, SavingIntervals]:
    out: dict[SavedFigure, SavingIntervals] = {}
    for figure, saving in savings.items():
        name = next(name for name in (figure, f"cost.{figure}") if name in FIGURES)
        saved, ratio = of_saving(repetitions, name, system, saving["saved"], saving["saved_ratio"])
        out[figure] = {"saved": saved, "saved_ratio": ratio}
    return out


def average(summary: Summary, seeds: Repetitions) -> None:
    """Replace the figures in ``summary`` by their means over the seeds; whole numbers stay whole.

    A figure that some seed does not have, because nothing completed under it, has no mean: None.
    """
    for entries, flats in ((summary["systems"], seeds.systems), (summary["no_cache"], seeds.no_cache)):
        for name, entry in entries.items():
            for prefix, part in (("", entry), ("cache.", entry["cache"]), ("cost.", entry["cost"])):
                figures: dict[str, Any] = part  # type: ignore[assignment]
                for figure, value in figures.items():
                    if prefix + figure not in FIGURES or prefix + figure not in flats[name][0]:
                        continue
                    values = [flat.get(prefix + figure) for flat in flats[name]]
                    known = [each for each in values if each is not None]
                    mean = sum(known) / len(known) if len(known) == len(values) else None
                    figures[figure] = round(mean) if mean is not None and isinstance(value, int) else mean
