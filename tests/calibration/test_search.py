"""Search and overhead, on errors whose least is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from calibration.served import bench
from calibration.served.measured import MeasuredRun
from calibration.served.numbers import NUMBERS, SOUGHT, Parameter
from calibration.served.search import EVALUATIONS, ROUNDS, examine, search


def test_the_least_error_is_found_and_what_is_not_told_stays() -> None:
    """Two numbers have a best value, one is best beyond what is allowed, one has no part in the error."""
    sought = (*SOUGHT, Parameter("other", 0.005, 1e-4, 10.0, "one more"))
    told: list[tuple[int, int]] = []
    asked = 0

    def error(values: dict[str, float]) -> float:
        nonlocal asked
        asked += 1
        off = [values["mfu"] / 0.31, values["other"] / 0.08, values["mbu"] / 1.4]
        return sum(math.log(share) ** 2 for share in off)

    values = search(sought, error, lambda part, done, total: told.append((done, total)))
    assert asked <= ROUNDS * EVALUATIONS + 8, "a round ends a few evaluations after its limit"
    found = examine(sought, values, error)
    assert found.values["mfu"] == pytest.approx(0.31, rel=0.01)
    assert found.values["other"] == pytest.approx(0.08, rel=0.01)
    assert found.values["mbu"] == pytest.approx(1.0, rel=1e-3)
    assert found.values["kv_factor"] == 1.4
    assert found.untold == {"kv_factor"} and found.aside["kv_factor"] == (0, 0)
    assert found.error == error(found.values)
    assert all(done <= total for done, total in told) and told[-1][0] == told[-1][1]
    less, more = found.aside["mfu"]
    assert less == pytest.approx(math.log(0.8) ** 2, rel=0.1)
    assert more == pytest.approx(math.log(1.2) ** 2, rel=0.1)


def test_the_overhead_is_a_weighted_median() -> None:
    """Three requests; no other number makes the error less, and below nothing there is none."""
    tokens = np.array([5, 5, 5])
    ttft_s, e2e_s = np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 6.0])
    run = MeasuredRun(Path("f"), None, None, tokens, tokens, ttft_s, e2e_s)
    predicted = {
        "TTFT": run.ttft_s - [0.1, 0.3, 0.2],
        "TPOT": run.tpot_s,
        "E2E": run.e2e_s - [0.1, 0.2, 0.4],
    }
    which = np.ones(3, bool)
    best = bench.waited(run, predicted, which)

    def error(by_s: float) -> float:
        later = {**predicted, "TTFT": predicted["TTFT"] + by_s, "E2E": predicted["E2E"] + by_s}
        return bench.error(run, later, which)

    assert all(error(best) <= error(by) for by in np.linspace(0, 1, 101))
    assert 0.1 <= best <= 0.4
    assert bench.waited(run, {name: times + 1 for name, times in predicted.items()}, which) == 0
    assert {parameter.name for parameter in NUMBERS} == {"mfu", "mbu", "kv_factor", "request_s"}
