"""Figures that are added up over pieces: numpy's, whatever the pieces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.results import exact
from sim.results.itl import Gaps
from sim.results.spread import Spread, median, percentile
from sim.results.step_log import StepLog

VALUES = st.one_of(st.floats(0, 1e9), st.sampled_from([0.0, 1.0, 3.3, 1e-300, 5e-324]), st.floats(1, 1.001))
PERCENTS = (0, 17, 50, 90, 99, 100)


@given(st.lists(st.floats(-1e300, 1e300), max_size=50))
def test_sums_are_exact(values: list[float]) -> None:
    """As the standard library's exact sum, and that of the parts is that of the whole."""
    whole = exact.total(values)
    assert exact.value(whole) == math.fsum(values)
    assert whole == exact.total(values[:7]) + exact.total(values[7:])
    if values:
        groups = exact.totals(np.array(values), np.arange(len(values)) % 3, 3)
        assert groups == [exact.total(values[i::3]) for i in range(3)]


def _seen(values: np.ndarray, pieces: int, *, merged: bool) -> Spread:
    """A column that was looked at in pieces, each by itself or one after the other."""
    whole = Spread(PERCENTS)
    parts = np.array_split(values, pieces)
    for part in parts:
        one = Spread(PERCENTS) if merged else whole
        one.add(part)
        if merged:
            whole.merge(one)
    whole.settle()
    bare = whole.bare()
    for part in parts:
        one = bare.bare() if merged else whole
        one.look(part)
        if merged:
            whole.merge_second(one)
    return whole


@given(st.lists(VALUES, min_size=1, max_size=60), st.integers(1, 15))
def test_a_column_in_pieces(values: list[float], pieces: int) -> None:
    """Percentiles and median are numpy's to the last digit; mean and deviation too, nearly."""
    column = np.array(values)
    one, many = _seen(column, 1, merged=False), _seen(column, pieces, merged=True)
    for spread in (one, many):
        ordered = spread.ordered()
        assert [percentile(ordered, spread.count, p) for p in PERCENTS] == np.percentile(
            column, PERCENTS
        ).tolist()
        assert median(ordered, spread.count) == np.median(column)
    assert (one.mean, one.std) == (many.mean, many.std)
    assert one.mean == pytest.approx(column.mean(), rel=1e-12, abs=1e-9)
    digit = float(np.spacing(np.abs(column).max()))  # by so much numpy's mean of equal values may be off
    assert one.std == pytest.approx(column.std(), rel=1e-9, abs=1e-9 + digit)


def test_what_is_missing_does_not_count() -> None:
    """NaN is no value, and a column of nothing else has no figures."""
    spread = _seen(np.array([np.nan, 2.0, np.nan, 4.0]), 2, merged=True)
    assert (spread.count, spread.mean, spread.std) == (2, 3.0, 1.0)
    assert _seen(np.array([np.nan]), 1, merged=True).count == 0


RUNS = st.lists(
    st.tuples(
        st.floats(1e-4, 1.0), st.sampled_from([0.0, 1e-6, 1e-3]), st.integers(1, 50), st.integers(1, 9)
    ),
    min_size=1,
    max_size=12,
)


@given(RUNS, st.integers(1, 5))
def test_gaps_in_pieces(runs: list[tuple[float, float, int, int]], pieces: int) -> None:
    """The same of runs of iterations: one log, or several that are looked at by themselves."""

    def log(some: list[Any]) -> list[StepLog]:
        out = StepLog()
        for first, slope, iterations, decodes in some:
            out.add(0.0, first, slope, iterations, decodes, 0)
        return [out]

    one, many = Gaps(PERCENTS), Gaps(PERCENTS)
    one.add(log(runs))
    one.settle()
    one.look(log(runs))
    for i in range(pieces):
        part = Gaps(PERCENTS)
        part.add(log(runs[i::pieces]))
        many.merge(part)
    many.settle()
    for i in range(pieces):
        part = many.bare()
        part.look(log(runs[i::pieces]))
        many.merge_second(part)
    assert one.ordered() == many.ordered()
    assert (one.count, one.mean, one.std) == (many.count, many.mean, many.std)
