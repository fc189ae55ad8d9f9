"""One replica that serves one request at a time is a queue with a known mean.

With ``max_num_seqs`` 1 and iterations of constant length, a request with n output tokens occupies the
replica for n iterations: the prefill gives the first token. Poisson arrivals make it M/G/1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.hardware.coefficients import Coefficients
from sim.results.metrics import e2el_s, queue_time_s
from sim.results.records import Records
from tests.engine.driving import fleet_of, watch
from tests.engine.queueing import mean_and_half_width
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

STEP_S = 0.001
MEAN_TOKENS = 1000
MEAN_S = STEP_S * MEAN_TOKENS
REQUESTS = 2500


def _trace(load: float, seed: int, reply_tokens: Any) -> Trace:
    """Independent requests at ``load`` times the rate that the replica can bear."""
    config = {
        "kind": "chat",
        "sessions": REQUESTS,
        "arrival": {"process": "poisson", "rate_per_s": load / MEAN_S},
        "turns": 1,
        "think_time_s": 0,
        "system_prompt": {"tokens": 0},
        "user_tokens": 1,
        "reply_tokens": reply_tokens,
    }
    return ChatWorkload.model_validate(config).build(seed, Path())


def _serve(trace: Trace) -> Records:
    fleet = fleet_of(
        trace,
        blocks=2000,
        max_num_seqs=1,
        coefficients=Coefficients(step=STEP_S),
        caching=False,
    )
    return fleet.run()


def _mean_and_half_width(load: float, reply_tokens: Any) -> tuple[float, float]:
    """Mean queue time over all seeds, and half the width of its 99.9 % confidence interval."""
    return mean_and_half_width(
        lambda seed: float(queue_time_s(_serve(_trace(load, seed, reply_tokens))).mean())
    )


@pytest.mark.parametrize("load", [pytest.param(0.5, marks=pytest.mark.slow), 0.7])
def test_mm1(load: float) -> None:
    """Geometric lengths with a large mean are nearly exponential: M/G/1 and M/M/1 both hold."""
    mean, half_width = _mean_and_half_width(load, {"distribution": "geometric", "mean": MEAN_TOKENS})
    second_moment = STEP_S**2 * MEAN_TOKENS * (2 * MEAN_TOKENS - 1)
    pollaczek_khinchine = load / MEAN_S * second_moment / (2 * (1 - load))
    exponential = load * MEAN_S / (1 - load)
    assert half_width < 0.2 * mean, "the interval must be able to exclude something"
    assert mean == pytest.approx(pollaczek_khinchine, abs=half_width)
    assert mean == pytest.approx(exponential, abs=half_width)


@pytest.mark.parametrize("load", [pytest.param(0.5, marks=pytest.mark.slow), 0.8])
def test_md1(load: float) -> None:
    """Equal lengths halve the mean queue time of M/M/1."""
    mean, half_width = _mean_and_half_width(load, MEAN_TOKENS)
    assert half_width < 0.2 * mean
    assert mean == pytest.approx(load * MEAN_S / (2 * (1 - load)), abs=half_width)


def test_lindley() -> None:
    """Each request waits for what the one before it waited and took, less the time between them."""
    records = _serve(_trace(0.9, 1, {"distribution": "geometric", "mean": MEAN_TOKENS}))
    wait = 0.0
    for i, got in enumerate(queue_time_s(records)):
        assert got == pytest.approx(wait, abs=1e-9)
        if i + 1 < len(records):
            between = records.arrival_s[i + 1] - records.arrival_s[i]
            wait = max(0.0, wait + STEP_S * records.output_tokens[i] - between)


@pytest.mark.parametrize("max_num_seqs", [1, 8])
def test_littles_law(max_num_seqs: int) -> None:
    """Mean number in the system = arrival rate x mean time in it, exactly on any sample path."""
    trace = _trace(1.5, 1, {"distribution": "geometric", "mean": MEAN_TOKENS})
    fleet = fleet_of(
        trace,
        blocks=2000,
        replicas=2,
        max_num_seqs=max_num_seqs,
        coefficients=Coefficients(step=STEP_S, decode_kv=1e-7),
    )
    seen = [(0.0, 0)]
    area = 0.0

    def look(now: float) -> None:
        nonlocal area
        before, number = seen[-1]
        area += number * (now - before)
        seen.append((now, sum(r.load for r in fleet.replicas)))

    watch(fleet, look)
    records = fleet.run()
    duration, left = seen[-1]
    assert left == 0
    assert max(number for _, number in seen) > 2
    rate, mean_time = len(records) / duration, e2el_s(records).mean()
    assert area / duration == pytest.approx(rate * mean_time, rel=1e-9)
