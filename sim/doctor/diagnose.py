"""From judged calls to the outcome: totals, causes, groups, what to change."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from sim.doctor import expected, groups
from sim.doctor.causes import CAUSES
from sim.doctor.examine import Examined
from sim.doctor.outcome import Diagnosis, GroupEntry, Invoice, WhatIf

FEW = 10
"""Fewer sessions than this say little about others."""
SESSIONS = 20
"""So many sessions and projects are listed, those that lost most."""


def diagnose(
    found: Examined, what_if: Sequence[WhatIf] = (), names: bool = False, invoice_usd: float | None = None
) -> Diagnosis:
    """The figures of a log. ``names``: call sessions and projects as the log does."""
    calls = found.calls
    causes = groups.causes(calls)
    billed = fsum(one.billed_usd for one in calls)
    uncached = fsum(one.uncached_usd for one in calls)
    lost = fsum(map(groups.lost_usd, calls))
    named = groups.Names(calls, names)
    days = groups.grouped(calls, groups.period)
    diagnosis: Diagnosis = {
        "calls": len(calls),
        "lanes": len(found.lanes),
        "sessions": len({(lane.log, lane.session) for lane in found.lanes}),
        "given": sum(one.before is None for one in calls),
        "exact": sum(one.exact for one in calls),
        "within_1_percent": sum(one.near for one in calls),
        "billed_usd": billed,
        "predicted_usd": fsum(one.predicted_usd for one in calls),
        "absolute_error_usd": fsum(abs(one.predicted_usd - one.billed_usd) for one in calls),
        "uncached_usd": uncached,
        "saved_usd": uncached - billed,
        "lost_usd": lost,
        "lost_share": lost / billed if billed else 0.0,
        "causes": causes,
        "reasons": groups.reasons(calls, causes),
        "by_session": _worst(groups.grouped(calls, named.session)),
        "by_day": sorted((one for one in days if one["name"]), key=lambda one: one["name"]),
        "by_project": _worst([one for one in groups.grouped(calls, named.project) if one["name"]]),
        "by_version": _worst(groups.grouped(calls, groups.version)),
        "lost_alive": expected.by_version(calls),
        "expected": expected.halves(calls),
        "what_if": list(what_if),
        "notes": _notes(found),
    }
    if what_if and 1 < diagnosis["sessions"] < FEW:
        diagnosis["notes"].append(f"intervals of {diagnosis['sessions']} sessions are too narrow")
    if invoice_usd is not None:
        diagnosis["invoice"] = reconciled(found, billed, invoice_usd)
    return diagnosis


def _worst(entries: Sequence[GroupEntry]) -> list[GroupEntry]:
    return sorted(entries, key=lambda one: -one["lost_usd"])[:SESSIONS]


def reconciled(found: Examined, input_usd: float, invoice_usd: float) -> Invoice:
    """The log beside an invoice. Calls that were not logged show where others read what they wrote."""
    output_usd = unlogged_usd = 0.0
    for one in found.calls:
        price = found.tariff(one.lane).price(one.call.model, one.lane)
        output_usd += price.output_usd(one.call)
        if one.before is not None:
            left = 0 if one.predicted.before is None else one.predicted.before.tokens
            unlogged_usd += price.write_usd(one.call, max(0, one.call.billed.read - left))
    return {
        "invoice_usd": invoice_usd,
        "input_usd": input_usd,
        "output_usd": output_usd,
        "difference_usd": invoice_usd - input_usd - output_usd,
        "unlogged_at_least_usd": unlogged_usd,
    }


def _notes(found: Examined) -> list[str]:
    notes = []
    if any(log.format == "codex" for log in found.logs):
        notes.append("a ChatGPT plan bills no tokens: dollars are what the same tokens cost on the API")
    if found.left_out:
        count = sum(found.left_out.values())
        notes.append(f"{count:,} calls of {len(found.left_out)} models without known prices are left out")
    if not any(lane.dated for lane in found.lanes):
        notes.append(
            "the lanes of this log have no common clock: what threads share, and what starts together, "
            "cannot be told"
        )
    if any(one.cause == "unlogged" for one in found.calls):
        notes.append(f"unlogged: {CAUSES['unlogged'].text}")
    return notes
