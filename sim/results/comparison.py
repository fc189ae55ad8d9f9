"""Several systems side by side: which is best at what was asked, and whether the difference holds.

Two systems differ where the interval of their difference, repetition by repetition, leaves out zero. With
more than two systems the best one is held against every other at once (Bonferroni: each difference at a
level of 1 - 0.05 / (n - 1)), because the best of many lucky draws looks better than it is.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator

from sim.results import intervals
from sim.results.intervals import CONFIDENCE, Interval, Repetitions
from sim.results.summary import Comparison, RankedSystem, Summary
from sim.results.summary_system import FIGURES, is_better_high
from workloads.schema import Schema


def full_name(figure: str) -> str:
    """``figure`` as in `FIGURES`, whether its part (cache, cost) is given or not; ValueError if unknown."""
    for prefix in ("", "cache.", "cost."):
        if prefix + figure in FIGURES:
            return prefix + figure
    near = get_close_matches(figure, FIGURES, n=1) or [name for name in FIGURES if figure in name][:3]
    hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
    raise ValueError(f"no figure of summary.json is called {figure!r}{hint}; see docs/outputs.md")


class Compare(Schema):
    """What the systems of an experiment are ranked ``by``, and which one the others are held against.

    Both have defaults: ``by`` follows from what the systems are, ``baseline`` is the first one.
    """

    by: Annotated[str, AfterValidator(full_name)] | None = None
    """A figure of summary.json, such as `mean_ttft_ms` or `cost_usd_total`; left out: dollars where a
    hosted API is among the systems, else mean TTFT, else hit rate."""
    baseline: str | None = None
    """The name of the system that the others are held against; left out: the first one."""


def default_figure(summary: Summary) -> str:
    """The first that every system has: dollars, if a hosted API is among them, mean TTFT, hit rate."""
    entries = list(summary["systems"].values())
    flats = [intervals.flat(entry) for entry in entries]
    wanted = ["mean_ttft_ms", "cache.prefix_cache_hit_rate"]
    if any(entry["cost"]["pricing"] == "provider" for entry in entries):
        wanted.insert(0, "cost.cost_usd_total")
    return next((name for name in wanted if all(name in flat for flat in flats)), "completed")


def compare(summary: Summary, asked: Compare, repetitions: Repetitions | None) -> Comparison:
    """All systems, the best first; those without the figure come last."""
    by = asked.by or default_figure(summary)
    names = list(summary["systems"])
    baseline = asked.baseline or names[0]
    values = {name: intervals.flat(summary["systems"][name]).get(by) for name in names}
    sign = -1 if is_better_high(by) else 1
    order = sorted(names, key=lambda name: _place(values[name], sign))
    best, reference = order[0], values[baseline]
    rows: list[RankedSystem] = []
    tied = [best]
    level = 1 - (1 - CONFIDENCE) / max(1, len(names) - 1)
    for name in order:
        value = values[name]
        rows.append(
            {
                "system": name,
                "value": value,
                "interval": _own(repetitions, by, name, value),
                "difference_ratio": value / reference - 1 if value is not None and reference else None,
                "difference_ratio_interval": _ratio(repetitions, by, name, baseline, value, reference),
            }
        )
        if name != best and value is not None and not _differ(repetitions, by, best, name, values, level):
            tied.append(name)
    known = repetitions is not None and repetitions.values(by, best) is not None
    return {
        "by": by,
        "higher_is_better": sign < 0,
        "baseline": baseline,
        "rows": rows,
        "winner": best if known and len(tied) == 1 else None,
        "tied": tied if known else [],
    }


def _place(value: float | None, sign: int) -> tuple[bool, float]:
    return (value is None, 0.0 if value is None else sign * value)


def _own(repetitions: Repetitions | None, by: str, name: str, value: float | None) -> Interval | None:
    values = repetitions.values(by, name) if repetitions is not None else None
    if repetitions is None or values is None or value is None:
        return None
    return repetitions.interval(by, values, value, CONFIDENCE)


def _ratio(
    repetitions: Repetitions | None,
    by: str,
    name: str,
    baseline: str,
    value: float | None,
    reference: float | None,
) -> Interval | None:
    """The interval of ``name`` / ``baseline`` - 1."""
    if repetitions is None or name == baseline or value is None or not reference:
        return None
    mine, theirs = repetitions.values(by, name), repetitions.values(by, baseline)
    if mine is None or theirs is None or not all(theirs):
        return None
    ratios = [a / b - 1 for a, b in zip(mine, theirs, strict=True)]
    return repetitions.interval("ratio", ratios, value / reference - 1, CONFIDENCE)


def _differ(
    repetitions: Repetitions | None,
    by: str,
    one: str,
    other: str,
    values: dict[str, float | None],
    level: float,
) -> bool:
    """Whether the interval of the difference of two systems leaves out zero."""
    if repetitions is None:
        return False
    mine, theirs = repetitions.values(by, one), repetitions.values(by, other)
    a, b = values[one], values[other]
    if mine is None or theirs is None or a is None or b is None:
        return False
    differences = [x - y for x, y in zip(mine, theirs, strict=True)]
    low, high = repetitions.interval(by, differences, a - b, level)
    return not low <= 0 <= high
