"""The search for a rate, against curves whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.studies.search import AROUND, MOST_DOUBLINGS, Judged, Outcome, Search, Verdict
from sim.studies.search import search as search_verdicts

Curve = Callable[[float], float]


def search(share_at: Curve, start: float, wanted: float, precision: float) -> Search:
    """The search, where every share is that of a steady state."""

    def judged_at(rate: float) -> Judged:
        share = share_at(rate)
        return Judged(Verdict.GOOD if share >= wanted else Verdict.BAD, share)

    return search_verdicts(judged_at, start, precision)


def _step(edge: float) -> Curve:
    """All good up to ``edge``, none beyond."""
    return lambda rate: 1.0 if rate <= edge else 0.0


@given(
    edge=st.floats(0.01, 100),
    start=st.floats(0.1, 10),
    precision=st.floats(1e-6, 0.2),
)
def test_finds_the_edge(edge: float, start: float, precision: float) -> None:
    """Wherever the search begins: the rate is enough, and one that is ``precision`` higher is not."""
    found = search(_step(edge), start, 0.99, precision)
    assert found.outcome is Outcome.FOUND and found.rate is not None
    assert found.rate <= edge < found.rate * (1 + precision) * (1 + 1e-12)
    assert found.largest_rise is None and found.contradictions == []
    assert list(found.shares) == sorted(found.shares)


def test_share_is_reached_with_equality() -> None:
    """A rate at which exactly the wanted share is good counts."""
    assert search(lambda rate: 0.9 if rate <= 2 else 0.0, 2.0, 0.9, 0.01).rate == 2.0


def test_every_rate_is_run_once() -> None:
    """The first bracket, its halves, and the rates around the answer; nothing twice."""
    asked: list[float] = []

    def share(rate: float) -> float:
        asked.append(rate)
        return _step(3.0)(rate)

    found = search(share, 1.0, 0.99, 0.2)
    assert asked[:3] == [1.0, 2.0, 4.0] and asked[3] == pytest.approx(8**0.5)
    assert len(asked) == len(set(asked)) == len(found.shares)
    assert found.rate is not None
    assert {found.rate * factor for factor in AROUND} <= set(asked)


@pytest.mark.parametrize(("share", "outcome"), [(1.0, Outcome.UNBOUNDED), (0.5, Outcome.NONE)])
def test_no_edge(share: float, outcome: Outcome) -> None:
    """Enough, or too little, at every rate: no rate is made up, and the last one tried is known."""
    found = search(lambda rate: share, 1.0, 0.99, 0.02)
    assert (found.outcome, found.rate, found.contradictions) == (outcome, None, [])
    furthest = max(found.shares) if outcome is Outcome.UNBOUNDED else min(found.shares)
    assert furthest == 2.0 ** (MOST_DOUBLINGS if outcome is Outcome.UNBOUNDED else -MOST_DOUBLINGS)


@pytest.mark.parametrize("exponent", [MOST_DOUBLINGS, -MOST_DOUBLINGS])
def test_edge_at_the_end_of_what_is_tried(exponent: int) -> None:
    """Just inside the furthest rates an edge is still found."""
    edge = 2.0**exponent * (1.001 if exponent < 0 else 0.999)
    found = search(_step(edge), 1.0, 0.99, 0.02)
    assert found.rate is not None and found.rate <= edge < found.rate * 1.02


def test_a_share_that_rises_is_told() -> None:
    """Enough again beyond the edge: where it rises, and which rate contradicts the answer."""

    def share(rate: float) -> float:
        return 1.0 if rate <= 1.0 or rate > 1.9 else 0.5

    found = search(share, 0.9, 0.99, 0.01)
    assert found.rate is not None and 0.99 < found.rate <= 1.0
    assert found.contradictions == [2.0 * found.rate]
    assert found.largest_rise == (1.8, 2.0 * found.rate)


def test_too_little_below_is_told() -> None:
    """A hole below the answer."""
    found = search(lambda rate: 1.0 if 0.7 < rate <= 1.0 else 0.5, 0.9, 0.99, 0.01)
    assert found.rate is not None and found.contradictions == [0.5 * found.rate]


@pytest.mark.parametrize("start", [1.0, 5.0])
def test_what_is_unknown_is_no_edge(start: float) -> None:
    """Good up to 3, and nothing known beyond: refused, next to what is known."""

    def judged(rate: float) -> Judged:
        return Judged(Verdict.GOOD, 1.0) if rate <= 3 else Judged(Verdict.UNKNOWN, None)

    found = search_verdicts(judged, start, 0.01)
    assert (found.outcome, found.rate) == (Outcome.REFUSED, None)
    assert found.above is not None and 3 < found.above <= 3 * 1.02
    assert max(found.shares) <= 3 and found.contradictions == []


def test_unknown_beyond_the_edge() -> None:
    """A rate between the good and the unknown ones is bad: then the edge is known."""

    def judged(rate: float) -> Judged:
        if rate > 3.5:
            return Judged(Verdict.UNKNOWN, None)
        return Judged(Verdict.GOOD, 1.0) if rate <= 3 else Judged(Verdict.BAD, 0.2)

    found = search_verdicts(judged, 1.0, 0.01)
    assert found.outcome is Outcome.FOUND and found.rate is not None
    assert found.rate <= 3 < found.rate * 1.01
    assert search_verdicts(lambda rate: Judged(Verdict.UNKNOWN, None), 1.0, 0.01).outcome is Outcome.REFUSED
