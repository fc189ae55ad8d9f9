"""The same calls on GPUs of one's own, paid by the hour: held all the time, or in the hours with calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sim.doctor.as_trace import as_trace
from sim.doctor.what_if.base import Case, Change
from sim.doctor.what_if.providers import per_session
from sim.results.records import Records
from sim.systems.engine import EngineSystem
from workloads.errors import InputError

FLEETS = (("gpt-oss-120b", "h200", 1), ("glm-5-fp8", "h200", 8))
"""Model, GPU and how many GPUs a replica spans: one that fits on a single GPU, one that takes a server."""
GPU_HOUR_USD = 3.50
LONGEST = 1_000_000
"""As if the model's context were as long as any prompt of the log."""
HOUR_S = 3600.0


def changes(case: Case) -> Iterator[Change]:
    """One replica of each fleet; its engine's cache keeps what its memory holds."""
    trace, lanes = as_trace(case.found.lanes)
    for model, gpu, count in FLEETS:
        system = EngineSystem.model_validate(
            {
                "kind": "engine",
                "model": model,
                "hardware": gpu,
                "tensor_parallel": count,
                "engine": {"max_model_len": LONGEST},
                "cache": {"kind": "block"},
                "price": {"gpu_hour_usd": GPU_HOUR_USD},
            }
        )
        try:
            system = system.resolved("", Path())
            system.check_trace(trace, "", Path())
        except InputError:
            continue
        records = system.run(trace, "", Path(), lambda done: None)
        held_h = (np.nanmax(records.finished_s) - np.nanmin(records.arrival_s)) / HOUR_S
        hours = {"all the time": held_h, "in the hours with calls": float(len(_hours(records)))}
        settings = {}
        for name, many in hours.items():
            usd = many * count * GPU_HOUR_USD
            settings[name] = per_session(case, lanes, _shared_out(records, usd))
        yield Change(
            f"own GPUs: {model} on {count} {gpu.upper()} at ${GPU_HOUR_USD:.2f} an hour, paid {{}}",
            settings,
            "another model: bills are compared, not answers; GPUs pay for input and output alike, held "
            "against the input. Times are a datasheet roofline, uncalibrated",
            "other answers",
        )


def _hours(records: Records) -> set[int]:
    """The hours in which a call is under way."""
    found: set[int] = set()
    for begin, end in zip(records.arrival_s.tolist(), records.finished_s.tolist(), strict=True):
        last = begin if np.isnan(end) else end
        found.update(range(int(begin // HOUR_S), int(last // HOUR_S) + 1))
    return found


def _shared_out(records: Records, usd: float) -> dict[int, float]:
    """The dollars by session, as the prompt tokens computed and tokens written are."""
    work = records.computed_tokens + records.output_tokens
    by_session = np.bincount(records.session, work)
    return dict(enumerate((usd * by_session / max(1, by_session.sum())).tolist()))
