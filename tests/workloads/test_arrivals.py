"""Arrival processes: the times they give, and what they do to a recorded trace."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.arrivals import ClosedLoop, EvenlySpaced, Recorded
from workloads.content import ROOT
from workloads.trace import Trace


@pytest.fixture
def recorded() -> Trace:
    """Sessions that start at 3 and 6 s; the first one has a second turn after thinking for 5 s."""
    trace = Trace()
    for arrival_s, follows in ((3.0, -1), (None, 0), (6.0, -1)):
        prompt = trace.content.append(ROOT, 10)
        think_s = 0.0 if arrival_s is not None else 5.0
        trace.add(prompt=prompt, output_tokens=1, arrival_s=arrival_s, follows=follows, think_s=think_s)
    return trace


def test_uniform() -> None:
    """Four a second, the first one at once."""
    times = EvenlySpaced(process="uniform", rate_per_s=4).times_s(np.random.default_rng(0), 3)
    assert times.tolist() == [0.0, 0.25, 0.5]


def test_a_recorded_trace_played_faster(recorded: Trace) -> None:
    """Twice as fast: starts come at half their time, clients think as long as before."""
    Recorded(speed=2).apply(recorded)
    assert recorded.arrival_s == [1.5, None, 3.0]
    assert recorded.think_s == [0.0, 5.0, 0.0]


def test_closed_loop_takes_the_starts_out(recorded: Trace) -> None:
    """So many sessions at a time, whenever they began; equal arrivals only where asked for."""
    ClosedLoop(process="closed_loop", concurrency=2).apply(recorded)
    assert recorded.arrival_s == [0.0, None, 0.0]
    assert (recorded.concurrency, recorded.equal_arrival) == (2, False)
    ClosedLoop(process="closed_loop", concurrency=1, equal_arrival=True).apply(recorded)
    assert (recorded.concurrency, recorded.equal_arrival) == (1, True)
