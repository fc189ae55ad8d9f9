"""One request inside a replica."""

from __future__ import annotations

from sim.caches.block import BlockTable
from sim.results.records import EngineTotals
from sim.results.request_log import RequestRow

WAITING, LOADING, PREFILL, DECODE, LAST, GONE = range(6)
"""Phases. LOADING: its KV is on the way; LAST: its last token is scheduled and not there yet; GONE: it was
given up or lost with its replica."""


class Request:
    """State of a request from its arrival at a replica to its last token.

    In decode nothing is stored per step: ``base`` + the scheduled steps of the replica is the number of its
    tokens with KV, and ``finish_step`` the number of scheduled steps with which it is complete.
    """

    __slots__ = (
        "accepts", "base", "cached", "computed", "finish_step", "generated", "held_blocks", "index",
        "last_token_s", "order", "output_tokens", "phase", "preemptions", "prompt_tokens", "reply", "row",
        "table",
    )  # fmt: skip

    base: int
    finish_step: int
    order: int
    """Place in the running list, from its admission on: it grows with every one."""

    def __init__(
        self, row: RequestRow, table: BlockTable, output_tokens: int, reply: list[int], generated: int = 0
    ) -> None:
        self.index = row.index
        self.row = row
        self.table = table
        self.prompt_tokens = table.prompt_tokens
        self.output_tokens = output_tokens
        self.reply = reply  # the nodes in which its reply lies
        self.phase = WAITING
        self.computed = 0  # tokens with KV as scheduled, while not in decode
        self.generated = generated  # output tokens, as of the last time it entered or left decode
        self.cached = 0  # tokens found when this replica first admitted it
        self.held_blocks = 0  # KV blocks per group of layers, where every step is decided
        self.accepts: list[int] | None = None  # drafts that it will accept, the next ones last
        self.preemptions = 0
        self.last_token_s = 0.0

    @property
    def known_tokens(self) -> int:
        """Prompt and generated tokens; not up to date in decode."""
        return self.prompt_tokens + self.generated

    @property
    def final_tokens(self) -> int:
        """Tokens with KV when its last token is sampled, which gets none."""
        return self.prompt_tokens + self.output_tokens - 1

    def admitted(self, now: float, known: int, cached: int, totals: EngineTotals) -> None:
        """Note an admission, of ``known`` tokens ``cached`` found; only the first one counts as its hit."""
        if self.preemptions:
            totals.preempted_queries_tokens += known
            totals.preempted_hits_tokens += cached
            totals.recomputed_tokens -= cached
            return
        self.cached = cached
        totals.queries_tokens += self.prompt_tokens
        totals.hits_tokens += cached
        row = self.row
        if row.scheduled_s != row.scheduled_s:  # not a number: nowhere before
            row.scheduled_s = now
            row.hit_tokens = cached

    def given_up(self) -> None:
        """Its client has left: what still happens to it is no part of what the client saw."""
        self.row = RequestRow(self.index, self.row.arrival_s)

    def abandoned(self, totals: EngineTotals) -> None:
        """Note that it leaves before its last token; ``computed`` says how far it came.

        What was computed for it stays counted: its tokens so far, less those found when it was admitted;
        what it lost by preemptions is among the recomputed ones already.
        """
        self.phase = GONE
        totals.abandoned_tokens += self.computed - self.cached

    def finished(self, now: float, replica: int) -> None:
        """Note that its last token is there."""
        row = self.row
        row.finished_s = now
        row.replica = replica
        if self.preemptions:
            row.preemptions += self.preemptions
