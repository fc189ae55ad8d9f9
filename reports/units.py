"""Numbers as a person reads them: three significant digits, thousands separators, a unit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

Format = Callable[[float], str]
"""Makes a number readable."""
MS_PER_S = 1000.0
"""From this many milliseconds on a time is given in seconds."""
MILLION = 1_000_000


def significant(value: float, digits: int = 3) -> str:
    """``value`` to ``digits`` significant digits, never in exponent form.

    >>> significant(5.3499), significant(32533.4), significant(0.00173772), significant(0)
    ('5.35', '32,533', '0.00174', '0')
    """
    if value == 0:
        return "0"
    # Round first: 9.999 has three digits before the point to spare, 10.0 has two.
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{decimals}f}"


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

    >>> percent(0.9066), percent(0.99990), percent(0.00025), percent(-0.0312), percent(0), percent(1)
    ('90.7%', '99.99%', '0.03%', '-3.1%', '0%', '100%')
    """
    value = share * 100
    size = abs(value)
    if value in (0, 100):
        return f"{value:.0f}%"
    if 99.95 <= size < 100:
        return "99.99%" if size < 99.995 else ">99.99%"
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
