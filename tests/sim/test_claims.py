"""When a claimed saving would hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.claims import turns_needed


@pytest.mark.parametrize(
    ("saved", "ratio", "turns"),
    [(0.95, 0.0, 39), (0.9, 0.0, 19), (0.5, 0.0, 3), (0.9, 0.1, None), (0.85, 0.1, 35), (0.8, 0.25, None)],
)
def test_turns_needed(saved: float, ratio: float, turns: int | None) -> None:
    """Known points: 1 - 2/(n+1) reaches 0.95 at n = 39; at ratio 0.1 the saving stays below 0.9."""
    assert turns_needed(saved, ratio) == turns


@given(saved=st.decimals("0.01", "0.98", places=2), ratio=st.decimals("0", "0.9", places=2))
def test_turns_needed_is_the_first_number_that_is_enough(saved, ratio) -> None:  # type: ignore[no-untyped-def]
    """n turns save the claim and n - 1 turns do not (exact arithmetic)."""
    from fractions import Fraction

    def bill_saved(n: int) -> Fraction:
        return (1 - Fraction(2, n + 1)) * (1 - Fraction(ratio))

    n = turns_needed(float(saved), float(ratio))
    if n is None:
        assert Fraction(saved) >= 1 - Fraction(ratio)
    else:
        assert bill_saved(n) >= Fraction(saved)
        assert n == 1 or bill_saved(n - 1) < Fraction(saved)
