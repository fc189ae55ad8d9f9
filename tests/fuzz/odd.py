"""Values that nobody expects, and numbers of the size that somebody does."""

from __future__ import annotations

import math
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, -0.0, 0.5, 1e-9, 1e-300, 1e9, 1e300, -1e300, math.nan, math.inf,
    -math.inf, 2**31, 2**53 + 1, 2**63, 2**64, 10**12, 10**30, 10**99, "", " ", "x", "0", "1e3",
    "true", "null", "~", "-", ".nan", "nan", "inf", "x" * 5000, "9" * 5000,
    "[/x]", "[red]x[/red]", "\u65e5\u672c", "\u00b2", "a\nb",
    "\x1b[2J", "\u2028", "../..", "/", ".", "a/b", "2026-13-01", "2026-11-28", "12:30", "10%", "1,2", "a=b",
    "${HOME}", "{{x}}", "<b>", "'", '"', [], {}, [None], [[]], [1, 2], [0, 0, 0], {"a": 1}, {"": None},
    {"kind": "x"}, {"kind": None}, [{"kind": []}], {"distribution": "normal"}, [[[[[[1]]]]]], b"\xff",
)  # fmt: skip
MOST = {
    "sessions": 6, "turns": 4, "calls": 4, "replicas": 4, "concurrency": 5, "clients": 20, "tenants": 4,
    "rate_per_s": 30, "duration_s": 5, "kv_blocks": 3000, "capacity_blocks": 3000, "capacity_tokens": 40000,
    "seeds": 3, "seed": 10**6, "documents": 20, "sample_s": 20,
}  # fmt: skip
"""What a run of milliseconds has at most; other fields are bounded by what their names end with."""
ENDS = {"tokens": 2000, "_s": 60, "_ms": 1000, "share": 1.0, "ratio": 1.0, "_usd": 10, "_1m": 20}


def odd(draw: Random) -> Any:
    """Any of them."""
    return draw.choice(ODD)


def most_of(name: str) -> float:
    """The largest value that a field of this name has in a run of milliseconds."""
    if name in MOST:
        return MOST[name]
    return next((most for end, most in ENDS.items() if name.endswith(end)), 40)


def number(draw: Random, name: str, low: float, high: float, *, whole: bool) -> float:
    """A number from ``low`` to ``high``, mostly a small one; now and then a bound or just beyond it."""
    sort = draw.random()
    if sort < 0.04:
        value = draw.choice([low, high, low - 1, high + 1, 0, -1])
    else:
        top = max(min(high, most_of(name)), low)
        bottom = max(low, 0.0)
        value = bottom + (top - bottom) * draw.random() ** 2
        if not whole and draw.random() < 0.3:
            value = float(f"{value:.1g}")
    if not math.isfinite(value):
        return value
    return round(value) if whole else value
