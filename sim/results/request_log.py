"""Requests while a run goes on: a row that travels with each of them, and the table it ends in."""

from __future__ import annotations

from array import array

from workloads.trace import Trace

NAN = float("nan")
COMPLETED, REJECTED, TIMED_OUT, ABORTED = STATUS = ("completed", "rejected", "timed_out", "aborted")
"""How a request can end. Aborted: the engine itself gave it up."""
TICK_REQUESTS = 2048
"""Progress is told every so many requests."""


class RequestRow:
    """What has become of one request so far; it travels with the request, whichever replica has it."""

    __slots__ = (
        "aborted", "arrival_s", "finished_s", "first_token_s", "hit_tokens", "index", "preemptions",
        "replica", "retries", "scheduled_s", "tier", "tries",
    )  # fmt: skip

    def __init__(self, index: int, arrival_s: float) -> None:
        self.index = index
        self.arrival_s = arrival_s
        self.scheduled_s = NAN
        self.first_token_s = NAN
        self.finished_s = NAN
        self.hit_tokens = 0
        self.replica = -1
        """The replica that gave the last token."""
        self.preemptions = 0
        self.retries = 0
        self.tries = 0
        """How often its client was not answered so far."""
        self.tier: str | None = None
        """The slowest tier that served a hit."""
        self.aborted = False
        """Whether the engine itself gave it up."""

    def retry(self) -> None:
        """The request starts anew: what it had is lost, when it first arrived is not."""
        self.retries += 1
        self.hit_tokens = 0
        self.scheduled_s = self.first_token_s = NAN
        self.tier = None


class RequestLog:
    """The request table while it is being filled; one entry per request of the trace.

    Arrays, not lists: a run of a million requests writes them once and reads them when it is over.
    """

    def __init__(self, trace: Trace) -> None:
        n = len(trace)
        self.trace = trace
        self.arrival_s = array("d", [NAN]) * n
        self.scheduled_s = array("d", [NAN]) * n
        self.first_token_s = array("d", [NAN]) * n
        self.finished_s = array("d", [NAN]) * n
        self.hit_tokens = array("q", [0]) * n
        self.replica = array("q", [-1]) * n
        self.preemptions = array("q", [0]) * n
        self.retries = array("q", [0]) * n
        self.status: list[str | None] = [None] * n
        """How it ended, one of ``STATUS``; None while it has not."""
        self.tier: list[str | None] = [None] * n

    def grow(self) -> None:
        """The trace has one more request."""
        for column in (self.arrival_s, self.scheduled_s, self.first_token_s, self.finished_s):
            column.append(NAN)
        for counted in (self.hit_tokens, self.preemptions, self.retries):
            counted.append(0)
        self.replica.append(-1)
        self.status.append(None)
        self.tier.append(None)

    def end(self, index: int, status: str) -> None:
        """Request ``index`` is over; it must not have been before."""
        assert self.status[index] is None, "a request ends once"
        self.status[index] = status

    def write(self, row: RequestRow, status: str) -> None:
        """The request of ``row`` is over."""
        index = row.index
        assert self.status[index] is None, "a request ends once"
        self.status[index] = status
        self.arrival_s[index] = row.arrival_s
        self.scheduled_s[index] = row.scheduled_s
        self.first_token_s[index] = row.first_token_s
        self.finished_s[index] = row.finished_s
        self.replica[index] = row.replica
        if row.hit_tokens:
            self.hit_tokens[index] = row.hit_tokens
        if row.preemptions:
            self.preemptions[index] += row.preemptions
        if row.retries:
            self.retries[index] = row.retries
        if row.tier is not None:
            self.tier[index] = row.tier
