"""A replica with ``max_num_seqs`` = c and iterations of constant length is c servers with one queue: M/M/c.

A request with n output tokens holds a place for n iterations, whoever else is there. Geometric lengths are
exponential ones rounded up to whole steps.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.hardware.coefficients import Coefficients
from sim.results.metrics import queue_time_s
from tests.engine.queueing import (
    GEOMETRIC,
    LOGNORMAL,
    MEAN_S,
    MEAN_TOKENS,
    REQUESTS,
    SEEDS,
    STEADY,
    STEP_S,
    forgotten,
    mean_and_half_width,
    requests_at,
    serve,
    shared_queue_starts,
)

CONSTANT = Coefficients(step=STEP_S)
ROUNDING_S = 1e-9
"""Of times that reach thousands of seconds."""
EXPONENTIAL_MEAN_S = -STEP_S / math.log1p(-1 / MEAN_TOKENS)
"""Of the exponential times that, rounded up to whole steps, are geometric with ``MEAN_TOKENS`` steps."""


def erlang_c(servers: int, offered: float) -> float:
    """Probability that an arrival of M/M/c waits, ``offered`` load in servers (Erlang, 1917)."""
    terms = [offered**k / math.factorial(k) for k in range(servers + 1)]
    last = terms[servers] * servers / (servers - offered)
    return last / (sum(terms[:servers]) + last)


def test_erlang_c() -> None:
    """One server, two servers, and the stationary numbers in M/M/5."""
    assert erlang_c(1, 0.7) == pytest.approx(0.7, rel=1e-12)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3, rel=1e-12)
    chain = np.array([math.prod(4.0 / min(k, 5) for k in range(1, n + 1)) for n in range(400)])
    assert erlang_c(5, 4.0) == pytest.approx(chain[5:].sum() / chain.sum(), rel=1e-12)


@pytest.mark.parametrize(
    "lengths", [GEOMETRIC, LOGNORMAL, MEAN_TOKENS], ids=["geometric", "lognormal", "equal"]
)
@pytest.mark.parametrize("servers", [1, 2, 8])
def test_one_queue_for_all_places(servers: int, lengths: object) -> None:
    """Every request starts when c servers would take it, or at the end of the step that is under way then.

    Waiting for that step is an arrival that comes up to a step later, so starts lie between those of the
    arrivals as they are and those of all arrivals a step later.
    """
    records = serve(requests_at(0.9 * servers / MEAN_S, 1, lengths), CONSTANT, servers)
    starts = shared_queue_starts(records.arrival_s, records.output_tokens * STEP_S, servers)
    later = records.scheduled_s - np.array(starts)
    assert later.min() > -ROUNDING_S and later.max() < STEP_S + ROUNDING_S
    assert (queue_time_s(records) > MEAN_S / 10).sum() > REQUESTS / 10, "there must be a queue"
    held = records.finished_s - records.scheduled_s
    assert held == pytest.approx(records.output_tokens * STEP_S, abs=ROUNDING_S)


@pytest.mark.parametrize(
    ("servers", "load", "requests"),
    [
        (2, 0.7, REQUESTS),
        pytest.param(4, 0.5, 2 * REQUESTS, marks=pytest.mark.slow),
        pytest.param(8, 0.8, 8 * REQUESTS, marks=pytest.mark.slow),
    ],
)
def test_mmc(servers: int, load: float, requests: int) -> None:
    """Probability of waiting (Erlang C) and mean wait C / (c mu - lambda).

    ``later_s`` is how much later than in M/M/c a request can start. Each length is up to a step more than
    an exponential one, which delays nobody by more than a step per request so far (starts grow with every
    service time: J. Kiefer, J. Wolfowitz, Trans. Am. Math. Soc. 78, 1955), and a request may have to wait
    for the step under way to end.
    """
    rate, later_s = load * servers / MEAN_S, STEP_S * (requests + 1)
    assert forgotten(rate, servers) < 0.01
    waits_s = {}
    for seed in SEEDS:
        records = serve(requests_at(rate, seed, GEOMETRIC, requests), CONSTANT, servers)
        waits_s[seed] = queue_time_s(records)[STEADY]
    waiting = erlang_c(servers, rate * EXPONENTIAL_MEAN_S)
    mean, half_width = mean_and_half_width(lambda seed: float(waits_s[seed].mean()))
    assert half_width < 0.25 * mean, "the interval must be able to exclude something"
    expected_s = waiting / (servers / EXPONENTIAL_MEAN_S - rate)
    assert mean == pytest.approx(expected_s, abs=half_width + later_s)
    # Who waits more than a step, waits for a place. All places are taken at most later_s longer each time,
    # which is not more often than requests come.
    mean, half_width = mean_and_half_width(lambda seed: float((waits_s[seed] > STEP_S).mean()))
    assert half_width < 0.1 * mean
    assert mean == pytest.approx(waiting, abs=half_width + rate * later_s)
