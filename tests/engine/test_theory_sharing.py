"""A replica whose iterations take a time in proportion to its batch shares its speed equally: M/G/1-PS.

With ``sequence`` (or ``token``) as the only coefficient an iteration of B decodes takes B times as long as
one of a single decode, and gives each of them one token: every request has 1/B of the speed. The mean time
in the system is E[S] / (1 - load) whatever the distribution of lengths, and a request of length x takes
x / (1 - load) on average (L. Kleinrock, J. ACM 14(2), 1967; M. Sakata, S. Noguchi, J. Oizumi, Oper. Res.
19, 1971).
"""

from __future__ import annotations

import numpy as np
import pytest

from sim.hardware.coefficients import Coefficients
from sim.results.metrics import e2el_s
from tests.engine.queueing import (
    GEOMETRIC,
    LOGNORMAL,
    MEAN_S,
    MEAN_TOKENS,
    SEEDS,
    STEADY,
    STEP_S,
    forgotten,
    mean_and_half_width,
    requests_at,
    serve,
    shared_processor_ends,
)

EVERYBODY = 5000
"""``max_num_seqs``: more than there are requests."""
STEPPED_S = 1e-4 * MEAN_S
"""How much a request may end earlier or later because arrivals wait for the end of a step."""
COEFFICIENTS = {"sequence": Coefficients(sequence=STEP_S), "token": Coefficients(token=STEP_S)}


@pytest.mark.parametrize(
    "lengths", [GEOMETRIC, MEAN_TOKENS, LOGNORMAL], ids=["geometric", "equal", "lognormal"]
)
@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_equal_parts_of_one_processor(coefficient: str, lengths: object) -> None:
    """Every request ends when a processor that is shared by all who are admitted would end it.

    An arrival is admitted when the step under way is over. What that changes is next to nothing.
    """
    records = serve(requests_at(0.9 / MEAN_S, 1, lengths), COEFFICIENTS[coefficient], EVERYBODY)
    service_s = records.output_tokens * STEP_S
    ends = shared_processor_ends(records.scheduled_s, service_s)
    assert records.finished_s == pytest.approx(ends, abs=1e-8)
    (log,) = records.steps
    batch = max(decodes + prefills for decodes, prefills in zip(log.decodes, log.first_tokens, strict=True))
    assert batch > 10
    waited = records.scheduled_s - records.arrival_s
    assert waited.min() >= 0 and waited.max() < STEP_S * batch * (1 + 1e-6)
    assert records.finished_s == pytest.approx(
        shared_processor_ends(records.arrival_s, service_s), abs=STEPPED_S
    )


@pytest.mark.parametrize(
    ("lengths", "load"),
    [
        pytest.param(GEOMETRIC, 0.7, id="geometric"),
        pytest.param(MEAN_TOKENS, 0.7, id="equal"),
        pytest.param(LOGNORMAL, 0.7, id="lognormal", marks=pytest.mark.slow),
        pytest.param(GEOMETRIC, 0.5, id="geometric-half", marks=pytest.mark.slow),
        pytest.param(LOGNORMAL, 0.5, id="lognormal-half", marks=pytest.mark.slow),
    ],
)
def test_mg1_ps(lengths: object, load: float) -> None:
    """Mean time in the system, of all requests and of the short and the long ones."""
    rate = load / MEAN_S
    assert forgotten(rate, 1) < 0.01
    times, services = {}, {}
    for seed in SEEDS:
        records = serve(requests_at(rate, seed, lengths), COEFFICIENTS["sequence"], EVERYBODY)
        times[seed] = e2el_s(records)[STEADY]
        services[seed] = (records.output_tokens * STEP_S)[STEADY]
    mean, half_width = mean_and_half_width(lambda seed: float(times[seed].mean()))
    assert half_width < 0.2 * mean, "the interval must be able to exclude something"
    assert mean == pytest.approx(MEAN_S / (1 - load), abs=half_width + STEPPED_S)
    for short in (True, False):

        def beyond_s(seed: int, short: bool = short) -> float:
            """By how much requests take longer than in proportion to their length."""
            of_these = (services[seed] <= MEAN_S) == short
            return float(((times[seed] - services[seed] / (1 - load)) * of_these).mean())

        mean, half_width = mean_and_half_width(beyond_s)
        assert half_width < 0.1 * MEAN_S / (1 - load)
        assert mean == pytest.approx(0, abs=half_width + STEPPED_S)


@pytest.mark.slow
def test_in_order_it_is_another_queue() -> None:
    """What the intervals exclude: the same requests one at a time, where short ones wait for long ones."""
    load = 0.7

    def beyond_s(seed: int) -> float:
        records = serve(requests_at(load / MEAN_S, seed, LOGNORMAL), COEFFICIENTS["sequence"], 1)
        return float(np.mean(e2el_s(records)[STEADY]) - MEAN_S / (1 - load))

    mean, half_width = mean_and_half_width(beyond_s)
    assert mean - half_width > STEPPED_S
