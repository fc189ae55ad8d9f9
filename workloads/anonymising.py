"""The same trace with nothing in it that names anybody or anything."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from workloads.content import ROOT, ContentTree
from workloads.trace import NONE, Trace

ORIGIN = "anonymised"
KEPT = (
    "kept: lengths, which prompts share how much, what answers what, times from the first request on, who "
    "waits for whom, priorities, and which requests have a session, a tenant or a model in common"
)
DROPPED = (
    "replaced by numbers in the order of their first use: sessions, tenants, models, pieces of content; "
    "left out: names of requests, the file's name and lines, the date, notes; texts and block ids are in "
    "no trace"
)


def anonymised(trace: Trace) -> Trace:
    """A copy for which every cache finds the same hits. O(requests + segments).

    Requests are in the order of their times. Their number, lengths and rhythm are the trace's own: whoever
    has the original can recognise it.
    """
    trace = trace.by_message
    order = [i for _, i in trace.instant_order()]
    index = {i: place for place, i in enumerate(order)} | {NONE: NONE}
    content = _Content(trace)
    first_s = min((at for at in trace.arrival_s if at is not None), default=0.0)
    sessions, tenants = _Numbers(), _Numbers()
    arrival_s = [trace.arrival_s[i] for i in order]
    copy = Trace(
        content=content.tree,
        prompt=array("q", [content.of(trace.prompt[i]) for i in order]),
        output_tokens=[trace.output_tokens[i] for i in order],
        arrival_s=[None if at is None else at - first_s for at in arrival_s],
        follower=array("q", [index[trace.follower[i]] for i in order]),
        think_s=array("d", [trace.think_s[i] for i in order]),
        continues=[index[trace.continues[i]] for i in order],
        session=[sessions.of(trace.session[i]) for i in order],
        turn=[trace.turn[i] for i in order],
        tenant=[tenants.of(trace.tenant[i]) for i in order],
        priority=[trace.priority[i] for i in order],
        lengths_only=trace.lengths_only,
        messages=trace.messages,
        block_id_tokens=trace.block_id_tokens,
        concurrency=trace.concurrency,
        equal_arrival=trace.equal_arrival,
        drawn_starts=trace.drawn_starts,
        was_live=trace.was_live,
        origin=ORIGIN,
        notes=[f"{ORIGIN}: {KEPT}", f"{ORIGIN}: {DROPPED}"],
    )
    copy.reply = array("q", [content.of(trace.reply[i]) for i in order])
    copy.parents = {sessions.of(child): sessions.of(parent) for child, parent in trace.parents.items()}
    copy.tool_turns = {index[i] for i in trace.tool_turns}
    copy.continuations = content.all(trace.continuations)
    copy.system_messages = content.all(trace.system_messages)
    copy.resent_replies = content.all(trace.resent_replies)
    if trace.named_blocks is not None:
        copy.named_blocks = [trace.named_blocks[i] for i in order]
    if trace.api_s is not None:
        copy.api_s = [trace.api_s[i] for i in order]
    if trace.left_after_s is not None:
        copy.left_after_s = [trace.left_after_s[i] for i in order]
    if trace.marks is not None:
        copy.marks = [[(content.of(at), ttl_s) for at, ttl_s in trace.marks[i]] for i in order]
    if trace.models is not None:
        models = _Names("model")
        copy.models = [models.of(trace.models[i]) for i in order]
    return copy


class _Content:
    """A copy of the content tree whose segments are numbered in the order of their first use."""

    def __init__(self, trace: Trace) -> None:
        self._old = trace.content
        self.tree = ContentTree()
        self._copies = {ROOT: ROOT}

    def of(self, segment: int) -> int:
        """The copy of a segment and of all before it."""
        old, missing = self._old, []
        while segment not in self._copies:
            missing.append(segment)
            segment = old.parent[segment]
        at = self._copies[segment]
        for new in reversed(missing):
            at = self._copies[new] = self.tree.append(at, old.end[new] - old.end[old.parent[new]])
        return at

    def all(self, segments: Iterable[int]) -> set[int]:
        """The copies of those that requests use."""
        return {self._copies[segment] for segment in segments if segment in self._copies}


class _Numbers:
    """Numbers from 0 in the order in which things come."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def of(self, thing: int) -> int:
        """The number of ``thing``."""
        return self._known.setdefault(thing, len(self._known))


class _Names:
    """Names like model-1 in the order in which things come."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._known: dict[str, str] = {}

    def of(self, thing: str) -> str:
        """The name of ``thing``."""
        return self._known.setdefault(thing, f"{self._kind}-{len(self._known) + 1}")
