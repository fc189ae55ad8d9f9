"""Distributions as written in a configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from workloads.lengths import Distribution, whole
from workloads.seeds import stream

ADAPTER: TypeAdapter[Any] = TypeAdapter(Distribution)


@pytest.mark.parametrize(
    ("written", "mean"),
    [
        (7, 7.0),
        ({"distribution": "constant", "value": 7}, 7.0),
        ({"distribution": "uniform", "low": 2, "high": 6}, 4.0),
        ({"distribution": "exponential", "mean": 30}, 30.0),
        ({"distribution": "geometric", "mean": 5}, 5.0),
        ({"distribution": "geometric", "mean": 1}, 1.0),
        ({"distribution": "lognormal", "mean": 80, "sigma": 1.0}, 80.0),
        ({"distribution": "lognormal", "median": 80, "sigma": 0.5}, 80 * np.exp(0.125)),
        ({"distribution": "geometric", "mean": 5, "second": 0.5}, 3.5),
        ({"distribution": "pareto", "least": 300, "alpha": 2.5}, 500.0),
        ({"distribution": "quantiles", "values": [0, 10, 100]}, 30.0),
        ({"distribution": "quantiles", "values": [4]}, 4.0),
        ({"distribution": "mixture", "parts": [2, 30], "weights": [3, 1]}, 9.0),
    ],
)
def test_mean(written: Any, mean: float) -> None:
    """200,000 draws have the stated mean within 2 %, and none is negative."""
    sample = ADAPTER.validate_python(written).sample(stream(1, "test"), 200_000)
    assert sample.mean() == pytest.approx(mean, rel=0.02)
    assert sample.min() >= 0


def test_geometric_starts_at_one() -> None:
    """Turn counts: the smallest value is one, its share is 1/mean."""
    sample = ADAPTER.validate_python({"distribution": "geometric", "mean": 4}).sample(
        stream(1, "x"), 100_000
    )
    assert sample.min() == 1
    assert (sample == 1).mean() == pytest.approx(0.25, abs=0.01)


def test_whole() -> None:
    """Lengths are rounded, and at least one."""
    assert whole(np.array([0.2, 1.6, 7.5]), "key") == [1, 2, 8]


def test_named_streams_differ() -> None:
    """Two names of one seed give different numbers, the same name the same."""
    assert stream(1, "a").random() == stream(1, "a").random() != stream(1, "b").random()
