"""Threads that start together: one item first, the others once its reply begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sim.doctor.calls import Lane, started_together
from sim.doctor.what_if.base import Case, Change, session_of


def changes(case: Case) -> Iterator[Change]:
    """What the followers of each batch would read instead of writing; only of logs with a common clock."""
    saved = dict.fromkeys(case.sessions, 0.0)
    batches = 0
    for leader, *followers in _batches(case.found.lanes):
        batches += 1
        for lane in followers:
            call, rules = lane.calls[0], case.rules(lane)
            shared = _shared_tokens(leader, lane)
            spared = min(call.marked, shared) - call.billed.read
            if shared >= rules.min_tokens and spared > 0:
                price = case.found.tariff(lane).price(call.model, lane)
                saved[session_of(lane)] += price.excess_usd(call, spared)
    if batches:
        yield Change(
            "one item of each batch first, the others when its reply begins",
            {"": saved},
            f"{batches:,} batches of threads that began alike before the first had an answer; lengths of "
            "messages are estimates",
        )


def _batches(lanes: list[Lane]) -> Iterator[list[Lane]]:
    """Lanes that begin with the same message of the same model, before the first of them has its reply."""
    alike: dict[tuple[str, str, bytes], list[Lane]] = defaultdict(list)
    for lane in lanes:
        first = lane.calls[0]
        if lane.dated and first.opening:
            alike[lane.log, first.model, first.opening[0][0]].append(lane)
    for mine in alike.values():
        yield from started_together(mine)


def _shared_tokens(leader: Lane, lane: Lane) -> int:
    """About how many tokens two first prompts begin with alike."""
    shared = 0.0
    for one, other in zip(leader.calls[0].opening, lane.calls[0].opening, strict=False):
        if one[0] != other[0]:
            break
        shared += min(one[1], other[1])
    return round(shared)
