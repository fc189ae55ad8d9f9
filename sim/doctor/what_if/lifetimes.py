"""Another lifetime for what is written: the short one, the long one, the better one of each lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sim.doctor.calls import Lane
from sim.doctor.what_if.base import Case, Change, session_of


def changes(case: Case) -> Iterator[Change]:
    """Every lifetime that is sold for all lanes, the long one for main threads, for each the cheapest."""
    lanes = [lane for lane in case.found.lanes if len(_sold(case, lane)) > 1]
    if not lanes:
        return
    costs = {
        id(lane): [_usd(case, lane, number) for number in range(len(_sold(case, lane)))] for lane in lanes
    }
    names = _sold(case, lanes[0])
    for number, name in enumerate(names):
        saved = dict.fromkeys(case.sessions, 0.0)
        for lane in lanes:
            saved[session_of(lane)] += case.as_it_is(lane) - costs[id(lane)][number]
        yield Change(f"lifetime {name} for every call", {name: saved})
    if any(lane.agent for lane in lanes) and not all(lane.agent for lane in lanes):
        by_kind = dict.fromkeys(case.sessions, 0.0)
        for lane in lanes:
            number = 0 if lane.agent else len(costs[id(lane)]) - 1
            by_kind[session_of(lane)] += case.as_it_is(lane) - costs[id(lane)][number]
        yield Change(f"lifetime {names[-1]} for main threads, {names[0]} for sub-agents", {"": by_kind})
    best = dict.fromkeys(case.sessions, 0.0)
    for lane in lanes:
        best[session_of(lane)] += case.as_it_is(lane) - min(costs[id(lane)])
    yield Change(
        f"of {' and '.join(names)} the better lifetime for each lane",
        {"": best},
        "chosen with hindsight: a rule that chooses beforehand saves less",
        "upper bound",
    )


def _sold(case: Case, lane: Lane) -> list[str]:
    rules = case.rules(lane)
    billed = [one.name for one in rules.lifetimes if one.write_mult is not None]
    return billed[: len(lane.calls[0].billed.written)]


def _usd(case: Case, lane: Lane, ttl: int) -> float:
    return case.usd(replace(lane, calls=[replace(call, ttl=ttl) for call in lane.calls]))
