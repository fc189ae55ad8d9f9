"""Arrivals, ties and closed loops of a fleet: small models with the exact list of who and when."""

from __future__ import annotations

from typing import Any

import pytest

from sim.hardware.coefficients import Coefficients
from tests.engine.driving import fleet_of
from workloads.checking import check
from workloads.content import ROOT
from workloads.trace import NONE, Trace


def _trace(*requests: tuple[float | None, int], follows: int = NONE, think_s: float = 0.0) -> Trace:
    """Requests (arrival in s, output tokens) with prompts of one token; None follows ``follows``."""
    trace = Trace()
    for arrival_s, output_tokens in requests:
        trace.add(
            prompt=trace.content.append(ROOT, 1),
            output_tokens=output_tokens,
            arrival_s=arrival_s,
            follows=follows if arrival_s is None else NONE,
            think_s=think_s if arrival_s is None else 0.0,
        )
    check(trace)
    return trace


FAST = Coefficients(step=0.001)
BOTH = pytest.mark.parametrize("fast_forward", [True, False])


@BOTH
def test_an_iteration_is_not_interrupted(fast_forward: bool) -> None:
    """Who arrives at 0.5, during the first iteration, is scheduled with the second at 1."""
    records = fleet_of(_trace((0.0, 4), (0.5, 1)), blocks=9, fast_forward=fast_forward).run()
    assert records.scheduled_s.tolist() == [0.0, 1.0]
    assert records.first_token_s.tolist() == [1.0, 2.0]
    assert records.finished_s.tolist() == [4.0, 2.0]


@BOTH
def test_who_arrives_when_an_iteration_ends_joins_the_next(fast_forward: bool) -> None:
    """At equal times arrivals come before the ends of iterations."""
    records = fleet_of(_trace((0.0, 9), (3.0, 1)), blocks=9, fast_forward=fast_forward).run()
    assert records.scheduled_s.tolist() == [0.0, 3.0]


@BOTH
def test_who_arrive_together_share_an_iteration(fast_forward: bool) -> None:
    """An idle replica begins when all of an instant's arrivals are in, in the order of the trace."""
    fleet = fleet_of(_trace((2.0, 1), (2.0, 1)), blocks=9, fast_forward=fast_forward)
    records = fleet.run()
    assert records.scheduled_s.tolist() == [2.0, 2.0]
    assert list(fleet.replicas[0].steps.first_tokens) == [2]


@BOTH
def test_a_follower_comes_after_its_think_time(fast_forward: bool) -> None:
    """The reply is complete at 3; half a second later the next turn finds an idle replica."""
    trace = _trace((0.0, 3), (None, 2), follows=0, think_s=0.5)
    records = fleet_of(trace, blocks=9, fast_forward=fast_forward).run()
    assert records.arrival_s.tolist() == [0.0, 3.5]
    assert records.finished_s.tolist() == [3.0, 5.5]


@BOTH
def test_without_think_time_the_follower_joins_the_next_iteration(fast_forward: bool) -> None:
    """It arrives with the last token, before the replica schedules again."""
    trace = _trace((0.0, 3), (0.0, 9), (None, 1), follows=0)
    records = fleet_of(trace, blocks=9, fast_forward=fast_forward).run()
    assert records.arrival_s.tolist() == [0.0, 0.0, 3.0]
    assert records.scheduled_s.tolist() == [0.0, 0.0, 3.0]


@BOTH
def test_replicas_end_in_the_order_of_their_numbers(fast_forward: bool) -> None:
    """Replica 1 ends with replica 0 at 2; 0's follower, routed to 0 again, and 1's keep that order."""
    trace = _trace((0.0, 2), (0.0, 2), (None, 1), follows=0)
    trace.add(prompt=trace.content.append(ROOT, 1), output_tokens=1, follows=1)
    records = fleet_of(trace, blocks=9, replicas=2, fast_forward=fast_forward).run()
    assert records.replica.tolist() == [0, 1, 0, 1]
    assert records.scheduled_s.tolist() == [0.0, 0.0, 2.0, 2.0]


@BOTH
@pytest.mark.parametrize(("before", "at"), [(0.481, 1.622), (0.195, 0.809)])
def test_arrivals_are_exact(before: float, at: float, fast_forward: bool) -> None:
    """`before + (at - before)` may lie on either side of `at`; nobody is scheduled before it arrives."""
    assert before + (at - before) != at
    trace = _trace((before, 1), (at, 1))
    records = fleet_of(trace, blocks=9, fast_forward=fast_forward, coefficients=FAST).run()
    records.check()
    assert records.arrival_s.tolist() == [before, at]
    assert records.scheduled_s.tolist() == pytest.approx([before, at], rel=1e-15)


@BOTH
def test_samples(fast_forward: bool) -> None:
    """One runs, one waits, every second: who, how much of ten blocks, prompt tokens admitted since then."""
    trace = _trace((0.0, 3), (0.5, 2))
    limits: dict[str, Any] = {"blocks": 10, "block_size": 1, "max_num_seqs": 1}
    samples = fleet_of(trace, fast_forward=fast_forward, sample_s=1.0, **limits).run().samples
    assert [(s.time_s, s.num_requests_running, s.num_requests_waiting) for s in samples] == [
        (0, 1, 0), (1, 1, 1), (2, 1, 1), (3, 1, 0), (4, 1, 0), (5, 0, 0),
    ]  # fmt: skip
    assert [s.kv_cache_usage_perc for s in samples] == [0.1, 0.2, 0.3, 0.1, 0.2, 0.0]
    assert [s.prefix_cache_queries_tokens for s in samples] == [1, 0, 0, 1, 0, 0]
