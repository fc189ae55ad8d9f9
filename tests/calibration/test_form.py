"""The simulator's formula fitted to steps whose times follow it exactly."""

from __future__ import annotations

import numpy as np
import pytest

from calibration import draw, form
from calibration.form import Offer, Step
from sim.hardware.coefficients import Coefficients, Window

LIMITS = draw.Limits(sequences=128, tokens=2048, context=4096, kv_tokens=200_000)
DENSE = Coefficients(
    step=1e-3,
    floor=6e-3,
    token=4e-5,
    p=3.2,
    sequence=2e-5,
    pair=2e-9,
    prefill_kv=3e-7,
    prefill=2e-4,
    decode_kv=9e-8,
    uneven=8e-9,
    beside=2e-5,
    beside_token=2e-8,
    beside_kv=5e-8,
)
EXPERTS = DENSE.model_copy(update={"floor": 1e-3, "experts": 1.2e-2, "touched": 1 / 16})
WINDOWS = DENSE.model_copy(
    update={"windows": [Window(tokens=128, pair=2e-9, decode_kv=2e-7)], "pair": 1e-9, "uneven": 0.0}
)


@pytest.mark.parametrize("truth", [DENSE, EXPERTS, WINDOWS], ids=["dense", "experts", "windows"])
def test_what_follows_the_form_is_found(truth: Coefficients) -> None:
    """Every term is told from the others: steps that were held out are met to a thousandth."""
    steps = draw.steps(LIMITS, 500, 1, "fitted", uneven=True)
    offer = Offer(truth.touched, tuple((w.tokens, w.chunked) for w in truth.windows), without=("link",))
    found = form.fit(steps, form.seconds(truth, steps), offer)
    others = draw.steps(LIMITS, 200, 2, "others", uneven=True)
    assert form.seconds(found, others) == pytest.approx(form.seconds(truth, others), rel=5e-3)
    assert found.decode_kv == pytest.approx(truth.decode_kv, rel=0.05)
    assert found.experts == pytest.approx(truth.experts, rel=0.05)


def test_a_fit_without_a_term_shows_it_in_its_error() -> None:
    """Decodes beside prefills cost more here; without the terms for it they are predicted too short."""
    steps = draw.steps(LIMITS, 500, 1, "fitted", uneven=True)
    target = form.seconds(DENSE, steps)
    blind = form.fit(steps, target, Offer(without=("link", "beside", "beside_token", "beside_kv")))
    many = np.array([step.decodes >= 32 and bool(step.prefills) for step in steps])
    error = form.seconds(blind, steps) / target - 1
    assert error[many].mean() < -0.02
    assert error.mean() == pytest.approx(0.0, abs=1e-9), "no bias on what was fitted"


def test_drawn_steps_are_as_asked_for() -> None:
    """Within the limits, of all kinds, with uneven decodes where they are wanted."""
    steps = draw.steps(LIMITS, 400, 3, "some", uneven=True)
    assert {draw.family(step) for step in steps} == {"prefill", "decode", "mixed"}
    assert all(step.kv_tokens <= LIMITS.kv_tokens and step.tokens <= LIMITS.tokens for step in steps)
    assert max(step.sequences for step in steps) > 100 and any(step.uneven for step in steps)
    assert not any(step.uneven for step in draw.steps(LIMITS, 100, 3, "even", uneven=False))
    assert steps == draw.steps(LIMITS, 400, 3, "some", uneven=True)
    box = form.domain([Step(((7, 5),), 2, 100), Step((), 3, 30)])
    assert box.tokens == (1, 7) and box.sequences == (1, 3)
    assert box.cached == (0, 7) and box.kv_tokens == (1, 114)
