"""What summary.json says of one system: its figures, and the names of all of them.

Names are those of vLLM's result files. A figure that cannot be computed is None, never 0.
"""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Any, NotRequired, TypedDict, get_args

from sim.results.about import About, described
from sim.results.summary_cost import CostFigures, Figure, Regret

Count = int | None
Ttft = Annotated[
    Figure, About("ms", "Time to first token: arrival to the first output token, waiting included.")
]
Tpot = Annotated[
    Figure,
    About(
        "ms",
        "Time per output token after the first: (e2el - ttft) / (output tokens - 1), one value per "
        "request; none for a reply of one token.",
    ),
]
Itl = Annotated[
    Figure,
    About(
        "ms",
        "Gap between two tokens of a reply, pooled over all requests: long replies weigh more. Tokens that "
        "one step gives together (speculative decoding) count as one.",
    ),
]
E2el = Annotated[Figure, About("ms", "End-to-end latency: arrival to the last token.")]
QueueTime = Annotated[Figure, About("ms", "Arrival to the first admission by the engine's scheduler.")]


class Latencies(TypedDict):
    """Mean, median, population standard deviation and percentiles (linear) of five times."""

    mean_ttft_ms: Ttft
    median_ttft_ms: Ttft
    std_ttft_ms: Ttft
    p50_ttft_ms: Ttft
    p90_ttft_ms: Ttft
    p95_ttft_ms: Ttft
    p99_ttft_ms: Ttft
    mean_tpot_ms: Tpot
    median_tpot_ms: Tpot
    std_tpot_ms: Tpot
    p50_tpot_ms: Tpot
    p90_tpot_ms: Tpot
    p95_tpot_ms: Tpot
    p99_tpot_ms: Tpot
    mean_itl_ms: Itl
    median_itl_ms: Itl
    std_itl_ms: Itl
    p50_itl_ms: Itl
    p90_itl_ms: Itl
    p95_itl_ms: Itl
    p99_itl_ms: Itl
    mean_e2el_ms: E2el
    median_e2el_ms: E2el
    std_e2el_ms: E2el
    p50_e2el_ms: E2el
    p90_e2el_ms: E2el
    p95_e2el_ms: E2el
    p99_e2el_ms: E2el
    mean_queue_time_ms: QueueTime
    median_queue_time_ms: QueueTime
    std_queue_time_ms: QueueTime
    p50_queue_time_ms: QueueTime
    p90_queue_time_ms: QueueTime
    p95_queue_time_ms: QueueTime
    p99_queue_time_ms: QueueTime


class CacheFigures(TypedDict):
    """What was asked of the cache, found and evicted. What is first admitted counts, repeats do not."""

    prefix_cache_queries_tokens: Annotated[int, About("tokens", "Prompt tokens that were looked up.")]
    prefix_cache_hits_tokens: Annotated[int, About("tokens", "Those of them that were in the cache.")]
    prefix_cache_hit_rate: Annotated[
        Figure, About("0-1", "Hits / queries in tokens: a long prompt weighs more than a short one.")
    ]
    prefix_cache_queries_blocks: Annotated[
        Count, About("blocks", "Whole blocks of the prompts; null where not every request is counted.")
    ]
    prefix_cache_hits_blocks: Annotated[Count, About("blocks", "Those of them that were in the cache.")]
    prefix_cache_hit_rate_blocks: Annotated[Figure, About("0-1", "Hits / queries in blocks.")]
    prefix_cache_hits_tokens_by_tier: Annotated[
        dict[str, int] | None,
        About(
            "tokens",
            "Hits by the tier that served them, fastest first; null without tiers. Of a part of a run "
            "those of admissions in its time, which are not all of requests that arrive in it.",
        ),
    ]
    hits_lost_to_isolation_tokens: Annotated[
        Count,
        About("tokens", "Hits of the same cache shared by all tenants, less those here."),
    ]
    request_hit_rate: Annotated[Figure, About("0-1", "Share of the requests with at least one hit token.")]
    preempted_queries_tokens: Annotated[
        Count, About("tokens", "Tokens looked up by requests that came back after a preemption.")
    ]
    preempted_hits_tokens: Annotated[Count, About("tokens", "Those of them that were in the cache.")]
    recomputed_tokens: Annotated[
        Count, About("tokens", "Tokens computed a second time because of a preemption.")
    ]
    abandoned_tokens: Annotated[
        Count, About("tokens", "Tokens computed for requests that were given up or lost with a replica.")
    ]
    evicted_blocks: Annotated[Count, About("blocks", "Cached blocks given up to make room.")]
    evicted_tokens: Annotated[
        Count, About("tokens", "Cached tokens given up, by caches that evict tokens and not blocks.")
    ]
    num_preemptions: Annotated[
        Count, About("count", "Times a running request was pushed out because KV memory was short.")
    ]
    kv_block_lifetime_s: Annotated[Figure, About("s", "Allocation to eviction; not measured yet: null.")]
    kv_block_idle_before_evict_s: Annotated[
        Figure, About("s", "Last use to eviction; not measured yet: null.")
    ]
    kv_block_reuse_gap_s: Annotated[
        Figure, About("s", "Between two uses of a block; not measured yet: null.")
    ]
    kv_cache_usage_perc: Annotated[
        Figure,
        About("0-1", "Highest share of a replica's KV blocks that requests held (0-1 despite its name)."),
    ]


