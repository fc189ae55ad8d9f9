"""Statistics of gaps between tokens, against the list of all gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.results.itl import gaps_of
from sim.results.metrics import PERCENTILES, spread_figures
from sim.results.step_log import StepLog

FIRST = st.floats(1e-4, 1.0)
SLOPE = st.one_of(st.just(0.0), st.floats(1e-9, 1e-2))
RUNS = st.lists(st.tuples(FIRST, SLOPE, st.integers(1, 20), st.integers(0, 4)), max_size=8)
"""Runs as (first iteration s, slope s, iterations, decodes)."""
ODD = st.lists(st.floats(1e-4, 10.0), max_size=3)
"""Gaps across preemptions."""
LOGS = st.lists(st.tuples(RUNS, ODD), min_size=1, max_size=2)
CLOSE: dict[str, Any] = {"rel": 1e-9, "abs": 1e-12}
Run = tuple[float, float, int, int]


def _steps(logs: list[tuple[list[Run], list[float]]]) -> list[StepLog]:
    steps = []
    for runs, odd in logs:
        log = StepLog()
        for first, slope, iterations, decodes in runs:
            log.add(0.0, first, slope, iterations, decodes, 0)
        log.gaps_s += odd
        steps.append(log)
    return steps


def _all_gaps(logs: list[tuple[list[Run], list[float]]]) -> list[float]:
    """Every decode of a batch waits for every iteration of its run."""
    gaps = []
    for runs, odd in logs:
        for first, slope, iterations, decodes in runs:
            gaps += [first + i * slope for i in range(iterations)] * decodes
        gaps += odd
    return gaps


@settings(derandomize=True, max_examples=200)
@given(LOGS, st.lists(st.floats(0, 100), max_size=4))
def test_against_the_list(logs: list[tuple[list[Run], list[float]]], percents: list[float]) -> None:
    """Count, mean, population deviation, and percentiles as numpy computes them."""
    gaps, stats = _all_gaps(logs), gaps_of(_steps(logs), (0, 50, 100, *percents))
    assert stats.count == len(gaps)
    if gaps:
        assert stats.mean == pytest.approx(np.mean(gaps), **CLOSE)
        assert stats.std == pytest.approx(np.std(gaps), rel=1e-6, abs=1e-9)
        assert stats.percentiles() == pytest.approx(np.percentile(gaps, (0, 50, 100, *percents)), **CLOSE)


def test_small_example() -> None:
    """2 decodes through 3 iterations of 1, 2 and 3 s, and one gap of 10 s: 1 1 2 2 3 3 10."""
    gaps = gaps_of(_steps([([(1.0, 1.0, 3, 2)], [10.0])]), (0, 50, 75, 100))
    assert (gaps.count, gaps.mean) == (7, 22 / 7)
    assert gaps.percentiles() == [1.0, 2.0, 3.0, 10.0]


def test_an_iteration_without_decodes_is_no_gap() -> None:
    """A prefill alone makes nobody wait between tokens; without any gap there are no figures."""
    steps = _steps([([(5.0, 0.0, 1, 0)], [])])
    for found in (gaps_of(steps, PERCENTILES), gaps_of([], PERCENTILES)):
        assert found.count == 0
        assert set(spread_figures(found, "itl").values()) == {None}
