"""The search for the numbers of a server, on errors whose least is known."""

from __future__ import annotations

import math

import pytest

from calibration.served.search import PARAMETERS, ROUNDS, SIMULATIONS, search


def test_the_least_error_is_found_and_what_is_not_told_stays() -> None:
    """Two numbers have a best value, one is best beyond what is allowed, one has no part in the error."""
    told: list[tuple[int, int]] = []

    def error(values: dict[str, float]) -> float:
        off = [values["mfu"] / 0.31, values["request_s"] / 0.08, values["mbu"] / 1.4]
        return sum(math.log(share) ** 2 for share in off)

    found = search(PARAMETERS, error, lambda part, done, total: told.append((done, total)))
    assert found.values["mfu"] == pytest.approx(0.31, rel=0.01)
    assert found.values["request_s"] == pytest.approx(0.08, rel=0.01)
    assert found.values["mbu"] == pytest.approx(1.0, rel=1e-3)
    assert found.values["kv_factor"] == pytest.approx(1.4, rel=1e-12)
    assert found.untold == {"kv_factor"} and found.aside["kv_factor"] == (0, 0)
    assert found.error == error(found.values) and found.simulations < ROUNDS * SIMULATIONS + 12
    assert all(done <= total for done, total in told) and told[-1][0] == told[-1][1]
    less, more = found.aside["mfu"]
    assert less == pytest.approx(math.log(0.8) ** 2, rel=0.1)
    assert more == pytest.approx(math.log(1.2) ** 2, rel=0.1)
