"""Any replay cache beside an engine: what it finds need not be computed, and costs nothing else."""

from __future__ import annotations

from sim.caches.base import ReplayCache
from sim.caches.block import MISS, BlockCache, BlockTable, Hit
from workloads.content import Tree


class CacheBeside(BlockCache):
    """KV memory without sharing of its own, and a cache of another kind that answers at admission.

    Approximate by design, for caches that are not the engine's own (messages, layers, tiers, ids,
    another engine's tree): a request finds and stores its content at the moment it is admitted; what is
    found takes no time to bring in and still takes KV blocks of its own; at least the prompt's last token
    is computed. A resumed request is looked up again, by its prompt alone.
    """

    def __init__(self, content: Tree, block_size: int, capacity_blocks: int, cache: ReplayCache) -> None:
        super().__init__(content, block_size, capacity_blocks, caching=False)
        self.cache = cache
        self.asks_time = True

    def lookup(self, table: BlockTable, known_tokens: int) -> Hit:
        """No block is shared, so nothing is found before the request is admitted."""
        return MISS

    def acquire(self, table: BlockTable, hit: Hit) -> int:
        """Serve the request from the cache beside; the number of prompt tokens found."""
        found = self.cache.serve(table.owner, self.now_s).hit_tokens
        return min(found, table.prompt_tokens - 1)

    def check(self) -> None:
        """Assert the invariants of the memory and of the cache beside it."""
        super().check()
        self.cache.check()
