"""A client that keeps its prompt in the cache while its user pauses: pings between the turns."""

from __future__ import annotations

from math import inf

from pydantic import Field, PositiveFloat

from workloads.schema import MOST_S, Schema
from workloads.trace import NONE, Trace

MOST_PINGS = 10_000
"""In one pause."""


class KeepWarm(Schema):
    """``{interval_s, until_s, after_last}``: repeat the last request in pauses, asking for one token.

    A ping comes ``interval_s`` seconds after a request or the ping before, and none later than ``until_s``
    after the request. Where turns wait for replies (closed loop) both count from the end of the reply; the
    turn then comes a think time later as ever, plus the time that pings took. A client does not know
    which request is its session's last: pings follow that too, unless ``after_last`` is false.
    """

    interval_s: PositiveFloat = Field(default=270.0, le=MOST_S)
    """Time from a request, or a ping, to the next ping, s; shorter than the cache's lifetime."""
    until_s: PositiveFloat = Field(default=1800.0, le=MOST_S)
    """For how long after a request pings come, s."""
    after_last: bool = True
    """Whether the last request of a session is followed by pings too."""

    def apply(self, trace: Trace) -> None:
        """Add the pings to ``trace``. O(requests + pings)."""
        later = _later(trace)
        pings = 0
        for request in range(len(trace)):
            pings += self._keep(trace, request, later[request])
        if pings:
            trace.notes.append(
                f"{pings:,} requests are keep-warm pings of one token, which every figure counts too"
            )

    def _keep(self, trace: Trace, request: int, later: int) -> int:
        """Add the pings behind ``request``, which ``later`` comes after."""
        at_s, chained = trace.arrival_s[request], later != NONE and trace.arrival_s[later] is None
        if later == NONE:
            pause_s = self.until_s if self.after_last else 0.0
        elif chained:
            pause_s = trace.think_s[later]
        else:
            pause_s = (trace.arrival_s[later] or 0.0) - (at_s or 0.0)
        count = min(MOST_PINGS, self._count(min(pause_s, self.until_s)))
        if at_s is None or chained:
            self._chain(trace, request, later, count)
        else:
            for number in range(1, count + 1):
                _ping(trace, request, at_s + number * self.interval_s, NONE, 0.0)
        return count

    def _count(self, pause_s: float) -> int:
        """Pings in a pause; none at its very end.

        >>> [KeepWarm(interval_s=10)._count(pause_s) for pause_s in (10, 10.5, 30, 31)]
        [0, 1, 2, 3]
        """
        whole, rest = divmod(pause_s, self.interval_s)
        return int(whole) - (rest == 0) if whole else 0

    def _chain(self, trace: Trace, request: int, later: int, count: int) -> None:
        """Pings that wait for each other; ``later`` waits for the last of them."""
        last = request
        for _ in range(count):
            last = _ping(trace, request, None, last, self.interval_s)
        if count and later != NONE and trace.arrival_s[later] is None:
            trace.follower[last] = later
            trace.think_s[later] -= count * self.interval_s


def _later(trace: Trace) -> list[int]:
    """For each request the next one of its conversation: it waits for it, or continues it first."""
    later = list(trace.follower)
    for request, earlier in enumerate(trace.continues):
        if earlier != NONE and later[earlier] == NONE and trace.arrival_s[request] is not None:
            later[earlier] = request
    return later


def _ping(trace: Trace, request: int, at_s: float | None, follows: int, think_s: float) -> int:
    """A request that repeats ``request`` and gets one token."""
    new = add_like(
        trace, request, prompt=trace.prompt[request], output_tokens=1, arrival_s=at_s, follows=follows,
        think_s=think_s, continues=trace.continues[request],
    )  # fmt: skip
    if trace.request_ids is not None:
        trace.request_ids[new] += f"/ping {new}"
    return new


def add_like(
    trace: Trace,
    request: int,
    *,
    prompt: int,
    output_tokens: int,
    arrival_s: float | None,
    follows: int,
    think_s: float,
    continues: int,
) -> int:
    """A request that the client of ``request`` sends too, in the same turn; how long it took is unknown."""
    new = trace.add(
        prompt=prompt,
        output_tokens=output_tokens,
        arrival_s=arrival_s,
        follows=follows,
        think_s=think_s,
        continues=continues,
        session=trace.session[request],
        turn=trace.turn[request],
        tenant=trace.tenant[request],
        priority=trace.priority[request],
    )
    if trace.api_s is not None:
        trace.api_s.append(None)
    if trace.left_after_s is not None:
        trace.left_after_s.append(inf)
    if trace.marks is not None:
        trace.marks.append(trace.marks[request])
    for names in (trace.models, trace.request_ids):
        if names is not None:
            names.append(names[request])
    for numbers in (trace.lines, trace.named_blocks):
        if numbers is not None:
            numbers.append(numbers[request])
    return new
