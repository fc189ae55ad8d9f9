"""The same calls at other providers: each one's model of today, its rules and its prices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sim.doctor.as_trace import as_trace
from sim.doctor.calls import Lane
from sim.doctor.what_if.base import Case, Change, session_of
from sim.providers import bills, rulebook
from sim.results.records import Records
from sim.systems.provider import ProviderSystem
from workloads.errors import InputError
from workloads.trace import Trace

KEYED = ("openai", "azure")
"""Providers whose clients send a cache key."""
NOT_OFFERED = ("codex",)
"""Rule files of a product that is no API."""


def changes(case: Case) -> Iterator[Change]:
    """Every provider with known prices, in the cheaper of its modes, beside the log by the rules."""
    lanes = case.found.lanes
    trace, lanes = as_trace(lanes)
    paid = {case.found.tariff(lane).provider_of(lane.calls[0].model) for lane in lanes}
    for name in rulebook.names():
        if name in NOT_OFFERED or name in paid:
            continue
        model = rulebook.provider(name).typical_model
        settings = {}
        for mode in ("automatic", "explicit"):
            saved = _saved(case, trace, lanes, name, model, mode)
            if saved is not None:
                settings[mode] = saved
        if settings:
            yield Change(
                f"{name}, {model} (caching {{}})",
                settings,
                "another model: bills are compared, not answers, at the same numbers of tokens; prices of "
                "2026-11-24, input only",
                "other answers",
            )


def _saved(
    case: Case, trace: Trace, lanes: list[Lane], name: str, model: str, mode: str
) -> dict[str, float] | None:
    """What each session saves; None where the provider does not offer that, or no price is known."""
    caching = {"mode": mode} | ({"key": "session"} if name in KEYED else {})
    system = ProviderSystem(kind="provider", provider=name, model=model, caching=caching, regret=False)  # type: ignore[arg-type]
    try:
        system = system.resolved("", Path())
        system.check_trace(trace, "", Path())
    except InputError:
        return None
    return per_session(case, lanes, input_usd(system.run(trace, "", Path(), lambda done: None)))


def input_usd(records: Records) -> dict[int, float]:
    """The input of each session of a run at a provider."""
    assert records.hosted is not None
    parts = bills.parts_usd(records)
    usd = sum(part for name, part in parts.items() if name != "output_usd")
    session = records.hosted.calls.session
    return dict(enumerate(np.bincount(session, usd).tolist()))


def per_session(case: Case, lanes: list[Lane], usd: dict[int, float]) -> dict[str, float]:
    """What sessions save if lane number i costs ``usd[i]``."""
    saved = dict.fromkeys(case.sessions, 0.0)
    for number, lane in enumerate(lanes):
        saved[session_of(lane)] += case.as_it_is(lane) - usd.get(number, 0.0)
    return saved
