"""Marks elsewhere: a head that is kept for an hour, none where nobody comes back, none at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import fsum

from sim.doctor.calls import Call, Lane
from sim.doctor.what_if.base import Case, Change, session_of


def changes(case: Case) -> Iterator[Change]:
    """What the placement of marks is worth, where the provider takes marks."""
    lanes = case.found.lanes
    if not any(case.rules(lane).client_marks for lane in lanes):
        return
    if any(_early(case, lane) for lane in lanes):
        yield Change(
            "a second mark with the long lifetime on the head (tools, system prompt)",
            {"": case.saved(lambda lane: _with_head(case, lane))},
            "heads are known where a call read one that its lane had not written",
        )
    alone = dict.fromkeys(case.sessions, 0.0)
    nothing = dict.fromkeys(case.sessions, 0.0)
    for lane in lanes:
        plain = _uncached_usd(case, lane)
        nothing[session_of(lane)] += case.as_it_is(lane) - plain
        if len(lane.calls) == 1:
            alone[session_of(lane)] += case.as_it_is(lane) - plain
    if any(alone.values()):
        yield Change("no marks in lanes of one call", {"": alone}, "known afterwards", "upper bound")
    yield Change("no caching at all", {"": nothing})


def _uncached_usd(case: Case, lane: Lane) -> float:
    tariff = case.found.tariff(lane)
    return fsum(tariff.price(call.model, lane).uncached_usd(call.billed.total) for call in lane.calls)


def _head(lane: Lane) -> Call | None:
    """A call that read a head which its lane had not written: the shortest such read."""
    reads = [
        call
        for i, call in enumerate(lane.calls)
        if call.billed.read and (i == 0 or call.billed.read < lane.calls[i - 1].marked)
    ]
    return min(reads, key=lambda call: call.billed.read, default=None)


def _early(case: Case, lane: Lane) -> bool:
    """Whether a mark with a longer lifetime can stand before the last one of some call."""
    longest = len(lane.calls[0].billed.written) - 1
    return (
        longest > 0
        and case.rules(lane).client_marks
        and _head(lane) is not None
        and any(call.ttl < longest for call in lane.calls)
    )


def _with_head(case: Case, lane: Lane) -> Iterator[Call]:
    """The calls with a mark of the longest lifetime at the end of the lane's head."""
    head = _head(lane) if _early(case, lane) else None
    longest = len(lane.calls[0].billed.written) - 1
    for call in lane.calls:
        fits = head is not None and call.ttl < longest and call.marked > head.billed.read
        if head is None or not fits or not lane.prompts.begins(call.prompt, head.read_at):
            yield call
        else:
            yield replace(call, early=(head.read_at, head.billed.read, longest))
