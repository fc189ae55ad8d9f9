"""A figure of summary.json as text, after its unit, with its interval where it has one."""

from __future__ import annotations

from reports import units

TIMES = ("ms", "s", "1/s", "tokens/s", "USD")
"""Units of figures that rest on how long things take, or on what that costs."""


def text(value: float | None, unit: str, half: float | None = None) -> str:
    """``value``, followed by half the width of its interval; no digit that this does not carry, but two.

    >>> text(5.3499, "ms"), text(0.9066, "0-1"), text(3.5, "USD"), text(None, "ms")
    ('5.35 ms', '90.7%', '$3.50', '')
    >>> text(5.3499, "ms", 0.213), text(0.9066, "0-1", 0.0123), text(24_912.4, "ms", 1_873.0)
    ('5.35 ± 0.21 ms', '90.7 ± 1.2%', '24.9 ± 1.9 s')
    >>> text(12, "requests", 0.0), text(1234567, "tokens", 98765.0)
    ('12 ± 0', '1.235 ± 0.099 M')
    >>> text(0.0412, "s", 3.04), text(0.034, "0-1", 0.47), text(0.00004, "0-1", 0.0123)
    ('0.041 ± 3.0 s', '3.4 ± 47%', '0.0 ± 1.2%')
    """
    if value is None:
        return ""
    if half is None:
        return _alone(value, unit)
    scale, before, behind = _scale(value, unit)
    value, half = value / scale, half / scale
    if not half:
        return f"{before}{value:,.{0 if value == int(value) else 3}f} ± 0{behind}"
    of_half = max(0, units.decimals_for(half, 2))
    needed = units.decimals_for(value, 2) if value else 0
    decimals = max(of_half, min(needed, 1) if unit == "0-1" else needed)
    return f"{before}{value:,.{decimals}f} ± {half:,.{of_half}f}{behind}"


def is_share(figure: str) -> bool:
    """Whether a figure of summary.json is a share from 0 to 1, by its name.

    >>> is_share("cache.prefix_cache_hit_rate"), is_share("mean_ttft_ms")
    (True, False)
    """
    return figure.endswith(("_rate", "_rate_blocks", "_ratio", "_share", "usage_perc"))


def _alone(value: float, unit: str) -> str:
    if unit == "ms":
        return units.times_ms(value)[0]
    if unit == "0-1":
        return units.percent(value)
    if unit == "USD":
        return units.usd(value)
    if unit == "tokens":
        return units.tokens(value)
    if unit in ("requests", "count", "blocks"):
        return units.count_of(value) if value == int(value) else units.significant(value)
    return units.significant(value) + (f" {unit}" if unit == "s" else "")


def _scale(value: float, unit: str) -> tuple[float, str, str]:
    """By what to divide, what stands before the number and what behind it."""
    if unit == "ms":
        return (units.MS_PER_S, "", " s") if abs(value) >= units.MS_PER_S else (1.0, "", " ms")
    if unit == "0-1":
        return 0.01, "", "%"
    if unit == "tokens" and abs(value) >= units.MILLION:
        return float(units.MILLION), "", " M"
    return 1.0, "$" if unit == "USD" else "", " s" if unit == "s" else ""
