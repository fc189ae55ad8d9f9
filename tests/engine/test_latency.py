"""The time of one iteration and of a run of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.profile import Coefficients
from sim.engine.latency import IterationTime, run_s, steps_to_reach
from tests.caches.cases import QUICK

SECONDS = st.floats(1e-4, 10.0)
SLOPE = st.one_of(st.just(0.0), st.floats(1e-9, 1e-2))
STEPS = st.integers(1, 300)
COEFFICIENTS = st.builds(
    Coefficients,
    step=st.floats(0, 0.01),
    floor=st.floats(0, 0.01),
    token=st.floats(1e-6, 1e-3),
    p=st.one_of(st.none(), st.floats(1, 10)),
    sequence=st.floats(0, 1e-3),
    pair=st.floats(0, 1e-8),
    prefill_kv=st.floats(0, 1e-6),
    prefill=st.floats(0, 1e-3),
    decode_kv=st.floats(0, 1e-6),
)
SEQUENCE = st.tuples(st.integers(0, 5000), st.integers(1, 500))
"""(tokens in KV, new tokens)."""


def _formula(c: Coefficients, prefills: list[tuple[int, int]], contexts: list[int]) -> float:
    """The formula in the docstring of Coefficients, term by term."""
    tokens = sum(new for _, new in prefills) + len(contexts)
    if c.p is None:
        weights = max(c.floor, c.token * tokens)
    else:
        weights = (c.floor**c.p + (c.token * tokens) ** c.p) ** (1 / c.p)
    pairs = sum(held + i for held, new in prefills for i in range(1, new + 1))
    return (
        c.step
        + weights
        + c.sequence * (len(prefills) + len(contexts))
        + c.pair * pairs
        + c.prefill_kv * sum(held + new for held, new in prefills)
        + c.prefill * len(prefills)
        + c.decode_kv * sum(held + 1 for held in contexts)
    )


def _iteration_s(time: IterationTime, prefills: list[tuple[int, int]], contexts: list[int]) -> float:
    tokens = sum(new for _, new in prefills) + len(contexts)
    total = time.fixed_s(tokens, len(prefills) + len(contexts))
    total += sum(time.prefill_s(held, new) for held, new in prefills)
    return total + time.decode_s(len(contexts), sum(contexts))


@QUICK
@given(COEFFICIENTS, st.lists(SEQUENCE, max_size=4), st.lists(st.integers(1, 5000), max_size=5))
def test_one_iteration(c: Coefficients, prefills: list[tuple[int, int]], contexts: list[int]) -> None:
    """The parts add up to the documented formula; a new token sees itself and all before it."""
    if prefills or contexts:
        got = _iteration_s(IterationTime(c), prefills, contexts)
        assert got == pytest.approx(_formula(c, prefills, contexts), rel=1e-12)


@QUICK
@given(COEFFICIENTS, st.lists(st.integers(1, 5000), min_size=1, max_size=5), st.integers(1, 50))
def test_a_run_of_decodes(c: Coefficients, contexts: list[int], steps: int) -> None:
    """The closed form is the sum of iterations in which every context grows by one token."""
    time = IterationTime(c)
    first = _iteration_s(time, [], contexts)
    closed = run_s(first, time.slope_s(len(contexts)), steps)
    single = sum(_formula(c, [], [held + i for held in contexts]) for i in range(steps))
    assert closed == pytest.approx(single, rel=1e-12)


@QUICK
@given(SECONDS, SLOPE, STEPS)
def test_a_boundary_is_reached_exactly(first: float, slope: float, steps: int) -> None:
    """What happens at the end of iteration n waits for n iterations, not n + 1."""
    assert steps_to_reach(first, slope, run_s(first, slope, steps)) == steps


@QUICK
@given(SECONDS, SLOPE, STEPS, st.floats(0.001, 0.999))
def test_within_an_iteration_its_end_is_awaited(
    first: float, slope: float, steps: int, part: float
) -> None:
    """Between the ends of iterations n - 1 and n the answer is n; at least one iteration runs."""
    begin, end = run_s(first, slope, steps - 1), run_s(first, slope, steps)
    assert steps_to_reach(first, slope, begin + part * (end - begin)) == steps
    assert steps_to_reach(first, slope, 0.0) == 1
