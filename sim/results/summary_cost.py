"""The dollars of summary.json as types: every key with its unit and meaning."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from sim.results.about import About

Figure = float | None
Pricing = Literal["gpu_hours", "tokens", "provider"]
"""What dollars pay for: GPUs held, tokens at a price list, or a provider's bill."""


class Spread(TypedDict):
    """How an amount is spread over requests or sessions, unanswered ones included."""

    mean: Annotated[float, About("USD", "Mean.")]
    p50: Annotated[float, About("USD", "Median.")]
    p90: Annotated[float, About("USD", "90th percentile, linear.")]
    p99: Annotated[float, About("USD", "99th percentile, linear.")]
    max: Annotated[float, About("USD", "Largest.")]


class BillSplit(TypedDict):
    """A provider's bill by what it pays for. Lifetimes are those that the provider sells, such as 5m."""

    uncached_input_usd: Annotated[float, About("USD", "Input that was neither read nor written.")]
    cache_write_usd: Annotated[dict[str, float], About("USD", "Cache writes, by lifetime.")]
    cache_read_usd: Annotated[float, About("USD", "Cache reads.")]
    storage_usd: Annotated[float, About("USD", "Rent of cache objects.")]
    output_usd: Annotated[float, About("USD", "Output tokens.")]
    total_micro_usd: Annotated[
        str,
        About("1e-6 USD", "The exact total: in full if it ends, else as a fraction."),
    ]
    usd_per_1000_sessions: Annotated[float, About("USD", "Total / sessions x 1,000.")]
    usd_per_request: Annotated[Spread, About("USD", "The spread over requests.")]
    usd_per_session: Annotated[Spread, About("USD", "The spread over sessions.")]
    mean_usd_by_turn: Annotated[
        dict[str, float],
        About("USD", "Mean of a request by its turn; all after turn 12 together."),
    ]
    usd_by_tenant: Annotated[dict[str, float], About("USD", "Total by the number of the tenant.")]
    cache_write_tokens: Annotated[dict[str, int], About("tokens", "Tokens written, by lifetime.")]
    usage_style: Annotated[
        Literal["inclusive", "exclusive"],
        About("", "Whether input tokens in the provider's replies include cached ones."),
    ]
    reported_input_tokens: Annotated[
        int, About("tokens", "The sum of what the replies give as input tokens, in that style.")
    ]
    cache_object_tokens: Annotated[
        int, About("tokens", "Tokens of cache objects that were made beside the requests.")
    ]
    overflowed_requests: Annotated[
        int, About("requests", "Requests that did not go to the first machine of their prefix.")
    ]
    calls: Annotated[int, About("calls", "Calls that are billed; a request sent again is several.")]
    given_up_calls: Annotated[
        int, About("calls", "Those whose client hung up at its deadline, before the reply was complete.")
    ]
    given_up_usd: Annotated[float, About("USD", "What they cost, part of the total.")]


class CostFigures(TypedDict):
    """Dollars, and which kind of price they rest on; null without a price."""

    pricing: Annotated[
        Pricing | None,
        About("", "What is paid: GPUs held, tokens at a price list, or a provider's bill."),
    ]
    cost_usd_total: Annotated[Figure, About("USD", "The whole bill.")]
    cost_usd_per_request: Annotated[Figure, About("USD", "Total / completed requests.")]
    cost_usd_per_1m_input_tokens: Annotated[
        Figure,
        About(
            "USD",
            "Per million prompt tokens; with `gpu_hours` the whole bill goes by input and again by output, "
            "so the two do not add up.",
        ),
    ]
    cost_usd_per_1m_output_tokens: Annotated[Figure, About("USD", "Per million output tokens.")]
    saved_usd_by_cache: Annotated[
        Figure,
        About(
            "USD",
            "By token: the same tokens uncached, less this; else the bill without cache, less this.",
        ),
    ]
    gpu_seconds: Annotated[Figure, About("s", "GPUs held x duration.")]
    cost_usd_busy: Annotated[
        Figure, About("USD", "The part of a bill for GPUs held in which they computed.")
    ]
    bill: NotRequired[Annotated[BillSplit, About("", "A provider's bill by what it pays for.")]]


class Regret(TypedDict):
    """The strategy of a provider's client beside every other one that the provider's rules allow."""

    best_strategy: Annotated[str, About("", "The cheapest one.")]
    best_cost_usd: Annotated[float, About("USD", "Its bill.")]
    regret_usd: Annotated[float, About("USD", "The configured one's bill, less that.")]
    regret_ratio: Annotated[Figure, About("ratio", "Regret / the best one's bill; null if that is 0.")]
    cost_usd_by_strategy: Annotated[dict[str, float], About("USD", "The bill of each, by its description.")]


class PricedSystem(TypedDict):
    """A system with a price in the same units as all others."""

    system: Annotated[str, About("", "Name of the system.")]
    pricing: Annotated[Pricing | None, About("", "What is paid, as in `cost`.")]
    prefix_cache_hit_rate: Annotated[Figure, About("0-1", "Hits / queries in tokens.")]
    usd_per_1000_sessions: Annotated[float, About("USD", "Total / sessions x 1,000.")]
    usd_per_1m_tokens: Annotated[float, About("USD", "Per million prompt and output tokens together.")]
    saved_ratio: Annotated[Figure, About("0-1", "Share of the bill that the cache saves.")]
    utilisation: Annotated[Figure, About("0-1", "GPU time busy / held; null where no GPU is held.")]
    regret_ratio: Annotated[Figure, About("ratio", "As in `regret`; null where no strategy was tried.")]


class Beaten(TypedDict):
    """The traffic at which owning is cheaper."""

    first_sessions_per_h: Annotated[
        Figure,
        About("1/h", "Traffic at which owning first costs no more than renting; null: never."),
    ]
    always_sessions_per_h: Annotated[
        Figure, About("1/h", "Traffic from which on it never costs more; null: never.")
    ]


class Crossover(Beaten):
    """An engine paid by the hour beside a provider, and the traffic at which owning is cheaper.

    An owned GPU is taken to be busy for at most 70 % of its time before another one is needed.
    """

    owned: Annotated[str, About("", "Name of the engine.")]
    rented: Annotated[str, About("", "Name of the provider's system.")]
    gpu_hour_usd: Annotated[float, About("USD/h", "Price of the GPUs held per hour, per GPU.")]
    sessions_per_gpu_hour: Annotated[
        float, About("1/h", "Sessions that one GPU serves at the busy seconds per session of this run.")
    ]
    simulated_sessions_per_h: Annotated[float, About("1/h", "The traffic of this run.")]
    simulated_usd_per_1000_sessions: Annotated[
        float, About("USD", "What they cost on the GPUs of this run.")
    ]
    rented_usd_per_1000_sessions: Annotated[float, About("USD", "What they cost at the provider.")]
    owned_usd_per_1000_sessions_at_best: Annotated[
        float, About("USD", "What they cost on GPUs that are as busy as they may be.")
    ]
