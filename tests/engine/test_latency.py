"""The time of one iteration and of a run of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.engine.latency import IterationTime, run_s, steps_to_reach
from sim.hardware.coefficients import Coefficients, Domain
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
    rectangle=st.floats(0, 1e-8),
    hinges=st.dictionaries(st.integers(1, 300), st.floats(0, 1e-3), max_size=3),
    sequence_hinges=st.dictionaries(st.integers(1, 8), st.floats(0, 1e-3), max_size=2),
    uneven=st.floats(0, 1e-6),
    beside=st.floats(0, 1e-4),
    beside_token=st.floats(0, 1e-6),
    beside_kv=st.floats(0, 1e-6),
    link=st.floats(0, 1e-4),
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
    weights += sum(s for upto, s in c.hinges.items() for i in range(tokens) if i < upto)
    sequences = len(prefills) + len(contexts)
    weights += sum(s * min(upto, sequences) for upto, s in c.sequence_hinges.items())
    pairs = sum(held + i for held, new in prefills for i in range(1, new + 1))
    return (
        c.step
        + weights
        + c.sequence * (len(prefills) + len(contexts))
        + c.pair * pairs
        + c.rectangle * sum(new * (held + new) for held, new in prefills)
        + c.prefill_kv * sum(held + new for held, new in prefills)
        + c.prefill * len(prefills)
        + c.decode_kv * sum(held + 1 for held in contexts)
        + c.uneven * sum(max(contexts) - held for held in contexts)
        + bool(prefills) * _beside(c, sum(new for _, new in prefills), contexts)
        + c.link * tokens
    )


def _beside(c: Coefficients, prompt_tokens: int, contexts: list[int]) -> float:
    per_decode = c.beside + c.beside_token * prompt_tokens
    return sum(per_decode + c.beside_kv * (held + 1) for held in contexts)


def _iteration_s(time: IterationTime, prefills: list[tuple[int, int]], contexts: list[int]) -> float:
    tokens = sum(new for _, new in prefills) + len(contexts)
    total = time.fixed_s(tokens, len(prefills) + len(contexts))
    total += sum(time.prefill_s(held, new) for held, new in prefills)
    prompt_tokens = sum(new for _, new in prefills)
    return total + time.decode_s(len(contexts), sum(contexts), _uneven(contexts), prompt_tokens)


def _uneven(contexts: list[int]) -> int:
    return len(contexts) * max(contexts, default=0) - sum(contexts)


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
    closed = run_s(first, time.run(len(contexts), sum(contexts), 0, 1)[1], steps)
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


@QUICK
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.lists(SEQUENCE, max_size=2),
    st.integers(1, 40),
    st.integers(1, 300),
)
def test_time_outside_the_domain(
    contexts: list[int], prefills: list[tuple[int, int]], steps: int, most_kv: int
) -> None:
    """Of a run, exactly the iterations that the box does not cover count as extrapolated."""
    steps = 1 if prefills else steps
    domain = Domain(tokens=(1, 400), sequences=(1, 4), cached=(0, 3000), kv_tokens=(1, most_kv))
    time = IterationTime(Coefficients(step=0.5, decode_kv=0.25), domain)
    first = _iteration_s(time, prefills, contexts)
    slope = time.run(len(contexts), sum(contexts), 0, 1)[1]
    tokens = len(contexts) + sum(new for _, new in prefills)
    cached = max((held for held, _ in prefills), default=0)
    expected = 0.0
    for i in range(steps):
        kv = sum(held + 1 + i for held in contexts) + sum(held + new for held, new in prefills)
        if tokens > 400 or len(contexts) + len(prefills) > 4 or cached > 3000 or kv > most_kv:
            expected += first + i * slope
    got = time.extrapolated_s(prefills, len(contexts), sum(contexts), first, slope, steps)
    assert got == pytest.approx(expected, abs=1e-9)
    assert IterationTime(Coefficients(step=1)).extrapolated_s(prefills, 1, 10**9, 1.0) == 0
