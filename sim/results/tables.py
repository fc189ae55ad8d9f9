"""The columns of the Parquet files as types: every column with its unit and meaning."""

from __future__ import annotations

from typing import Annotated, TypedDict

import numpy as np
from numpy.typing import NDArray

from sim.results.about import About

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]
Texts = NDArray[np.object_]


class RequestColumns(TypedDict):
    """One row per request and system. What a system does not have is null.

    Columns in ``_s`` are simulated time from the start of the trace; those in ``_ms`` follow from them.
    """

    system: Annotated[Texts, About("", "Name of the system; its twin without a cache ends in `/no-cache`.")]
    request_id: Annotated[
        Texts | Integers, About("", "The trace's own name of the request, or its number from 0.")
    ]
    session_id: Annotated[Integers, About("", "Number of the conversation.")]
    turn: Annotated[Integers, About("", "Turn within the conversation, from 1.")]
    tenant: Annotated[Integers, About("", "Number of the tenant.")]
    arrival_s: Annotated[Numbers, About("s", "When the request arrives.")]
    scheduled_s: Annotated[Numbers, About("s", "When the engine first admits it.")]
    first_token_s: Annotated[Numbers, About("s", "When its first output token is there.")]
    finished_s: Annotated[Numbers, About("s", "When its last one is.")]
    input_tokens: Annotated[
        Integers, About("tokens", "The whole prompt: computed, cached and written tokens together.")
    ]
    cache_read_input_tokens: Annotated[Integers, About("tokens", "Prompt tokens found in the cache.")]
    cache_creation_input_tokens: Annotated[
        Integers, About("tokens", "Prompt tokens that a provider wrote into its cache for a price.")
    ]
    output_tokens: Annotated[
        Integers,
        About("tokens", "Length of the reply; of one that was not completed, as it would have been."),
    ]
    ttft_ms: Annotated[Numbers, About("ms", "Arrival to the first output token.")]
    tpot_ms: Annotated[Numbers, About("ms", "(e2el - ttft) / (output tokens - 1); null for one token.")]
    e2el_ms: Annotated[Numbers, About("ms", "Arrival to the last token.")]
    queue_time_ms: Annotated[Numbers, About("ms", "Arrival to the first admission.")]
    replica: Annotated[Integers, About("", "Number of the replica that finished it, or -1.")]
    preemptions: Annotated[Integers, About("count", "Times it was pushed out because KV memory was short.")]
    retries: Annotated[
        Integers, About("count", "Times it began anew: its replica died, or its client sent it again.")
    ]
    tier: Annotated[Texts, About("", "Slowest tier that served a hit; null without a hit.")]
    cost_usd: Annotated[
        Numbers,
        About(
            "USD",
            "Its bill; null where tokens have no price, or of those on own GPUs no reply is complete.",
        ),
    ]
    status: Annotated[Texts, About("", "How it ended: `completed`, `rejected`, `timed_out` or `aborted`.")]


class StepColumns(TypedDict):
    """One row per iteration and request that it computed. Written where a system has ``record_steps``."""

    system: Annotated[Texts, About("", "Name of the system.")]
    step: Annotated[Integers, About("", "Number of the iteration.")]
    replica: Annotated[Integers, About("", "Number of the replica.")]
    request_id: Annotated[Texts | Integers, About("", "As in requests.parquet.")]
    scheduled_tokens: Annotated[Integers, About("tokens", "Tokens of the request in this iteration.")]


class SampleColumns(TypedDict):
    """One row per system, replica and sample. Written where a system has ``sample_s``."""

    system: Annotated[Texts, About("", "Name of the system.")]
    time_s: Annotated[Numbers, About("s", "Time of the sample, from the start of the trace.")]
    replica: Annotated[Integers, About("", "Number of the replica.")]
    num_requests_running: Annotated[
        Integers, About("requests", "Running requests, those that load KV included.")
    ]
    num_requests_waiting: Annotated[Integers, About("requests", "Waiting requests.")]
    kv_cache_usage_perc: Annotated[
        Numbers, About("0-1", "Share of the KV blocks that requests hold (0-1 despite its name).")
    ]
    prefix_cache_queries_tokens: Annotated[
        Integers, About("tokens", "Prompt tokens of the requests admitted since the sample before.")
    ]
    prefix_cache_hits_tokens: Annotated[Integers, About("tokens", "Those of them that were in the cache.")]
    prefix_cache_hit_rate: Annotated[Numbers, About("0-1", "Hits / queries; null without queries.")]
