"""Numbers as a person reads them: three significant digits, thousands separators, a unit."""

from __future__ import annotations

import re
from collections.abc import Callable

Format = Callable[[float], str]
"""Makes a number readable."""
MS_PER_S = 1000.0
"""From this many milliseconds on a time is given in seconds."""
MILLION = 1_000_000
HIDDEN = 0.0005
"""An interval narrower than this share of its value is lost in three digits: the value stands alone."""


def significant(value: float, digits: int = 3) -> str:
    """``value`` to ``digits`` significant digits, never in exponent form.

    >>> significant(5.3499), significant(32533.4), significant(0.00173772), significant(0)
    ('5.35', '32,533', '0.00174', '0')
    """
    return f"{value:,.{max(0, decimals_for(value, digits))}f}" if value else "0"


def tokens(count: float) -> str:
    """A number of tokens: exact below a million, then in millions.

    >>> tokens(2240), tokens(23_992_540)
    ('2,240', '24.0 M')
    """
    if abs(count) < MILLION:
        return count_of(count)
    return f"{significant(count / MILLION)} M"


def count_of(number: float) -> str:
    """A number of things, exact, with thousands separators."""
    return f"{number:,.0f}"


def times_ms(*values_ms: float | None) -> list[str]:
    """Times in one unit, ms or s after the largest of them; empty text for None.

    >>> times_ms(2320.4, 286.06, None)
    ['2.32 s', '0.286 s', '']
    """
    known = [abs(v) for v in values_ms if v is not None]
    in_s = bool(known) and max(known) >= MS_PER_S
    scale, unit = (MS_PER_S, "s") if in_s else (1.0, "ms")
    return ["" if v is None else f"{significant(v / scale)} {unit}" for v in values_ms]


def usd(amount: float) -> str:
    """Dollars: cents from one dollar on, three significant digits below.

    >>> usd(6.8955), usd(0.00037), usd(-0.5), usd(1234.5)
    ('$6.90', '$0.000370', '-$0.500', '$1,234.50')
    """
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    digits = f"{size:,.2f}" if size >= 1 else significant(size)
    return f"{sign}${digits}"


def percent(share: float) -> str:
    """A share as a percentage; a value next to nothing or to everything does not look like it.

    >>> percent(0.9066), percent(0.99983), percent(0.00025), percent(-0.0312), percent(0), percent(1)
    ('90.7%', '99.98%', '0.03%', '-3.1%', '0%', '100%')
    """
    value = share * 100
    size = abs(value)
    if value in (0, 100):
        return f"{value:.0f}%"
    if 99.95 <= size < 100:
        return f"{value:.2f}%" if size < 99.995 else ">99.99%"
    if size >= 0.05:
        return f"{value:.1f}%"
    return f"{value:.1g}%" if size >= 0.0005 else "0.0%"


def rate(share: float | None) -> str:
    """`percent`, or empty text where nothing was asked for.

    >>> rate(None)
    ''
    """
    return "" if share is None else percent(share)


def gpu_hours(gpu_seconds: float) -> str:
    """GPU-hours, without the unit.

    >>> gpu_hours(7092.6)
    '1.97'
    """
    return significant(gpu_seconds / 3600)


def decimals_for(value: float, digits: int) -> int:
    """Decimals that show ``value`` to so many significant digits; below 0, zeros stand before the point.

    >>> decimals_for(0.0883, 2), decimals_for(9.96, 2), decimals_for(412, 2)
    (3, 0, -1)
    """
    # Round first: 9.94 has a digit before the point, 9.96 is 10.
    _, exponent = f"{value:.{digits - 1}e}".split("e")
    return digits - 1 - int(exponent)


def decimals_of(half_width: float) -> int:
    """Decimals of a value whose interval is that wide: they show one digit of it, or two if it begins low.

    >>> decimals_of(0.0883), decimals_of(0.124), decimals_of(3100.0), decimals_of(0.0998)
    (2, 2, -3, 2)
    """
    return decimals_for(half_width, 1) + (f"{half_width:.0e}"[0] in "12")


