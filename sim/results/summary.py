"""summary.json and timing.json as types: every key with its unit and meaning.

docs/outputs.md is made from this file, `summary_system.py` and `summary_cost.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from sim.results.about import About
from sim.results.summary_cost import Crossover, Figure, PricedSystem
from sim.results.summary_system import OwnWindow, SystemEntry

SavedFigure = Literal[
    "computed_prompt_tokens",
    "mean_ttft_ms",
    "p50_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "mean_e2el_ms",
    "gpu_busy_seconds",
    "gpu_seconds",
    "cost_usd_total",
    "cost_usd_busy",
]
"""Figures of a system, or of its ``cost``, of which a cache may save."""
Saving = TypedDict(
    "Saving",
    {
        "without": Annotated[Figure, About("as the figure", "Without a cache.")],
        "with": Annotated[Figure, About("as the figure", "With it.")],
        "saved": Annotated[Figure, About("as the figure", "Without less with; negative if it costs more.")],
        "saved_ratio": Annotated[Figure, About("0-1", "Saved / without.")],
    },
)
Saving.__doc__ = "What the cache saves of one figure."


class WeighedClaim(TypedDict):
    """A claim of the configuration beside what the trace gives."""

    system: Annotated[str, About("", "The system that it is about.")]
    quantity: Annotated[str, About("", "What is said to be saved.")]
    source: Annotated[str, About("", "Where the claim was made.")]
    claimed_saved: Annotated[float, About("0-1", "The share that is said to be saved.")]
    derived_saved: Annotated[Figure, About("0-1", "The share that this run saves.")]
    holds: Annotated[bool | None, About("", "Whether that is enough; null if it cannot be decided.")]
    conditions: Annotated[list[str], About("", "Under what conditions the claim would hold.")]


class MeasuredWindow(OwnWindow):
    """Which part of the run the figures are about: requests that arrive in it, counters of its time.

    In closed loop every system and twin has one of its own, in its entry; begin and end here are those of
    the first system, and the share that of all systems.
    """

    chosen: Annotated[
        Literal["whole", "given", "found"],
        About("", "Found from the run, given by `warmup_s` and `until_s`, or the whole run."),
    ]


Bounds = tuple[float, float] | None
"""Lower and upper bound of an interval; None where it cannot be told."""


class SavingIntervals(TypedDict):
    """How far what a cache saves of a figure may be off."""

    saved: Annotated[Bounds, About("as the figure", "Bounds of without less with.")]
    saved_ratio: Annotated[Bounds, About("0-1", "Bounds of saved / without.")]


class Intervals(TypedDict):
    """How far figures may be off: 95 % intervals, by name; ``cache`` and ``cost`` stand before theirs."""

    repetitions: Annotated[
        Literal["seeds", "parts", "bootstrap"],
        About("", "Runs with other seeds, parts of the window, or resamples of the sessions."),
    ]
    count: Annotated[int, About("count", "How many repetitions there are.")]
    systems: Annotated[
        dict[str, dict[str, tuple[float, float]]], About("as the figure", "By system and figure.")
    ]
    no_cache: Annotated[
        dict[str, dict[str, tuple[float, float]]], About("as the figure", "The same of the twins.")
    ]
    savings: Annotated[
        dict[str, dict[SavedFigure, SavingIntervals]],
        About("", "Of what the cache saves, taken repetition by repetition."),
    ]


class RankedSystem(TypedDict):
    """One system among those of an experiment."""

    system: Annotated[str, About("", "Its name.")]
    value: Annotated[Figure, About("as the figure", "The figure that the systems are ranked by.")]
    interval: Annotated[Bounds, About("as the figure", "Its 95 % interval.")]
    difference_ratio: Annotated[Figure, About("0-1", "Value / that of the baseline - 1.")]
    difference_ratio_interval: Annotated[Bounds, About("0-1", "Its 95 % interval.")]


class Comparison(TypedDict):
    """All systems by one figure, the best first."""

    by: Annotated[str, About("", "The figure.")]
    higher_is_better: Annotated[bool, About("", "Whether more of it is better.")]
    baseline: Annotated[str, About("", "The system that the others are held against.")]
    rows: Annotated[list[RankedSystem], About("", "The systems, the best first.")]
    winner: Annotated[
        str | None,
        About("", "The best one, if it differs from every other beyond chance (Bonferroni, 5 % in all)."),
    ]
    tied: Annotated[
        list[str], About("", "The best one and those that do not differ from it beyond chance.")
    ]


class Summary(TypedDict):
    """Everything follows from configuration and seed: the same ones give the same bytes."""

    schema_version: Annotated[int, About("", "Changes when a key changes its meaning.")]
    name: Annotated[str, About("", "Name of the experiment.")]
    seed: Annotated[int, About("", "Seed of all random draws.")]
    version: Annotated[str, About("", "Version of prefixsim.")]
    requests: Annotated[int, About("requests", "Requests of the trace.")]
    window: Annotated[MeasuredWindow, About("", "What part of the run the figures are about.")]
    warnings: Annotated[list[str], About("", "Why the figures of all systems may mislead.")]
    systems: Annotated[dict[str, SystemEntry], About("", "Each system with its cache, by name.")]
    no_cache: Annotated[dict[str, SystemEntry], About("", "Each system without a cache, by name.")]
    savings: Annotated[
        dict[str, dict[SavedFigure, Saving]], About("", "What the cache saves, by system and figure.")
    ]
    intervals: Annotated[
        Intervals | None, About("", "How far the figures may be off; null for a run too small to tell.")
    ]
    comparison: Annotated[
        Comparison | None, About("", "The systems side by side; null where there is only one.")
    ]
    claims: Annotated[list[WeighedClaim], About("", "The claims of the configuration.")]
    side_by_side: NotRequired[
        Annotated[list[PricedSystem], About("", "Every priced system, where one is a provider.")]
    ]
    crossovers: NotRequired[
        Annotated[
            list[Crossover],
            About("", "Every engine paid by the hour beside every provider, where there is a provider."),
        ]
    ]


class SystemTiming(TypedDict):
    """How long the simulator took for one system."""

    simulation_s: Annotated[float, About("s", "Wall-clock time of the simulation with the cache.")]
    no_cache_simulation_s: Annotated[float, About("s", "Wall-clock time of the one without.")]
    simulated_requests_per_s: Annotated[float, About("1/s", "Requests / ``simulation_s``.")]


class Timing(TypedDict):
    """How long the simulator took, and under what: other on every run."""

    python: Annotated[str, About("", "Version of Python.")]
    load_s: Annotated[float, About("s", "Wall-clock time to make or read the trace.")]
    systems: Annotated[dict[str, SystemTiming], About("", "Each system, by name.")]
