"""What the fleet and its routers see of a replica, whichever engine it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sim.engine.leaving import Lost
from sim.engine.loads import Source
from sim.engine.request import Request
from sim.results.records import EngineTotals
from sim.results.step_log import StepLog
from workloads.content import Route, Tree


class KvMemory(Protocol):
    """KV memory in blocks (pages); a cached block that no request holds counts as free."""

    @property
    def content(self) -> Tree:
        """In whose nodes its blocks lie: the routes of its requests go through them."""

    @property
    def block_size(self) -> int:
        """Tokens of a block."""

    @property
    def capacity_blocks(self) -> int:
        """All blocks."""

    @property
    def caching(self) -> bool:
        """Whether a lookup can find anything."""

    @property
    def free_blocks(self) -> int:
        """Blocks that no request holds."""

    @property
    def evicted_blocks(self) -> int:
        """Cached blocks evicted so far."""


Compute = Callable[[Any, Any, float], float]
"""``compute(batch, memory, predicted_s)``: how long a step takes, s. The latency model's ``predicted_s``,
or what a real model took for it. Called once for each step, in the order in which they begin."""


class Heard(Protocol):
    """Who hears of each token as it comes: every iteration is then decided, and is an event."""

    def iteration(self, tokens: int) -> None:
        """An iteration has been scheduled that computes so many tokens."""

    def tokens(self, index: int, tokens: int) -> None:
        """Of the reply to request ``index`` so many tokens have been computed by now, all in all."""


class AnyReplica(Protocol):
    """One engine replica: it is fed requests and calls back when they end."""

    @property
    def number(self) -> int:
        """Its place in the fleet."""

    @property
    def memory(self) -> KvMemory:
        """Its KV memory."""

    @property
    def steps(self) -> StepLog:
        """The gaps between its requests' tokens so far, run by run."""

    @property
    def work(self) -> StepLog:
        """Its iterations so far, run by run."""

    @property
    def totals(self) -> EngineTotals:
        """Its counters so far."""

    @property
    def queued(self) -> int:
        """Requests waiting."""

    @property
    def load(self) -> int:
        """Requests waiting and running."""

    @property
    def held_blocks(self) -> int:
        """KV blocks that running requests hold at this moment."""

    @property
    def queued_tokens(self) -> int:
        """Known tokens of the waiting requests, whatever of them is cached."""

    def cached_tokens(self, route: Route, tokens: int) -> int:
        """Tokens of a prompt that a lookup would find at this moment; changes nothing."""

    def watch(self, changed: Callable[[int], None]) -> None:
        """Have ``changed(number)`` called whenever the queue or the batch changes, until watched anew.

        That is at every ``submit`` and ``abort``, before the callbacks of requests that end, and once an
        iteration has been scheduled or the replica idles. In between the queue stays as it is, and the
        blocks held do not become fewer.
        """

    def submit(self, request: Request) -> None:
        """Queue ``request``, which arrives now."""

    def abort(self, request: Request) -> None:
        """Drop ``request``, which is here: at once if it waits, else when its iteration ends."""

    def fail(self, lost: Lost) -> None:
        """Die at the end of the iteration under way; ``lost`` is then called with its requests."""

    def restart(self, memory: Any, source: Source | None) -> None:
        """Come back after a failure, with an empty ``memory`` and a ``source`` of its own."""

    def check(self) -> None:
        """Assert the replica's invariants."""
