"""What studies write as types: every key with its unit and meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from sim.results.about import About
from sim.results.summary_cost import Pricing

Figure = float | None


class SampleEntry(TypedDict):
    """A run of one side of a system at one rate, of which only the measured window counts.

    What is served and what that costs is as in summary.json of the same run. Null in a run without a steady
    state and in one that is overloaded: there it would be that of the run's length.
    """

    rate: Annotated[float, About("rate_unit", "The arrival rate.")]
    verdict: Annotated[
        Literal["good", "bad", "unknown"],
        About("", "Whether enough requests were good, too few (or an overload), or the run cannot tell."),
    ]
    reason: Annotated[str | None, About("", "Why the run cannot tell, or what shows the overload.")]
    duration_s: Annotated[float, About("s", "For how long sessions start: `workload.duration_s`.")]
    sessions: Annotated[int, About("count", "Sessions of the run.")]
    start_s: Annotated[float, About("s", "Start of the measured window: `warmup_s`.")]
    end_s: Annotated[Figure, About("s", "Its end: `until_s`; null for the end of the run.")]
    requests: Annotated[int, About("requests", "Requests that arrive in the window.")]
    steady: Annotated[bool, About("", "Whether the window is a steady one, or the one asked for.")]
    good_share: Annotated[
        Figure, About("0-1", "Requests that met every limit, of all that arrived; rejected ones did not.")
    ]
    good_share_interval: Annotated[
        tuple[float, float] | None,
        About("0-1", "Its 95 % interval, from ten parts of the window; null for fewer than 200 requests."),
    ]
    requests_per_s: Annotated[Figure, About("1/s", "Requests completed per second.")]
    requests_per_s_per_gpu: Annotated[Figure, About("1/s", "The same by the number of GPUs held.")]
    cost_usd_per_1m_tokens: Annotated[
        Figure, About("USD", "Dollars per million prompt and output tokens together; null without a price.")
    ]
    pricing: Annotated[Pricing | None, About("", "What is paid, as in summary.json.")]


class FoundRate(TypedDict):
    """What the search found for a system, with its cache or without."""

    outcome: Annotated[
        Literal["found", "unbounded", "none", "refused"],
        About(
            "",
            "Whether a highest rate was found, every rate tried was good, none was, or runs cannot tell.",
        ),
    ]
    reason: Annotated[str | None, About("", "Why it is refused.")]
    max_rate: Annotated[Figure, About("rate_unit", "The highest rate at which enough requests are good.")]
    max_rate_interval: Annotated[
        tuple[Figure, Figure],
        About(
            "rate_unit",
            "Its 95 % interval: of the share of good requests, and of the load that the draws bring.",
        ),
    ]
    next_rate_tried: Annotated[Figure, About("rate_unit", "The next higher rate that was tried.")]
    at_max_rate: Annotated[SampleEntry | None, About("", "The run at the highest rate.")]
    monotone: Annotated[bool, About("", "Whether the share of good requests only falls with the rate.")]
    largest_rise_between: Annotated[
        tuple[float, float] | None,
        About("rate_unit", "Where it rises most, if it rises."),
    ]
    contradicting_rates: Annotated[
        list[float], About("rate_unit", "Rates that are good above the highest one, or bad below it.")
    ]
    samples: Annotated[list[SampleEntry], About("", "Every run, by rate.")]


class CapacityEntry(TypedDict):
    """The capacity of one system."""

    calibrated: Annotated[bool | None, About("", "Whether times rest on measurements of the GPU.")]
    notes: Annotated[list[str], About("", "What a reader has to know about these figures.")]
    ratio: Annotated[
        Figure, About("ratio", "Highest rate with the cache / without; null unless both were found.")
    ]
    ratio_interval: Annotated[
        tuple[Figure, Figure], About("ratio", "Its 95 % interval; both sides have the same draws.")
    ]
    without_cache: Annotated[FoundRate, About("", "The twin without a cache.")]
    with_cache: Annotated[FoundRate, About("", "The system with its cache.")]


class CapacitySummary(TypedDict):
    """The highest arrival rate that each engine bears within the limits. No wall-clock times."""

    schema_version: Annotated[int, About("", "Changes when a key changes its meaning.")]
    name: Annotated[str, About("", "Name of the experiment.")]
    seed: Annotated[int, About("", "Seed of all random draws.")]
    version: Annotated[str, About("", "Version of prefixsim.")]
    configured_duration_s: Annotated[
        Figure,
        About("s", "For how long sessions start as configured; null for a recorded trace."),
    ]
    requests_needed: Annotated[
        int, About("requests", "Requests that a window has to hold for the share wanted.")
    ]
    slo_ms: Annotated[dict[str, float], About("ms", "The limits by vLLM's names: ttft, tpot, e2el.")]
    slo_share: Annotated[float, About("0-1", "Share of the requests that have to keep all limits.")]
    precision: Annotated[float, About("ratio", "How exactly the rate is found, relative to it.")]
    rate_key: Annotated[str, About("", "The key of the configuration that sets the rate.")]
    rate_unit: Annotated[str, About("", "What a rate is: sessions/s, or multiples of the recorded speed.")]
    configured_rate: Annotated[float, About("rate_unit", "The rate as configured.")]
    systems: Annotated[dict[str, CapacityEntry], About("", "Each engine, by name.")]


class Amounts(TypedDict):
    """What a habit takes on one system; amounts are per 1,000 sessions."""

    hit_rate: Annotated[Figure, About("0-1", "Hits / queries in tokens.")]
    mean_ttft_ms: Annotated[Figure, About("ms", "Mean time to first token.")]
    prompt_tokens: Annotated[float, About("tokens", "Prompt tokens, cached ones included.")]
    computed_tokens: Annotated[float, About("tokens", "Prompt tokens not found in the cache.")]
    gpu_busy_s: Annotated[Figure, About("s", "GPU time in iterations.")]
    cost_usd: Annotated[Figure, About("USD", "The bill.")]
    cost_usd_busy: Annotated[
        Figure, About("USD", "The part of a bill for GPUs held in which they computed.")
    ]
    written_tokens: Annotated[
        Figure, About("tokens", "Tokens written into a provider's cache; null without a provider's bill.")
    ]


class HabitFigures(Amounts):
    """What one system made of one chat; amounts are per 1,000 sessions."""

    cost_usd_without_cache: Annotated[Figure, About("USD", "The bill of the same prompts uncached.")]
    cost_usd_busy_without_cache: Annotated[Figure, About("USD", "The busy part of that bill.")]
    pricing: Annotated[Pricing | None, About("", "What is paid, as in summary.json.")]
    calibrated: Annotated[bool | None, About("", "Whether times rest on measurements of the GPU.")]
    notes: Annotated[list[str], About("", "What a reader has to know about these figures.")]


class PairEntry(TypedDict):
    """A good habit beside a bad one on the same conversations."""

    habits: Annotated[
        dict[str, Any], About("", "`good` and `bad`: what each changes of the configured habits.")
    ]
    good: Annotated[dict[str, HabitFigures], About("", "Under the good habit, by system.")]
    bad: Annotated[dict[str, HabitFigures], About("", "Under the bad habit, by system.")]
    more: Annotated[
        dict[str, Amounts],
        About("", "Bad less good, by system; the rates and times are differences, not per 1,000 sessions."),
    ]


class HabitSummary(TypedDict):
    """What client habits cost. No wall-clock times."""

    schema_version: Annotated[int, About("", "Changes when a key changes its meaning.")]
    name: Annotated[str, About("", "Name of the experiment.")]
    seed: Annotated[int, About("", "Seed of all random draws.")]
    version: Annotated[str, About("", "Version of prefixsim.")]
    sessions: Annotated[int, About("count", "Sessions of each chat.")]
    requests: Annotated[int, About("requests", "Requests of each chat.")]
    amounts_per_sessions: Annotated[int, About("count", "Amounts are per so many sessions: 1,000.")]
    habit_pairs: Annotated[dict[str, PairEntry], About("", "Each pair, by the name of its bad habit.")]


class SweepRow(TypedDict):
    """A system at a point of the sweep."""

    point: Annotated[dict[str, Any], About("", "The setting of each axis, by the axis.")]
    system: Annotated[str, About("", "Name of the system.")]
    calibrated: Annotated[bool | None, About("", "Whether times rest on measurements of the GPU.")]
    jobs: Annotated[list[str], About("", "Its jobs by seed, folders in `jobs/`.")]
    mean: Annotated[dict[str, Figure], About("as the figure", "Mean over the seeds, by figure.")]
    half_width: Annotated[
        dict[str, Figure],
        About(
            "as the figure", "Half of the mean's 95 % interval (Student's t), by figure; null for one seed."
        ),
    ]


class SweepFailure(TypedDict):
    """A point that could not be run."""

    point: Annotated[dict[str, Any], About("", "The setting of each axis, by the axis.")]
    message: Annotated[str, About("", "Why: place, key, value and what is allowed.")]


class SweepSummary(TypedDict):
    """Every combination of the axes, each with the same seeds. No wall-clock times."""

    schema_version: Annotated[int, About("", "Changes when a key changes its meaning.")]
    name: Annotated[str, About("", "Name of the experiment.")]
    version: Annotated[str, About("", "Version of prefixsim.")]
    experiment: Annotated[str, About("", "Hash of the configuration without axes and seeds.")]
    seeds: Annotated[list[int], About("", "The seeds of every point.")]
    axes: Annotated[dict[str, list[Any]], About("", "The settings of each axis, by the axis.")]
    metrics: Annotated[dict[str, str], About("", "The unit of each figure, by its place in summary.json.")]
    rows: Annotated[list[SweepRow], About("", "Every system at every point, the last axis fastest.")]
    pareto: Annotated[
        dict[str, list[dict[str, Any]]] | None,
        About("", "The Pareto front of two figures: the settings and system of each point on it."),
    ]
    failures: Annotated[list[SweepFailure], About("", "The points that could not be run.")]


class SearchRow(TypedDict):
    """A system at a point that was tried."""

    point: Annotated[dict[str, Any], About("", "The setting of each axis, by the axis.")]
    system: Annotated[str, About("", "Name of the system.")]
    jobs: Annotated[list[str], About("", "Its jobs by seed, folders in `jobs/`.")]
    within_limits: Annotated[bool, About("", "Whether its means keep all limits.")]
    mean: Annotated[dict[str, Figure], About("as the figure", "Mean over the seeds, by figure.")]
    half_width: Annotated[
        dict[str, Figure],
        About(
            "as the figure", "Half of the mean's 95 % interval (Student's t), by figure; null for one seed."
        ),
    ]


class SearchSummary(TypedDict):
    """The best settings within limits. No wall-clock times."""

    schema_version: Annotated[int, About("", "Changes when a key changes its meaning.")]
    name: Annotated[str, About("", "Name of the experiment.")]
    version: Annotated[str, About("", "Version of prefixsim.")]
    experiment: Annotated[str, About("", "Hash of the configuration without axes and seeds.")]
    seeds: Annotated[list[int], About("", "The seeds of every point.")]
    axes: Annotated[dict[str, list[Any]], About("", "The settings of each axis, by the axis.")]
    goals: Annotated[dict[str, Literal["min", "max"]], About("", "Which way each figure is to go.")]
    limits: Annotated[list[str], About("", "What has to be kept.")]
    whole_grid: Annotated[bool, About("", "Whether every combination was run.")]
    trials: Annotated[int, About("count", "Points tried, those tried again included.")]
    best: Annotated[
        list[SearchRow],
        About("", "What keeps the limits and nothing else that does beats in all goals, the best first."),
    ]
    rows: Annotated[list[SearchRow], About("", "Everything that was tried.")]
    failures: Annotated[list[SweepFailure], About("", "The points that could not be run.")]


class FleetSize(TypedDict):
    """The fewest replicas that keep the limits, with the cache or without."""

    replicas: Annotated[int | None, About("count", "The fewest; null: not up to the most that were tried.")]
    gpus: Annotated[int | None, About("count", "GPUs of so many replicas.")]
    cost_usd_per_hour: Annotated[
        Figure, About("USD/h", "Their bill by the hour of the measured time; null without a price.")
    ]
    good: Annotated[
        dict[str, Figure],
        About("as the figure", "The limited figures with so many, or with the most tried."),
    ]
    one_less: Annotated[
        dict[str, Figure] | None,
        About("as the figure", "The same with one replica less; null where there is none less."),
    ]
    tried: Annotated[
        dict[str, bool], About("", "Whether each number of replicas that was tried is enough.")
    ]


class FleetKind(TypedDict):
    """A kind of replica and how many of it are needed."""

    point: Annotated[dict[str, Any], About("", "The setting of each axis, by the axis.")]
    with_cache: Annotated[FleetSize, About("", "With the cache.")]
    without_cache: Annotated[FleetSize, About("", "The twin without a cache.")]


class FleetSummary(TypedDict):
    """The fewest GPUs that keep the limits, kind by kind. No wall-clock times."""

    schema_version: Annotated[int, About("", "Changes when a key changes its meaning.")]
    name: Annotated[str, About("", "Name of the experiment.")]
    version: Annotated[str, About("", "Version of prefixsim.")]
    experiment: Annotated[str, About("", "Hash of the configuration without axes and seeds.")]
    seeds: Annotated[list[int], About("", "The seeds of every point.")]
    system: Annotated[str, About("", "The engine whose replicas are counted.")]
    limits: Annotated[list[str], About("", "What has to be kept.")]
    most: Annotated[int, About("count", "The most replicas that were tried.")]
    best: Annotated[
        dict[str, Any] | None,
        About(
            "",
            "The kind with the fewest GPUs with the cache, the cheaper one of equals; null if none does.",
        ),
    ]
    kinds: Annotated[list[FleetKind], About("", "Every kind of replica.")]
    failures: Annotated[list[SweepFailure], About("", "The kinds that could not be run.")]
