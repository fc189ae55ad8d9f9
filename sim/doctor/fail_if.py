"""``--fail-if``: a condition on a figure of the diagnosis, so that a check can fail."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sim.doctor.causes import CAUSES
from sim.doctor.outcome import Diagnosis
from sim.studies.compare import SIGNS
from workloads.errors import InputError
from workloads.shown import nearest

ALLOWED = "FIGURE >|>=|<|<= NUMBER[%], such as 'lost_usd > 5', 'lost_share > 10%', 'expired_usd > 1'"
CONDITION = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(%)?\s*")
SHARES = {
    "exact_share": ("exact", "calls"),
    "within_1_percent_share": ("within_1_percent", "calls"),
    "absolute_error_share": ("absolute_error_usd", "billed_usd"),
}
"""Figures that are one of the diagnosis over another."""
TOTALS = (
    "calls", "lanes", "sessions", "given", "exact", "within_1_percent", "billed_usd", "predicted_usd",
    "absolute_error_usd", "uncached_usd", "saved_usd", "lost_usd", "lost_share",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """``FIGURE SIGN NUMBER``; the figures are the totals of `Diagnosis`, `SHARES`, and CAUSE_usd.

    ``lost_usd`` is the total: the cause of that name has none.
    """

    text: str
    figure: str
    sign: str
    bound: float

    @staticmethod
    def parse(text: str) -> Condition:
        """Read a condition; InputError says what is allowed.

        >>> Condition.parse("lost_share>10%")
        Condition(text='lost_share>10%', figure='lost_share', sign='>', bound=0.1)
        """
        found = CONDITION.fullmatch(text)
        try:
            bound = float(found[3]) if found else math.nan
        except ValueError:
            bound = math.nan
        if found is None or not math.isfinite(bound):
            raise InputError(f"--fail-if {text}: not a condition; allowed: {ALLOWED}")
        figures = list(dict.fromkeys([*TOTALS, *SHARES, *(f"{cause}_usd" for cause in CAUSES)]))
        if found[1] not in figures:
            raise InputError(f"--fail-if {text}: no figure {found[1]!r}; {nearest(found[1], figures)}")
        return Condition(text, found[1], found[2], bound / 100 if found[4] else bound)

    def value(self, diagnosis: Diagnosis) -> float:
        """The figure."""
        figures: dict[str, float] = {name: diagnosis[name] for name in TOTALS}  # type: ignore[literal-required]
        if self.figure in figures:
            return figures[self.figure]
        if self.figure in SHARES:
            part, whole = (figures[name] for name in SHARES[self.figure])
            return part / whole if whole else 0.0
        return math.fsum(one["usd"] for one in diagnosis["causes"] if f"{one['cause']}_usd" == self.figure)

    def holds(self, diagnosis: Diagnosis) -> bool:
        """Whether the check fails."""
        return SIGNS[self.sign](self.value(diagnosis), self.bound)
