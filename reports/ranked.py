"""The one table of all systems of a run, the best first."""

from __future__ import annotations

from collections.abc import Mapping

from reports import comparison, frame, notices, side_by_side
from reports.frame import Row
from reports.looks import Look
from reports.rows import UNCHANGED
from sim.results.summary import Summary

TWICE = ("system", "hit rate, by tokens")
"""Columns of the table of dollars that the comparison has already."""


ALWAYS = 2
"""Name and figure compared are shown whoever has them, ..."""
DIFFERENCE = 2
"""Where the difference to the baseline stands."""
FEW = 0.25
"""... other columns only if more than this share of the systems has them; the details have all."""


def ranked(summary: Summary, seen: Mapping[str, Look]) -> tuple[list[str], list[Row]]:
    """Headings and lines: the figures compared, and dollars in the same units where systems are priced."""
    compared = summary["comparison"]
    assert compared is not None
    headings, cells = comparison.table(summary)
    priced_headings, priced = side_by_side.table(summary)
    added = [i for i, heading in enumerate(priced_headings) if heading not in TWICE]
    of_price = {row[0]: [row[i] for i in added] for row in priced}
    headings = [*headings, *(priced_headings[i] for i in added)]
    lines = [[*line, *of_price.get(line[0], [""] * len(added))] for line in cells]
    kept = [
        i
        for i in range(len(headings))
        if i < ALWAYS or sum(bool(line[i]) for line in lines) > FEW * len(lines)
    ]
    rows = []
    for line, entry in zip(lines, compared["rows"], strict=True):
        name = entry["system"]
        better = _better(
            entry["difference_ratio"], entry["difference_ratio_interval"], compared["higher_is_better"]
        )
        rows.append(
            Row(
                [line[i] for i in kept],
                look="first" if name == compared["winner"] else "",
                colour=seen[name].variable,
                link=f"system-{frame.slug(name)}",
                warning=_warning(summary, name),
                gains={kept.index(DIFFERENCE): better} if DIFFERENCE in kept else {},
            )
        )
    return [headings[i] for i in kept], rows


def _better(ratio: float | None, bounds: tuple[float, float] | None, higher: bool) -> str:
    """Whether a difference to the baseline is a gain; nothing where it does not hold."""
    if ratio is None or abs(ratio) < UNCHANGED or bounds is None or bounds[0] <= 0 <= bounds[1]:
        return ""
    return "gain" if (ratio > 0) == higher else "loss"


def _warning(summary: Summary, name: str) -> str:
    """What warnings about the system are about, for the sign beside its name."""
    found = [*summary["systems"][name]["warnings"], *summary["no_cache"][name]["warnings"]]
    return ", ".join(dict.fromkeys(notices.kind(text) for text in found))
