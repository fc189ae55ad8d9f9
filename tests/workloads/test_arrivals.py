"""Arrival processes: the times they give, and what they do to a recorded trace."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.arrivals import (
    ClosedLoop,
    EvenlySpaced,
    Gamma,
    PerClient,
    Poisson,
    Profile,
    Recorded,
    Replayed,
    Weibull,
)
from workloads.content import ROOT
from workloads.popularity import drawn_sets, zipf_shares
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
    assert list(recorded.think_s) == [0.0, 5.0, 0.0]


def test_closed_loop_takes_the_starts_out(recorded: Trace) -> None:
    """So many sessions at a time, whenever they began; equal arrivals only where asked for."""
    ClosedLoop(process="closed_loop", concurrency=2).apply(recorded)
    assert recorded.arrival_s == [0.0, None, 0.0]
    assert (recorded.concurrency, recorded.equal_arrival) == (2, False)
    ClosedLoop(process="closed_loop", concurrency=1, equal_arrival=True).apply(recorded)
    assert (recorded.concurrency, recorded.equal_arrival) == (1, True)


def test_a_profile_of_one_rate_is_poisson() -> None:
    """Draw for draw the same process, however short its steps are."""
    steady = Poisson(process="poisson", rate_per_s=4).times_s(np.random.default_rng(3), 1000)
    for step_s in (0.1, 7.0, 1e6):
        profile = Profile(process="profile", rates_per_s=[4, 4, 4], step_s=step_s)
        assert np.allclose(profile.times_s(np.random.default_rng(3), 1000), steady, rtol=1e-9)


def test_a_profile_follows_its_rates() -> None:
    """Four steps a period, two of them empty: counts of each step are Poisson's around rate x time."""
    profile = Profile(process="profile", rates_per_s=[2, 0, 6, 0], step_s=10, scale=0.5)
    times = profile.times_s(np.random.default_rng(1), 40_000)
    assert (np.diff(times) >= 0).all()
    step = (times // 10).astype(int)
    whole = step // 4 < step[-1] // 4
    counts = np.bincount(step[whole])
    by_place = [counts[place::4] for place in range(4)]
    assert not by_place[1].any() and not by_place[3].any()
    for place, expected in ((0, 10), (2, 30)):
        mean, variance = by_place[place].mean(), by_place[place].var()
        error = (expected / len(by_place[place])) ** 0.5
        assert abs(mean - expected) < 4 * error
        assert 0.85 < variance / expected < 1.15


def test_a_profile_twice_as_dense() -> None:
    """`scale` moves nothing but the clock."""
    for scale in (1.0, 2.0):
        profile = Profile(process="profile", rates_per_s=[1.0], scale=scale)
        times = profile.times_s(np.random.default_rng(5), 10)
        steady = np.cumsum(np.random.default_rng(5).exponential(1.0, 10)) / scale
        assert np.allclose(times, steady)


@pytest.mark.parametrize(
    ("arrivals", "cv"),
    [
        (Gamma(process="gamma", rate_per_s=4, cv=0.5), 0.5),
        (Gamma(process="gamma", rate_per_s=4, cv=3.0), 3.0),
        (Weibull(process="weibull", rate_per_s=4, shape=1.0), 1.0),
        (Weibull(process="weibull", rate_per_s=4, shape=0.5), 5**0.5),  # sqrt(G(5) / G(3)^2 - 1)
        (PerClient(process="clients", rate_per_s=4, clients=1, cv=2.0), 2.0),
        (PerClient(process="clients", rate_per_s=4, clients=50, cv=1.0), 1.0),  # Poisson processes add up
    ],
)
def test_bursts_have_the_rate_and_the_spread_that_they_are_given(
    arrivals: Gamma | Weibull | PerClient, cv: float
) -> None:
    """Mean and coefficient of variation of 200,000 gaps; a longer draw begins as a shorter one does."""
    times = arrivals.times_s(np.random.default_rng(1), 200_000)
    gaps = np.diff(times)
    assert (gaps >= 0).all()
    assert abs(gaps.mean() * 4 - 1) < 0.03
    assert abs(gaps.std() / gaps.mean() / cv - 1) < 0.03
    assert np.array_equal(arrivals.times_s(np.random.default_rng(1), 500), times[:500])


def test_clients_have_zipf_shares() -> None:
    """One of three clients sends half of what comes: 1, 1/2 and 1/3, scaled."""
    one = PerClient(process="clients", rate_per_s=1, clients=3, zipf=1, cv=1).times_s(
        np.random.default_rng(1), 10
    )
    assert len(one) == 10
    assert zipf_shares(3, 1.0) * 11 / 6 == pytest.approx([1, 1 / 2, 1 / 3])


def test_sets_are_drawn_by_popularity() -> None:
    """No set has a thing twice, popular things come more often, and more sets begin as fewer do."""
    shares = zipf_shares(20, 1.2)
    sets = drawn_sets(np.random.default_rng(3), shares, 5000, 4)
    assert all(len(set(one)) == 4 for one in sets)
    firsts = np.bincount([one[0] for one in sets], minlength=20) / 5000
    assert abs(firsts[0] - shares[0]) < 0.02 and firsts[0] > firsts[5] > firsts[19]
    assert drawn_sets(np.random.default_rng(3), shares, 50, 4) == sets[:50]
    assert sorted(drawn_sets(np.random.default_rng(3), zipf_shares(5, 9.0), 3, 5)[0]) == [0, 1, 2, 3, 4]


def test_replayed_starts() -> None:
    """As listed, twice as fast; no more than there are."""
    arrivals = Replayed(process="replayed", at_s=[0, 1, 5], speed=2)
    assert arrivals.times_s(np.random.default_rng(0), 9).tolist() == [0, 0.5, 2.5]
    with pytest.raises(ValueError, match="at_s: allowed: ascending times"):
        Replayed(process="replayed", at_s=[2, 1])
