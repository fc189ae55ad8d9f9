"""KV that comes from elsewhere, and the requests that wait for it.

As vLLM's connectors do it (``v1/core/sched/scheduler.py``, ``kv_transfer/kv_connector/v1``): the source is
asked after the local lookup, its tokens extend the local prefix, and an asynchronous load keeps the request
out of the batch while it holds its blocks, uses no budget and blocks no request behind it. What is loaded
can be hit by others once it is there. Two differences: a loading request holds the blocks of its whole
known sequence, the engine those of the prefix only; and what was loaded goes before everything that waits,
whatever the queue's policy.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

from sim.engine.request import LOADING, Request


class Found(NamedTuple):
    """What a source can bring in for one request."""

    tokens: int
    blocks: dict[str, int]
    """Blocks by the tier that has them; empty where the source has no tiers."""


NOTHING = Found(0, {})


class Source(Protocol):
    """Where KV comes from that the replica does not have."""

    def find(self, request: Request, hit_blocks: int) -> Found:
        """What can be brought in behind the first ``hit_blocks`` blocks."""

    def fetch(self, request: Request, found: Found) -> float:
        """Start to bring in what was found; the simulated time at which it is there."""

    def left(self, request: Request) -> None:
        """``request`` is complete and has given its blocks back; ``computed`` tokens of it were cached."""


class Loads:
    """The requests of a replica whose KV is on its way, and those whose KV is there."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.loading: dict[Request, None] = {}
        """In the order in which their loads began; those that are ready are still among them."""
        self.ready: deque[Request] = deque()
        """Loaded, to be admitted next, in the order in which their loads ended."""

    def begin(self, request: Request, computed: int) -> None:
        """``request`` waits for its first ``computed`` tokens."""
        request.phase = LOADING
        request.computed = computed
        self.loading[request] = None

    def arrived(self, request: Request) -> None:
        """What ``request`` waited for is there."""
        self.ready.append(request)

    def admit(self) -> Request:
        """The next one that is ready, which runs from now on."""
        request = self.ready.popleft()
        del self.loading[request]
        return request

    def drop(self, request: Request) -> None:
        """``request`` leaves; what is on its way to it is of no use."""
        del self.loading[request]
        if request in self.ready:
            self.ready.remove(request)

    def held_blocks(self, block_size: int) -> int:
        """Blocks that the loading requests hold, those of the cache included."""
        return sum(max(r.held_blocks, -(-r.known_tokens // block_size)) for r in self.loading)

    def check(self) -> None:
        """Assert that what is ready was loaded."""
        assert all(request in self.loading for request in self.ready)
        assert all(request.phase == LOADING for request in self.loading)
