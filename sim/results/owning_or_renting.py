"""Own GPUs and hosted APIs for one trace: dollars in the same units, and where owning beats renting."""

from __future__ import annotations

import math

from sim.results.summary import Summary
from sim.results.summary_cost import Beaten, Crossover, PricedSystem

FULL = 0.7
"""Share of the time that an owned GPU is taken to be busy at most before another one is needed."""


def rows(summary: Summary) -> list[PricedSystem]:
    """One row per system with a price, in the order of the configuration.

    ``utilisation`` is the share of the GPU time held that was busy (None where no GPU is held).
    """
    found: list[PricedSystem] = []
    for name, entry in summary["systems"].items():
        cost = entry["cost"]
        sessions = entry["sessions"]
        if cost["cost_usd_total"] is None or not sessions or not entry["completed"]:
            continue
        tokens = entry["total_input_tokens"] + entry["total_output_tokens"]
        without = summary["no_cache"][name]["cost"]["cost_usd_total"]
        held_s, busy_s = cost["gpu_seconds"], entry["gpu_busy_seconds"]
        found.append(
            {
                "system": name,
                "pricing": cost["pricing"],
                "prefix_cache_hit_rate": entry["cache"]["prefix_cache_hit_rate"],
                "usd_per_1000_sessions": cost["cost_usd_total"] / sessions * 1000,
                "usd_per_1m_tokens": cost["cost_usd_total"] / tokens * 1e6,
                "saved_ratio": 1 - cost["cost_usd_total"] / without if without else None,
                "utilisation": busy_s / held_s if held_s and busy_s is not None else None,
                "regret_ratio": entry["regret"]["regret_ratio"] if "regret" in entry else None,
            }
        )
    return found


def crossovers(summary: Summary) -> list[Crossover]:
    """For every pair of an engine paid by the hour and a provider: from which traffic on owning is cheaper.

    An owned GPU costs its hour whether busy or not and serves as many sessions as fit into ``FULL`` of
    its time, at the busy seconds per session of this run (larger batches at more load would take less).
    """
    owned, rented = [], []
    for name, entry in summary["systems"].items():
        cost, busy_s, duration_s = entry["cost"], entry["gpu_busy_seconds"], entry["duration"]
        total_usd, held_s, sessions = cost["cost_usd_total"], cost["gpu_seconds"], entry["sessions"]
        if total_usd is None or not sessions or not entry["completed"]:
            continue
        if cost["pricing"] == "gpu_hours" and busy_s:
            assert held_s and duration_s
            capacity = FULL * 3600 / (busy_s / sessions)
            per_h = sessions / duration_s * 3600
            owned.append((name, total_usd / held_s * 3600, capacity, per_h, total_usd / sessions))
        elif cost["pricing"] == "provider":
            rented.append((name, total_usd / sessions))
    return [
        {
            "owned": mine,
            "rented": theirs,
            "gpu_hour_usd": hour_usd,
            "sessions_per_gpu_hour": capacity,
            "simulated_sessions_per_h": per_h,
            "simulated_usd_per_1000_sessions": held_usd * 1000,
            "rented_usd_per_1000_sessions": session_usd * 1000,
            "owned_usd_per_1000_sessions_at_best": hour_usd / capacity * 1000,
            **_beats(hour_usd, capacity, session_usd),
        }
        for mine, hour_usd, capacity, per_h, held_usd in owned
        for theirs, session_usd in rented
    ]


def _beats(hour_usd: float, capacity: float, session_usd: float) -> Beaten:
    """Sessions per hour at which owning first costs no more than renting, and from which it always does.

    n GPUs serve up to n x capacity, and owning n costs no more from n x first sessions an hour on, with
    first = hour_usd / session_usd. Taking one GPU more never makes it cost more once (n + 1) x first <=
    n x capacity. None: never.
    """
    if not session_usd or hour_usd / session_usd > capacity:
        return {"first_sessions_per_h": None, "always_sessions_per_h": None}
    first = hour_usd / session_usd
    if first == capacity:
        return {"first_sessions_per_h": first, "always_sessions_per_h": None}
    gpus = max(1, math.ceil(first / (capacity - first) - 1e-9))
    return {"first_sessions_per_h": first, "always_sessions_per_h": gpus * first}


def owned_usd_per_1000_sessions(hour_usd: float, capacity: float, sessions_per_h: float) -> float:
    """What 1,000 sessions cost on as many GPUs as ``sessions_per_h`` needs."""
    return math.ceil(sessions_per_h / capacity - 1e-9) * hour_usd / sessions_per_h * 1000