class Served(TypedDict):
    """How many requests ended how, and how fast."""

    duration: Annotated[
        Figure,
        About("s", "Length of the measured window; of a whole run, first arrival to last completion."),
    ]
    sessions: Annotated[int, About("sessions", "Sessions that start in the measured window.")]
    completed: Annotated[int, About("requests", "Requests that have all their tokens.")]
    failed: Annotated[int, About("requests", "The others: rejected, timed out or aborted.")]
    rejected: Annotated[
        int, About("requests", "Turned away: too long for the engine, or its queue was full.")
    ]
    timed_out: Annotated[int, About("requests", "Given up by the client at its deadline.")]
    aborted: Annotated[int, About("requests", "Given up by the engine itself.")]
    retried: Annotated[int, About("requests", "Lost with a replica that died, and begun anew elsewhere.")]
    total_input_tokens: Annotated[int, About("tokens", "Prompt tokens, cached ones included.")]
    total_output_tokens: Annotated[int, About("tokens", "Output tokens.")]
    computed_prompt_tokens: Annotated[
        int,
        About("tokens", "Prompt tokens not found in the cache, without repeats after a preemption."),
    ]
    request_throughput: Annotated[
        Figure, About("1/s", "Requests that complete in the measured time / duration.")
    ]
    request_goodput: Annotated[
        Figure,
        About("1/s", "Completed requests within every limit of `slo` / duration; null without limits."),
    ]
    output_throughput: Annotated[Figure, About("tokens/s", "Output tokens of these / duration.")]
    total_token_throughput: Annotated[
        Figure, About("tokens/s", "Their prompt and output tokens / duration.")
    ]
    max_output_tokens_per_s: Annotated[Count, About("tokens/s", "Most output tokens within one second.")]
    max_concurrent_requests: Annotated[
        Count, About("requests", "Most requests in the system within one second.")
    ]


class SpecDecode(TypedDict):
    """What came of speculative decoding, where there is some; vLLM's names."""

    spec_decode_num_drafts: NotRequired[
        Annotated[
            Count,
            About("count", "Verifications: once per request and step with drafts (speculative decoding)."),
        ]
    ]
    spec_decode_num_draft_tokens: NotRequired[Annotated[Count, About("tokens", "Tokens drafted.")]]
    spec_decode_num_accepted_tokens: NotRequired[
        Annotated[Count, About("tokens", "Those of them that were accepted.")]
    ]
    spec_decode_mean_acceptance_length: NotRequired[
        Annotated[
            Figure,
            About("tokens", "Mean tokens per verification: 1 + accepted / drafts, as vLLM logs it."),
        ]
    ]


class Figures(Served, Latencies, SpecDecode):
    """What one system did with the trace. Figures are of completed requests of the measured window."""

    engine_iterations: Annotated[Count, About("count", "Iterations of all replicas.")]
    gpu_busy_seconds: Annotated[Figure, About("s", "GPU time in iterations, over all GPUs.")]
    extrapolated_seconds: Annotated[
        Figure, About("s", "Time in iterations outside of what the latency profile measured.")
    ]
    cache: Annotated[CacheFigures, About("", "What the cache was asked and what it gave.")]
    cost: Annotated[CostFigures, About("", "Dollars, and what they pay for.")]


class OwnWindow(TypedDict):
    """In closed loop: which part of its run the figures of one system, or of its twin, are about."""

    start_s: Annotated[float, About("s", "Where it begins; the warm-up is before.")]
    end_s: Annotated[Figure, About("s", "Where it ends; the drain is after. Null: with the last reply.")]
    outside_ratio: Annotated[float, About("0-1", "Share of the requests that arrive outside of it.")]


class SystemEntry(Figures):
    """One system, or its twin without a cache. Figures are of completed requests of the measured window.

    ``std`` is the population's standard deviation, percentiles are linear (numpy's default).
    """

    calibrated: Annotated[
        bool | None,
        About("", "Whether times rest on measurements of the GPU; null without times."),
    ]
    notes: Annotated[list[str], About("", "What a reader has to know about these figures.")]
    warnings: Annotated[
        list[str], About("", "Why figures may mislead: overload, a cache still filling, too few requests.")
    ]
    window: NotRequired[
        Annotated[OwnWindow, About("", "What part of its run they are about, where runs differ in that.")]
    ]
    regret: NotRequired[
        Annotated[Regret, About("", "A provider's other caching strategies, where they were tried.")]
    ]


def _is_number(kind: Any) -> bool:
    return all(part in (int, float, NoneType) for part in get_args(kind) or (kind,))


def _figures() -> list[str]:
    parts = (("", Figures), ("cache.", CacheFigures), ("cost.", CostFigures))
    return [
        before + field.key for before, part in parts for field in described(part) if _is_number(field.kind)
    ]


FIGURES = _figures()
"""Every figure of a system by name; those of ``cache`` and ``cost`` have that before them."""
HIGHER = ("throughput", "good", "hit", "completed", "saved", "output_tokens_per_s", "accept")
"""A figure whose name has one of these is better when it is higher; all others when they are lower."""


def is_better_high(figure: str) -> bool:
    """Whether more of ``figure`` is better.

    >>> is_better_high("cache.prefix_cache_hits_blocks"), is_better_high("mean_ttft_ms")
    (True, False)
    """
    return any(word in figure for word in HIGHER) and "lost" not in figure
