"""A client that keeps its prompt alive in pauses: it repeats the last request, asking for one token."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from sim.doctor.calls import Call, Lane
from sim.doctor.what_if.base import Case, Change, ping

MARGIN = 0.9
"""Pings come so many lifetimes apart."""
UNTIL_MIN = (10, 20, 30, 45, 60, 120, 240)
"""How long after the last call pings go on."""


def changes(case: Case) -> Iterator[Change]:
    """Pings up to some minutes after each call, the best of several limits."""
    lanes = case.found.lanes
    if not any(case.rules(lane).refresh_on_read and case.rules(lane).lifetimes for lane in lanes):
        return
    for closing, note in (
        (True, "the client stops when a session is over"),
        (False, "a client that does not know which call is a session's last: pings after it are paid too"),
    ):
        settings = {}
        for minutes in UNTIL_MIN:
            settings[f"{minutes} min"] = case.saved(
                lambda lane, m=minutes, closing=closing: with_pings(case, lane, 60.0 * m, closing)  # type: ignore[misc]
            )
        yield Change(
            "keep-warm pings every 0.9 lifetimes, up to {} after a call"
            + (", none after the last" if closing else ""),
            settings,
            f"{note}; the best of {len(settings)} limits",
            "upper bound" if closing else "client",
        )


def with_pings(case: Case, lane: Lane, until_s: float, closing: bool) -> Iterator[Call]:
    """The calls of a lane with pings in its pauses, and after its end unless the client is ``closing``.

    Sub-agents that are done are not kept warm.
    """
    rules = case.rules(lane)
    for call, after in pairwise([*lane.calls, None]):
        assert call is not None
        yield call
        every_s = MARGIN * rules.lifetimes[call.ttl].seconds
        last_s = call.at_s + until_s
        if after is not None:
            last_s = min(last_s, after.at_s)
        elif closing or lane.agent:
            continue
        at_s = call.at_s + every_s
        while at_s < last_s and call.marked >= rules.min_tokens:
            yield ping(call, at_s)
            at_s += every_s
