"""The parts of a prompt in another order: what stays the same first, what changes behind it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sim.doctor.calls import Call, Lane
from sim.doctor.what_if.base import Case, Change, session_of


def changes(case: Case) -> Iterator[Change]:
    """What would be found if nothing changed before what stays; only of logs with messages."""
    saved = dict.fromkeys(case.sessions, 0.0)
    moved = 0
    for lane, call, tokens in (*_inside(case), *_across(case)):
        if tokens >= case.rules(lane).min_tokens:
            moved += tokens
            price = case.found.tariff(lane).price(call.model, lane)
            saved[session_of(lane)] += price.excess_usd(call, tokens)
    if moved:
        yield Change(
            "what stays the same before what changes (order of parts)",
            {"": saved},
            f"{moved:,} tokens of whole messages that had been sent before, behind something that changed; "
            "lengths of messages are estimates, and parts of a message are not moved",
        )


def _inside(case: Case) -> Iterator[tuple[Lane, Call, int]]:
    """Calls of a lane that changed an early part, and what of the later ones the call before had sent."""
    for judged in case.found.calls:
        call, before = judged.call, judged.before
        if before is None or not call.moved:
            continue
        lifetime_s = case.found.tariff(judged.lane).rules(call.model).lifetimes[before.ttl].seconds
        if call.model == before.model and call.at_s - before.at_s < lifetime_s:
            yield judged.lane, call, min(call.moved, judged.missed_tokens)


def _across(case: Case) -> Iterator[tuple[Lane, Call, int]]:
    """First calls, and what of them other first calls had sent within the lifetime."""
    seen: dict[tuple[str, str, bytes], datetime] = {}
    dated = [lane for lane in case.found.lanes if lane.dated and lane.calls[0].opening]
    for lane in sorted(dated, key=lambda lane: lane.start):
        call, same, tokens = lane.calls[0], True, 0.0
        lifetime_s = case.rules(lane).lifetimes[call.ttl].seconds
        for name, length in call.opening:
            key = lane.log, call.model, name
            at = seen.get(key)
            known = at is not None and (lane.start - at).total_seconds() < lifetime_s
            same = same and known
            tokens += length * (known and not same)
            seen[key] = lane.start
        left = call.marked - call.billed.read
        yield lane, call, min(left, round(tokens))
