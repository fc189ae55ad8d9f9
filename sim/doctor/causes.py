"""Why a call read less than the calls before it had left, in the order in which causes are asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from sim.doctor.calls import Call, Lane, started_together
from sim.doctor.predict import Predicted
from sim.providers.schema import UNLIMITED, Rules


class Cause(NamedTuple):
    """What a cause means, and the provider's own word for it (Anthropic's ``cache_miss_reason``)."""

    text: str
    provider: str


CAUSES = {
    "first_call": Cause("the first call of a thread: nothing before it in the log", ""),
    "subagent_start": Cause("the first call of a sub-agent: it shares a head with others at most", ""),
    "parallel_start": Cause(
        "sub-agents that started together: each wrote what one could have written for all", ""
    ),
    "below_minimum": Cause("the prompt is shorter than the model's minimum", "unavailable"),
    "model_changed": Cause("another model than the call before; caches are per model", "model_changed"),
    "effort_changed": Cause("another setting of thinking or effort than the call before", "unavailable"),
    "tools_changed": Cause("the tools are not those of the call before", "tools_changed"),
    "system_changed": Cause("the system prompt is not that of the call before", "system_changed"),
    "compaction": Cause("the client replaced the history by a summary", "messages_changed"),
    "microcompaction": Cause("the client cleared old tool results", "messages_changed"),
    "shortened": Cause("the client edited or shortened the history", "messages_changed"),
    "expired": Cause("the pause was longer than the lifetime", "previous_message_not_found"),
    "lookback": Cause("more new blocks than a mark looks back over", "unavailable"),
    "lost_but_head": Cause(
        "within the lifetime, yet only a head of the prompt was found", "unavailable"
    ),
    "lost": Cause("within the lifetime, yet nothing was found", "unavailable"),
    "partly_lost": Cause("within the lifetime, yet an older and shorter entry was found", "unavailable"),
    "unlogged": Cause("more was found than the calls in the log had left: there are others", ""),
}  # fmt: skip
"""Every cause, in the order in which they are told."""
LOST = ("lost_but_head", "lost", "partly_lost")
"""Losses inside the lifetime: no log foretells them."""
BEGINNINGS = ("first_call", "subagent_start", "parallel_start", "below_minimum", "unlogged")
"""What no earlier call of the log could have spared."""
HEAD_SHARE = 0.5
"""A read of at most so much of what was there counts as the head of the prompt alone."""
CUTS = {
    "compact": "compaction",
    "compact_boundary": "compaction",
    "compacted": "compaction",
    "microcompact_boundary": "microcompaction",
}
"""What logs call the places where a client cuts its history."""


def excess_tokens(call: Call, before: Call | None) -> int:
    """Tokens that were written or computed although the call before had left them; all of a first call."""
    left = call.marked if before is None else min(before.marked, call.marked)
    return max(0, left - call.billed.read)


def cause(
    call: Call,
    before: Call | None,
    predicted: Predicted,
    rules: Rules,
    lane: Lane,
    together: Collection[str],
) -> str | None:
    """The cause of what ``call`` missed of the prompt of ``before``, or found beyond it; None: nothing.

    ``together``: the lanes that started at the same time as others of their session.
    """
    read = call.billed.read
    if before is None:
        first = (
            "parallel_start" if lane.id in together else "subagent_start" if lane.agent else "first_call"
        )
        return first if read < call.marked else None
    left = predicted.tokens.read if rules.granularity > 1 else before.marked
    if read >= left:
        return "unlogged" if read > left else None
    if call.marked < rules.min_tokens:
        return "below_minimum"
    return _change(call, before, predicted) or _loss(call, before, predicted, rules)


def _change(call: Call, before: Call, predicted: Predicted) -> str | None:
    """What the client changed, if it did."""
    if call.model != before.model:
        return "model_changed"
    if call.effort != before.effort:
        return "effort_changed"
    if call.how in CUTS:
        return CUTS[call.how]
    if call.differs == "tools":
        return "tools_changed"
    if call.differs == "system" or (call.differs == "head" and call.client != before.client):
        return "system_changed"
    if call.how == "shorter" or predicted.before is None or predicted.before.tokens < before.marked:
        return "shortened"
    return None


def _loss(call: Call, before: Call, predicted: Predicted, rules: Rules) -> str:
    """How something went that the client left as it was."""
    if predicted.tokens.read < before.marked and rules.granularity == 1:
        return "expired"
    if rules.lookback < UNLIMITED and call.positions - before.positions >= rules.lookback:
        return "lookback"
    if not call.billed.read:
        return "lost"
    return "lost_but_head" if call.billed.read <= HEAD_SHARE * before.marked else "partly_lost"


def parallel_starts(lanes: list[Lane]) -> set[str]:
    """The ids of sub-agents that started before another one of their session and model had an answer.

    Only of logs whose lanes have a common clock.
    """
    alike: dict[tuple[str, str], list[Lane]] = defaultdict(list)
    for lane in lanes:
        if lane.agent and lane.dated:
            alike[lane.session, lane.calls[0].model].append(lane)
    return {lane.id for mine in alike.values() for group in started_together(mine) for lane in group[1:]}
