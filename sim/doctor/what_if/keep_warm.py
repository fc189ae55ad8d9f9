"""A client that keeps its prompt alive in pauses: it repeats the last request, asking for one token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from sim.doctor.calls import Call, Lane
from sim.doctor.what_if.base import Case, Change, ping, session_of

MARGIN = 0.9
"""Pings come so many lifetimes apart."""
UNTIL_MIN = (10, 20, 30, 45, 60, 120)
"""How long after the last call pings go on."""


def changes(case: Case) -> Iterator[Change]:
    """Pings up to some minutes after each call, at the lifetimes as they were and at the shortest.

    A client that stops when its session is over, and one that does not know that it is.
    """
    if not any(case.rules(lane).refresh_on_read for lane in case.found.lanes):
        return
    stopping, going_on = {}, {}
    short = case.rules(case.found.lanes[0]).lifetimes[0].name
    for shortest in (False, True):
        lanes = {id(lane): _at(lane, shortest) for lane in case.found.lanes}
        for minutes in UNTIL_MIN:
            name = f"up to {minutes} min after a call" + f", lifetime {short} for every call" * shortest
            saved, after = _priced(case, lanes, 60.0 * minutes)
            stopping[name] = saved
            going_on[name] = {session: saved[session] - after[session] for session in saved}
    tried = f"the best of {len(stopping)} settings"
    yield Change(
        "keep-warm pings every 0.9 lifetimes, {}",
        going_on,
        f"a client that does not know which call is a session's last: pings after it are paid too; {tried}",
    )
    yield Change(
        "keep-warm pings every 0.9 lifetimes, {}, none after the last",
        stopping,
        f"a client that knows when a session is over; {tried}",
        "upper bound",
    )


def _priced(
    case: Case, lanes: dict[int, Lane], until_s: float
) -> tuple[dict[str, float], dict[str, float]]:
    """What pings in the pauses of ``lanes`` save each session, and what those after its end cost."""
    saved = case.saved(lambda lane: with_pings(case, lanes[id(lane)], until_s))
    after = dict.fromkeys(case.sessions, 0.0)
    for lane in case.found.lanes:
        if not lane.agent:  # a sub-agent is known to be done
            after[session_of(lane)] += _after_usd(case, lanes[id(lane)], until_s)
    return saved, after


def _at(lane: Lane, shortest: bool) -> Lane:
    """The lane at the shortest lifetime, or as it was."""
    return replace(lane, calls=[replace(call, ttl=0) for call in lane.calls]) if shortest else lane


def with_pings(case: Case, lane: Lane, until_s: float) -> Iterator[Call]:
    """The calls of a lane with pings in its pauses."""
    rules = case.rules(lane)
    for call, after in pairwise([*lane.calls, None]):
        assert call is not None
        yield call
        if after is None or call.marked < rules.min_tokens:
            continue
        every_s = MARGIN * rules.lifetimes[call.ttl].seconds
        last_s = min(call.at_s + until_s, after.at_s)
        at_s = call.at_s + every_s
        while at_s < last_s:
            yield ping(call, at_s)
            at_s += every_s


def _after_usd(case: Case, lane: Lane, until_s: float) -> float:
    """The pings behind the last call of a lane: each reads what that left."""
    last, rules = lane.calls[-1], case.rules(lane)
    if last.marked < rules.min_tokens:
        return 0.0
    every_s = MARGIN * rules.lifetimes[last.ttl].seconds
    count = max(0, -int(-until_s // every_s) - 1)
    price = case.found.tariff(lane).price(last.model, lane)
    one = ping(last, last.at_s)
    plain = one.billed.total - last.marked
    read = replace(one.billed, plain=plain, read=last.marked)
    return count * (price.usd(read) + price.output_usd(one))
