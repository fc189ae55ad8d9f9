"""When the calls of a log come in its trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workloads.arrivals import ClosedLoop, Recorded
from workloads.formats.call import Call
from workloads.formats.call_content import CallContent
from workloads.formats.timing import close_loop
from workloads.seeds import stream
from workloads.trace import NONE, Trace

if TYPE_CHECKING:
    from workloads.formats.calls import CallLog


def add_calls(trace: Trace, log: CallLog, calls: Sequence[Call], content: CallContent, seed: int) -> None:
    """Add every call to ``trace`` in the order of arrival, which ``log`` configures."""
    timed = calls[0].sent_s is not None
    at_s = _arrivals_s(log, calls, seed)
    sessions: dict[str | None, int] = {}
    tenants: dict[str | None, int] = {}
    index = [NONE] * len(calls)
    order = sorted(range(len(calls)), key=at_s.__getitem__)
    trace.lines, trace.request_ids = [], []
    named = [model for place in order if (model := calls[place].model)]
    trace.models = named if len(named) == len(calls) else None
    for place in order:
        call = calls[place]
        index[place] = trace.add(
            prompt=content.prompts[place],
            reply=content.replies[place],
            output_tokens=content.output_tokens[place],
            arrival_s=at_s[place],
            continues=NONE if call.continues == NONE else index[call.continues],
            session=sessions.setdefault(call.session, len(sessions)),
            turn=call.turn,
            tenant=tenants.setdefault(call.tenant, len(tenants)),
        )
        trace.lines.append(call.line)
        trace.request_ids.append(f"{call.session}/{call.turn}")
    parents = {call.session: call.parent for call in calls if call.parent in sessions}
    trace.parents = {sessions[child]: sessions[parent] for child, parent in parents.items()}
    for call, request in zip(calls, index, strict=True):
        if call.waits:
            trace.wait(request, index[call.follows], call.delay_s or 0.0)
    if log.loop == "closed" or not timed or isinstance(log.arrival, ClosedLoop):
        thinks = [0.0] * len(calls)
        if log.think_time_s is not None:
            thinks = log.think_time_s.sample(stream(seed, "think"), len(calls)).tolist()

        def think_s(before: int, request: int) -> float:
            first, second = calls[order[before]], calls[order[request]]
            if second.delay_s is not None:
                return second.delay_s
            if not timed:
                return thinks[request]
            ended_s = first.sent_s if first.ended_s is None else first.ended_s
            return max(0.0, (second.sent_s or 0.0) - (ended_s or 0.0))

        close_loop(trace, think_s)
    log.arrival.apply(trace)


def _arrivals_s(log: CallLog, calls: Sequence[Call], seed: int) -> list[float]:
    """When each call comes if none waits: as recorded, or each session from a start of its own."""
    first_s: dict[str | None, float] = {}
    for call in calls:
        first_s.setdefault(call.session, call.sent_s or 0.0)
    if isinstance(log.arrival, Recorded):
        zero = calls[0].sent_s or 0.0
        return [(call.sent_s or 0.0) - zero for call in calls]
    starts = log.arrival.times_s(stream(seed, "arrival"), len(first_s)).tolist()
    start_s = dict(zip(first_s, starts, strict=True))
    return [start_s[call.session] + (call.sent_s or 0.0) - first_s[call.session] for call in calls]
