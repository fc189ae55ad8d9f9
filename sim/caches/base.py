"""What every cache answers when requests are replayed one after another."""

from __future__ import annotations

from typing import NamedTuple, Protocol


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
