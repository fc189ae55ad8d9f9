"""What one system did with a trace, and its entry in summary.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.summary_cost import Regret
from sim.results.summary_system import Figures, SystemEntry


@dataclass(slots=True)
class SystemRun:
    """What one system did with the trace, and what it would have done without its cache."""

    records: Records
    twin: Records
    price: Price | None
    calibrated: bool | None
    """Whether times come from a measurement; None where there are no times."""
    notes: list[str]
    simulation_s: float
    twin_simulation_s: float
    compare: Regret | None = None
    """The strategies of a provider's client side by side, where they were tried."""

    def entry(
        self, figures: Figures, records: Records, notes: list[str], warnings: list[str]
    ) -> SystemEntry:
        """``figures`` of ``records``, its own or its twin's, with ``notes`` and ``warnings`` about them."""
        entry = {
            "calibrated": self.calibrated,
            "notes": [*self.notes, *notes, *_extrapolation(records)],
            "warnings": warnings,
            **figures,
        }
        return cast(SystemEntry, entry)


def _extrapolation(records: Records) -> list[str]:
    """What share of the busy time was predicted outside of what the latency profile measured."""
    engine = records.engine
    if engine is None or not engine.extrapolated_s:
        return []
    share = engine.extrapolated_s / engine.busy_s
    if share < 0.0005:  # 0.0 %
        return []
    return [f"extrapolated: {share:.1%} of the busy time lies outside of the profile's measured domain"]
