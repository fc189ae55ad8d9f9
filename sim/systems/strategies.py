"""A provider's caching strategies side by side: what the best one would have cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sim.providers import bills
from sim.providers.marks import Caching
from sim.results.summary_cost import Regret
from workloads.errors import InputError
from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.systems.provider import ProviderSystem


def regret(system: ProviderSystem, trace: Trace, cost_usd: float, off_usd: float) -> Regret:
    """``cost_usd``, what ``system`` costs, against the cheapest strategy; ``off_usd``: without a cache."""
    costs = {"off": off_usd}
    for other, strategy in _allowed(system, trace):
        records = other.run(trace, "", Path(), lambda done: None)
        costs[strategy] = float(bills.exact(records).total_usd)
    costs["as configured"] = cost_usd  # two lifetimes in one request, say
    best = min(costs, key=lambda strategy: costs[strategy])
    more_usd = cost_usd - costs[best]
    return {
        "best_strategy": best,
        "best_cost_usd": costs[best],
        "regret_usd": more_usd,
        "regret_ratio": more_usd / costs[best] if costs[best] else None,
        "cost_usd_by_strategy": costs,
    }


def _allowed(system: ProviderSystem, trace: Trace) -> Iterator[tuple[ProviderSystem, str]]:
    """Every mode, placement of marks and lifetime that rules and trace allow."""
    for mode in ("automatic", "explicit"):
        lifetimes = _with(system, Caching.model_validate({"mode": mode})).sold()
        for marks in ("none", "system", "last", "window", "all"):
            for ttl in lifetimes:
                asked = {"mode": mode, "marks": marks, "ttl": ttl, "system_ttl": None}
                other = _with(system, system.caching.model_copy(update=asked))
                try:
                    other.resolved("", Path())
                    other.check_trace(trace, "", Path())
                except InputError:
                    continue
                if (mode, marks) != ("explicit", "none"):  # no mark at all: off
                    yield other, f"{mode}, marks {marks}, {ttl}"


def _with(system: ProviderSystem, caching: Caching) -> ProviderSystem:
    return system.model_copy(update={"caching": caching})