def plus_minus(
    value: float, half_width: float, divisor: float = 1.0, unit: str = "", *, of: float | None = None
) -> str:
    """A value and how far it may be off, with no digits that this does not carry.

    >>> plus_minus(9441.8, 88.3, 1000, " s"), plus_minus(23_992_540, 310_000, 1e6, " M")
    ('9.44 ± 0.09 s', '24.0 ± 0.3 M')
    >>> plus_minus(269, 23.4), plus_minus(269, 34)
    ('269 ± 23', '270 ± 30')

    But two digits of the value are shown however wide the interval is, and then two of that as well:

    >>> plus_minus(412, 3040), plus_minus(3.14, 3.4), plus_minus(43.2, 34)
    ('410 ± 3,000', '3.1 ± 3.4', '43 ± 34')

    A share or a difference is next to nothing where it is less than a thousandth of what it is one ``of``:

    >>> plus_minus(0.004, 0.5, unit="%", of=100), plus_minus(-0.000004, 0.00003, of=0.1)
    ('0.0 ± 0.5%', '0.00000 ± 0.00003')
    """
    value, half_width = value / divisor, half_width / divisor
    decimals = of_half = decimals_of(half_width)
    if value:
        needed = decimals_for(value, 2)
        if of:
            needed = min(needed, decimals_for(of / divisor, 4))
        if needed > decimals:
            decimals, of_half = needed, min(needed, decimals_for(half_width, 2))
    return f"{_to(value, decimals)} ± {_to(half_width, of_half)}{unit}"


def _to(value: float, decimals: int) -> str:
    """``value`` rounded; no minus before a zero."""
    return f"{round(value, decimals) + 0.0:,.{max(0, decimals)}f}"


def bounded(
    value: float, bounds: tuple[float, float] | None, text: Format, *, of: float | None = None
) -> str:
    """``value`` as ``text`` writes it, with its interval where it has one; a difference is one ``of`` what.

    >>> bounded(0.9066, (0.9026, 0.9106), percent), bounded(2.35, (2.33, 2.37), usd)
    ('90.7 ± 0.4%', '$2.350 ± 0.020')
    >>> bounded(52.1, None, gpu_hours), bounded(0.9998, (0.9997, 0.9999), percent)
    ('0.0145', '99.98%')
    """
    if bounds is None:
        return text(value)
    half = max(bounds[1] - value, value - bounds[0])
    if half <= HIDDEN * abs(value):
        return text(value)
    if text is usd:
        sign = "-" if value < 0 else ""
        return sign + "$" + plus_minus(abs(value), half, of=of)
    if text is percent:
        return plus_minus(value, half, 0.01, "%", of=1.0)
    if text is gpu_hours:
        return plus_minus(value, half, 3600.0, of=of)
    if text is tokens and abs(value) >= MILLION:
        return plus_minus(value, half, MILLION, " M", of=of)
    return plus_minus(value, half, of=of)


def bounded_ms(
    value_ms: float, bounds: tuple[float, float] | None, in_s: bool, *, of: float | None = None
) -> str:
    """A time with its interval, in s or in ms; a difference is one ``of`` what.

    >>> bounded_ms(9.4418, (9.354, 9.53), in_s=False)
    '9.44 ± 0.09 ms'
    """
    divisor, unit = (MS_PER_S, " s") if in_s else (1.0, " ms")
    half = 0.0 if bounds is None else max(bounds[1] - value_ms, value_ms - bounds[0])
    if half <= HIDDEN * abs(value_ms):
        return f"{significant(value_ms / divisor)}{unit}"
    return plus_minus(value_ms, half, divisor, unit, of=of)


def unbroken(text: str) -> str:
    """``text`` with its numbers kept on one line with their units."""
    return re.sub(r"(?<=\d) (?=(?:ms|s|M)\b)", "\N{NO-BREAK SPACE}", text)


def printable(text: str) -> str:
    """``text`` on one line and without control characters, so that a name cannot steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def shortened(text: str, width: int = 26) -> str:
    """``text`` with its middle left out where it is longer than ``width``."""
    text = printable(text)
    if len(text) <= width:
        return text
    half = (width - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
