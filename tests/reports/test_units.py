"""Numbers as text."""

from __future__ import annotations

import doctest
import math

from hypothesis import given
from hypothesis import strategies as st

from reports import units


def test_examples_in_docstrings() -> None:
    outcome = doctest.testmod(units)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_rounding_up_to_the_next_digit_keeps_three_digits() -> None:
    assert units.significant(9.999) == "10.0"
    assert units.significant(999.7) == "1,000"
    assert units.tokens(999_999) == "999,999"
    assert units.tokens(1_000_000) == "1.00 M"


def test_a_row_of_times_has_one_unit() -> None:
    assert units.times_ms(1000.0, 5.0) == ["1.00 s", "0.00500 s"]
    assert units.times_ms(None, None) == ["", ""]


def test_small_changes_keep_their_sign() -> None:
    assert units.percent(-0.00025) == "-0.03%"
    assert units.usd(-0.00174) == "-$0.00174"


def test_almost_all_is_not_all() -> None:
    assert units.percent(0.999999) == ">99.99%"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert units.printable("a\x1b[31mb\nc") == "a [31mb c"


def test_a_long_name_is_shortened_in_its_middle() -> None:
    short = units.shortened("a" * 50 + "b" * 50)
    assert len(short) <= 26
    assert short.startswith("aaa") and short.endswith("bbb")


def test_a_number_stays_with_its_unit() -> None:
    assert units.unbroken("from 32.5 ms to 5 M tokens in 3 small steps") == (
        "from 32.5\u00a0ms to 5\u00a0M tokens in 3 small steps"
    )


def test_an_interval_that_three_digits_do_not_show() -> None:
    """It is left out, with its digits; one that they show stays."""
    assert units.bounded(0.797477, (0.797470, 0.797484), units.usd) == "$0.797"
    assert units.bounded(0.999834, (0.999822, 0.999846), units.percent) == "99.98%"
    assert units.bounded_ms(5.0, (4.999, 5.001), in_s=False) == "5.00 ms"
    assert units.bounded_ms(5.0, (4.99, 5.01), in_s=False) == "5.000 ± 0.010 ms"


def test_a_value_is_shown_however_wide_its_interval_is() -> None:
    """Rounded to the place of 3,000 it would be 0, which is not what was found."""
    assert units.bounded_ms(412.0, (-2600.0, 3424.0), in_s=False) == "410 ± 3,000 ms"
    assert units.bounded(0.0412, (-0.3, 0.38), units.usd) == "$0.041 ± 0.34"
    assert units.bounded(3_140_000, (0, 6_500_000), units.tokens) == "3.1 ± 3.4 M"
    assert units.bounded(0.034, (-0.4, 0.5), units.percent) == "3.4 ± 47%"


@given(value=st.floats(1e-6, 1e9), ratio=st.floats(1e-3, 1e6))
def test_two_digits_of_a_value_and_one_of_its_interval_are_always_there(value: float, ratio: float) -> None:
    shown, half = (
        float(part.replace(",", "")) for part in units.plus_minus(value, value * ratio).split(" ± ")
    )
    assert math.isclose(shown, value, rel_tol=0.0501)
    assert math.isclose(half, value * ratio, rel_tol=0.1701)


def test_a_difference_that_is_next_to_nothing_stays_so() -> None:
    """A share of 0.0004 % means nothing beside an interval of half a percent."""
    assert units.bounded(0.000004, (-0.005, 0.005), units.percent) == "0.0 ± 0.5%"
    assert units.bounded_ms(-0.004, (-5.0, 5.0), in_s=False, of=109.0) == "0.0 ± 5.0 ms"
