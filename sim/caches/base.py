"""What every cache answers when requests are replayed one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from workloads.trace import Trace

Fits = Callable[[int, int], bool]
"""Whether a request of so many prompt and output tokens fits into an empty cache.

One that does not is not served from it: it finds nothing, and nothing of it is kept.
"""


class Served(NamedTuple):
    """What one request found: tokens, blocks where the cache counts in blocks, tiers where it has them."""

    hit_tokens: int
    hit_blocks: int = 0
    query_blocks: int = 0
    tiers: tuple[tuple[str, int], ...] = ()
    """(tier, hit tokens) from the fastest to the slowest tier that served."""


class ReplayCache(Protocol):
    """A cache in replay: each request is looked up, stored and released before the next one comes."""

    @property
    def evicted_blocks(self) -> int | None:
        """Blocks evicted so far; None if the cache does not count in blocks."""

    @property
    def evicted_tokens(self) -> int | None:
        """Tokens evicted so far; None if the cache does not count in tokens."""

    def serve(self, request: int, at_s: float) -> Served:
        """Look up request ``request``, which arrives at ``at_s``; then store it, evicting what must go."""

    def check(self) -> None:
        """Assert the cache's invariants."""


def always(prompt_tokens: int, output_tokens: int) -> bool:
    """`Fits` of a cache that no request of its trace is too long for."""
    return True


def too_long(config: Any, trace: Trace) -> int:
    """How many requests of ``trace`` do not fit into a cache as configured; 0 of one that keeps parts."""
    fits: Fits | None = getattr(config, "fits", None)
    if fits is None or fits(trace.largest_tokens, 1):
        return 0
    sizes = zip(trace.input_tokens, trace.output_tokens, strict=True)
    return sum(not fits(prompt, output) for prompt, output in sizes)


def too_long_note(count: int, requests: int) -> list[str]:
    """What the reader has to know where ``count`` of the ``requests`` are too long for a cache."""
    if not count:
        return []
    return [
        f"too long for the cache: {count:,} of {requests:,} requests, each with its reply, need more than "
        "its whole capacity; they find nothing, and nothing of them is kept"
    ]
