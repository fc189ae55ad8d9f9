"""One replica as a queue of theory: independent requests, confidence intervals over seeds, naive queues.

Tokens are so many that a step is next to nothing: a request takes ``MEAN_TOKENS`` steps of ``STEP_S`` on
average, 1 s. Runs of decode iterations pass in one event, so that this costs nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.hardware.coefficients import Coefficients
from sim.results.records import Records
from tests.engine.driving import fleet_of
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

Numbers = Sequence[float] | NDArray[np.floating[Any]]
STEP_S = 1e-7
MEAN_TOKENS = 10_000_000
MEAN_S = STEP_S * MEAN_TOKENS
REQUESTS = 2500
STEADY = slice(500, -300)
"""Requests that figures are taken from: the first ones find the queue shorter than it will be (see
``forgotten``), and the last ones have less company than those before them."""
SEEDS = range(1, 26)
STUDENT_T = 3.745
"""0.9995 quantile of Student's t with 24 degrees of freedom (25 seeds): 99.9 %, two-sided. From
R. A. Fisher, F. Yates, Statistical Tables for Biological, Agricultural and Medical Research, table III."""
GEOMETRIC = {"distribution": "geometric", "mean": MEAN_TOKENS}
LOGNORMAL = {"distribution": "lognormal", "mean": MEAN_TOKENS, "sigma": 1.0}


def requests_at(rate_per_s: float, seed: int, reply_tokens: Any, requests: int = REQUESTS) -> Trace:
    """Poisson arrivals of independent requests with prompts of one token."""
    config = {
        "kind": "chat",
        "sessions": requests,
        "arrival": {"process": "poisson", "rate_per_s": rate_per_s},
        "turns": 1,
        "think_time_s": 0,
        "system_prompt": {"tokens": 0},
        "user_tokens": 1,
        "reply_tokens": reply_tokens,
    }
    return ChatWorkload.model_validate(config).build(seed, Path())


def serve(trace: Trace, coefficients: Coefficients, max_num_seqs: int) -> Records:
    """The requests on one replica with memory and token budget for all of them."""
    return fleet_of(
        trace,
        blocks=1_000_000_000,
        max_num_batched_tokens=100_000,
        max_num_seqs=max_num_seqs,
        coefficients=coefficients,
        caching=False,
    ).run()


def mean_and_half_width(
    figure: Callable[[int], float], seeds: Sequence[int] = SEEDS
) -> tuple[float, float]:
    """Mean of ``figure(seed)``, and half the width of its 99.9 % confidence interval. 25 seeds."""
    figures = [figure(seed) for seed in seeds]
    assert len(figures) == 25, "STUDENT_T is that of 25"
    return float(np.mean(figures)), float(STUDENT_T * np.std(figures, ddof=1) / len(figures) ** 0.5)


def forgotten(rate_per_s: float, servers: int) -> float:
    """What is left of the empty start when ``STEADY`` begins, as a part of it: exp(-gap x time).

    The gap is the smallest decay rate of M/M/c (with up to 400 in the system), from its generator.
    """
    up = np.full(400, rate_per_s)
    down = np.minimum(np.arange(1, 401), servers) / MEAN_S
    total = np.append(up, 0.0) + np.append(0.0, down)
    beside = -np.sqrt(up * down)  # symmetric, with the same eigenvalues
    rates = np.linalg.eigvalsh(np.diag(total) + np.diag(beside, 1) + np.diag(beside, -1))
    assert abs(rates[0]) < 1e-9, "the stationary state does not decay"
    return float(np.exp(-rates[1] * STEADY.start / rate_per_s))


def shared_queue_starts(arrival_s: Numbers, service_s: Numbers, servers: int) -> list[float]:
    """When each request starts if ``servers`` take them in order from one queue; no steps."""
    free_at = [0.0] * servers
    starts = []
    for arrival, service in zip(arrival_s, service_s, strict=True):
        starts.append(max(arrival, heapq.heappop(free_at)))
        heapq.heappush(free_at, starts[-1] + service)
    return starts


def shared_processor_ends(arrival_s: Numbers, service_s: Numbers) -> list[float]:
    """When each request ends if all that are there get equal parts of one processor; no steps."""
    ends = [0.0] * len(arrival_s)
    there: list[tuple[float, int]] = []  # (service that everybody has had when it ends, request)
    now = had = 0.0
    for i, arrival in enumerate([*arrival_s, np.inf]):
        while there and now + (there[0][0] - had) * len(there) <= arrival:
            upto, request = there[0]
            now, had = now + (upto - had) * len(there), upto
            heapq.heappop(there)
            ends[request] = now
        if arrival < np.inf:
            had += (arrival - now) / len(there) if there else 0.0
            now = arrival
            heapq.heappush(there, (had + service_s[i], i))
    return ends
