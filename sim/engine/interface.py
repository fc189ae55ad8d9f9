"""What the fleet and its routers see of a replica, whichever engine it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sim.engine.request import Request
from sim.results.records import EngineTotals, StepLog


class KvMemory(Protocol):
    """KV memory in blocks (pages); a cached block that nobody holds counts as free."""

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
        """Blocks that nobody holds."""

    @property
    def evicted_blocks(self) -> int:
        """Cached blocks evicted so far."""


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

    def cached_tokens(self, path: list[int], tokens: int) -> int:
        """Tokens of a prompt that a lookup would find at this moment; changes nothing."""

    def watch(self, changed: Callable[[int], None]) -> None:
        """Have ``changed(number)`` called whenever the queue or the batch changes, until watched anew.

        That is at every ``submit`` and ``abort``, before the callbacks of requests that end, and once an
        iteration has been scheduled or the replica idles. In between the queue stays as it is, and the
        blocks held do not become fewer.
        """

    def submit(self, request: Request) -> None:
        """Queue ``request``, which arrives now."""

    def abort(self, index: int) -> None:
        """Drop request ``index``, which is here: at once if it waits, else when its iteration ends."""

    def fail(self, gone: Callable[[list[int]], None]) -> None:
        """Die at the end of the iteration under way; ``gone`` then hears which requests were here."""

    def restart(self, memory: Any) -> None:
        """Come back after a failure, with an empty ``memory``."""

    def check(self) -> None:
        """Assert the replica's invariants."""
