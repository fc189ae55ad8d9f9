"""The calls of a log as a trace, so that other providers and engines can be sent them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from sim.doctor.calls import Call, Lane
from workloads.content import ROOT
from workloads.trace import NONE, Trace

MONTH_S = 30 * 86_400.0


def as_trace(lanes: list[Lane]) -> tuple[Trace, list[Lane]]:
    """Every call as a request at its recorded time, in the order of time; and the lane of each session.

    A prompt shares with the one before it in its lane what the log shows, and a first call the head that it
    read with all first calls that read as much. The few tokens behind the last mark are left
    out. Lanes without a date are spread evenly over their months.
    """
    starts = _starts(lanes)
    trace = Trace(api_s=[], models=[], origin="log")
    heads: dict[tuple[str, int], int] = {}
    requests: list[tuple[float, int, int, Call, int]] = []
    for number, lane in enumerate(lanes):
        nodes = _segments(trace, lane, heads)
        requests += [
            (starts[number] + call.at_s, number, place, call, node)
            for place, (call, node) in enumerate(zip(lane.calls, nodes, strict=True))
        ]
    requests.sort(key=lambda one: one[:3])
    assert trace.api_s is not None and trace.models is not None
    latest: dict[int, int] = {}
    for at_s, number, place, call, node in requests:
        latest[number] = trace.add(
            prompt=node,
            output_tokens=max(1, call.output_tokens),
            arrival_s=at_s,
            continues=latest.get(number, NONE),
            session=number,
            turn=place + 1,
        )
        trace.api_s.append(None if call.ended_s is None else call.ended_s - call.at_s)
        trace.models.append(call.model)
        if call.turn == "tool":
            trace.tool_turns.add(latest[number])
    return trace, lanes


def _starts(lanes: list[Lane]) -> list[float]:
    """Seconds at which lanes start, from the first day of the log."""
    first = min(lane.start for lane in lanes)
    of_day = Counter(lane.start for lane in lanes if not lane.dated)
    seen: Counter[object] = Counter()
    found = []
    for lane in lanes:
        at = lane.start - first
        if not lane.dated:
            at += timedelta(seconds=MONTH_S * seen[lane.start] / of_day[lane.start])
            seen[lane.start] += 1
        found.append(at.total_seconds())
    return found


def _segments(trace: Trace, lane: Lane, heads: dict[tuple[str, int], int]) -> list[int]:
    """The segment at which each prompt of a lane ends."""
    content = trace.content
    found: list[int] = []
    before: Call | None = None
    for call in lane.calls:
        total = call.marked
        if before is None:
            at, shared = _head(trace, call, heads), 0
        else:
            shared = min(_shared_tokens(lane, call, before), total - 1)
            at = found[-1]
            while content.end[at] > shared:
                above = content.parent[at]
                if content.end[above] < shared:
                    at = content.cut(at, shared - content.end[above])
                else:
                    at = above
        found.append(content.append(at, total - content.end[at]) if total > content.end[at] else at)
        before = call
    return found


def _head(trace: Trace, call: Call, heads: dict[tuple[str, int], int]) -> int:
    read = call.billed.read
    if not 0 < read < call.marked:
        return ROOT
    if (call.model, read) not in heads:
        heads[call.model, read] = trace.content.append(ROOT, read)
    return heads[call.model, read]


def _shared_tokens(lane: Lane, call: Call, before: Call) -> int:
    """How many tokens two consecutive prompts begin with alike."""
    prompts = lane.prompts
    if prompts.begins(call.prompt, before.prompt):
        return before.marked
    units = prompts.shared(call.prompt, before.prompt)
    if prompts.unit_tokens is not None:
        return units * prompts.unit_tokens
    if call.billed.read < before.marked:
        return call.billed.read
    return round(before.marked * units / prompts.end[before.prompt])
