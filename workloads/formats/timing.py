"""What recorded times mean: their unit and span, and which request may not come before which reply."""

from __future__ import annotations

from collections.abc import Callable

from workloads.errors import InputError
from workloads.trace import NONE, Trace

SECONDS_PER_UNIT = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def require_whole_ms(value: float, key: str, where: str) -> None:
    """Refuse a fraction where nothing but the format's habit says that times are milliseconds."""
    if value != int(value):
        raise InputError(
            f"{where}: {key} = {value!r} has a fraction, and milliseconds are whole: it is probably in "
            "seconds; allowed: whole numbers, or a time_unit (s, ms) in the configuration"
        )


def span_note(trace: Trace, read_as: str) -> str:
    """How times were read, the span they give and the rate: a wrong unit shows at once."""
    times = [at for at in trace.arrival_s if at is not None]
    if not times:
        return f"{trace.origin}: {len(trace):,} requests without times"
    span = max(times) - min(times)
    rate = f", {len(times) / span:.4g} a second" if span else ""
    waits = len(trace) - len(times)
    after = f"; {waits:,} more wait for a reply" if waits else ""
    return f"{trace.origin}: {read_as}: {len(times):,} requests in {span:,.6g} s{rate}{after}"


def close_loop(trace: Trace, think_s: Callable[[int, int], float] | None = None) -> None:
    """Let every request wait for the one before it of its session, and for the reply it contains.

    Sessions whose prompts contain each other's replies become one chain, in the order of the trace.
    Recorded times of requests that now wait are dropped: how long a reply took when they were recorded
    is not how long it takes here. ``think_s(before, request)`` says how long after the reply to ``before``
    a request comes; without it, think times that the trace has stay.
    """
    group: dict[int, int] = {}

    def root(session: int) -> int:
        while (above := group.setdefault(session, session)) != session:
            group[session] = group[above]
            session = above
        return session

    for request, earlier in enumerate(trace.continues):
        if earlier != NONE:
            group[root(trace.session[request])] = root(trace.session[earlier])
    latest: dict[int, int] = {}
    for request, session in enumerate(trace.session):
        before = latest.get(root(session), NONE)
        if before != NONE:
            known_s = trace.think_s[request]
            trace.wait(request, before, known_s if think_s is None else think_s(before, request))
        latest[root(session)] = request


def link_replies(trace: Trace) -> None:
    """Fill ``continues`` from the content: the latest earlier request whose reply a prompt contains.

    O(requests x segments of a prompt); for traces that know the content of replies.
    """
    answered: dict[int, int] = {}
    parent = trace.content.parent
    for request, prompt in enumerate(trace.prompt):
        at = prompt
        while at > 0 and at not in answered:
            at = parent[at]
        trace.continues[request] = answered.get(at, NONE)
        answered[trace.reply[request]] = request
