"""Figures by name, means over seeds, and the front of two figures."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim import load_config, run
from sim.studies.means import mean
from sim.studies.metric import flat, metric, units
from sim.studies.pareto import front
from tests.jobs.sweeping import written


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = ["systems.own.replicas=3", "slo.ttft_ms=4"]
    return run(load_config(written(tmp_path_factory.mktemp("config")), settings)).summary()


def test_every_number_has_a_unit(summary: Any) -> None:
    """What stands in a summary is known by its path beforehand, so a wrong name is refused before a run."""
    figures = flat(summary, "own")
    numbers = {key for key, value in summary["systems"]["own"].items() if isinstance(value, float)}
    assert numbers <= figures.keys()
    assert all(metric(path, "").of(summary, "own") == value for path, value in figures.items())
    assert metric("prefix_cache_hit_rate", "").path == "cache.prefix_cache_hit_rate"
    assert units()["savings.cost_usd_total.saved"] == "USD"


def test_other_sides(summary: Any) -> None:
    """The twin without a cache, and what the cache saves."""
    without = metric("no_cache.p99_ttft_ms", "").of(summary, "own")
    saved = metric("savings.p99_ttft_ms.saved", "")
    own = metric("p99_ttft_ms", "").of(summary, "own")
    assert without is not None and own is not None
    assert saved.of(summary, "own") == pytest.approx(without - own)
    assert saved.higher_is_better and not metric("p99_ttft_ms", "").higher_is_better
    assert not metric("hits_lost_to_isolation_tokens", "").higher_is_better


def test_derived(summary: Any) -> None:
    """The share of good requests and the GPUs held follow from other figures."""
    entry = summary["systems"]["own"]
    share = metric("good_share", "").of(summary, "own")
    assert share is not None and 0 < share < 1
    assert share * entry["completed"] == pytest.approx(entry["request_goodput"] * entry["duration"])
    assert metric("gpus", "").of(summary, "own") == 3


def test_interval_is_students() -> None:
    """Equal to scipy's own interval of a mean; None as soon as one seed has no figure."""
    values = [3.0, 4.5, 2.25, 8.0, 5.5]
    found = mean(values)
    assert found is not None and found.half is not None
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.value - found.half, found.value + found.half) == pytest.approx((low, high), rel=1e-12)
    assert mean([1.0, None]) is None and mean([]) is None


@given(
    st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 6), st.integers(0, 6))), max_size=12),
    st.booleans(),
    st.booleans(),
)
def test_front(points: list[tuple[float, float] | None], high_x: bool, high_y: bool) -> None:
    """Against every pair: on the front is what no other point beats."""
    sign_x, sign_y = -1 if high_x else 1, -1 if high_y else 1
    signed = [None if p is None else (sign_x * p[0], sign_y * p[1]) for p in points]
    beaten = {
        i
        for (i, a), (_, b) in product(enumerate(signed), repeat=2)
        if a is not None and b is not None and a != b and b[0] <= a[0] and b[1] <= a[1]
    }
    expected = {i for i, point in enumerate(points) if point is not None} - beaten
    found = front(points, (high_x, high_y))
    assert set(found) == expected and len(found) == len(expected)
    xs = [signed[i] for i in found]
    assert xs == sorted(x for x in xs if x is not None)
