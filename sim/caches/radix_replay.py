"""SGLang's radix cache in replay: one request at a time, prompt and reply, no service time."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt, field_validator

from sim.caches.base import Fits, Served, always
from sim.caches.radix import Evicted, RadixCache, RadixTable
from sim.caches.radix_eviction import POLICIES
from workloads.schema import Schema
from workloads.shown import nearest
from workloads.trace import Trace


class RadixReplay:
    """Serves each request as an otherwise idle engine does: match, prefill, generate, release."""

    evicted_blocks = None

    def __init__(self, trace: Trace, cache: RadixCache, fits: Fits = always) -> None:
        self.cache = cache
        self._fits = fits
        self.held_tokens = 0
        """Slots that the last request held just before its release, those of the tree included."""
        self._trace = trace
        self._end = trace.content.end

    @property
    def evicted_tokens(self) -> int:
        return self.cache.evicted_pages * self.cache.page_size

    def serve(self, request: int, at_s: float) -> Served:
        """Allocate and publish the prompt, then the reply without its last token (which has no KV).

        A request whose first token is its last one publishes only once, at its end.
        """
        cache, trace, size = self.cache, self._trace, self.cache.page_size
        prompt, output = self._end[trace.prompt[request]], trace.output_tokens[request]
        if not self._fits(prompt, output):
            return Served(0, 0, prompt // size)
        total = prompt + output - 1
        table = cache.table(trace.reply[request], prompt, request, trace.priority[request])
        cache.lock(table, cache.match(table, prompt))
        hit = table.held
        missing = -(-prompt // size) - hit
        cache.make_room(missing if size == 1 else missing + 1)
        cache.take(table, missing)
        if output > 1:
            cache.publish(table, prompt)
            self._decode(table, total)
        self.held_tokens = (cache.capacity_pages - cache.free_pages - cache.tree.evictable_pages) * size
        cache.publish(table, total)
        cache.release(table)
        return Served(hit * size, hit, prompt // size)

    def _decode(self, table: RadixTable, total: int) -> None:
        """All decode steps up to ``total`` tokens at once; each wants a free page, needed or not.

        Nothing happens between two steps, so only one that takes the last free page makes the next one
        evict: another that takes a page, or the first that stays within the last page.
        """
        cache, size = self.cache, self.cache.page_size
        missing = -(-total // size) - table.held
        while missing:
            cache.make_room(1)
            pages = max(1, min(missing, cache.free_pages))  # the one is there: see RadixConfig.fits
            cache.take(table, pages)
            missing -= pages
        if (total - 1) % size:
            cache.make_room(1)

    def check(self) -> None:
        """Assert the cache's invariants and that nothing is held between requests."""
        self.cache.check()
        assert not self.cache.tree.protected_pages and not self.cache.private_pages


class RadixConfig(Schema):
    """``{kind: radix, page_size, capacity_tokens, eviction, tree}``: SGLang's cache.

    Without a capacity it is infinite. ``eviction`` is one of the policies in ``radix_eviction.py``.
    """

    kind: Literal["radix"]
    page_size: PositiveInt = 1
    """Tokens of a page, the smallest piece that is found or evicted."""
    capacity_tokens: PositiveInt | None = None
    """Capacity in tokens; left out: without limit in a replay, what the GPU's memory gives in an engine."""
    eviction: str = "lru"
    """Which leaf goes first: lru, lfu, fifo, mru, filo, priority or slru."""
    tree: Literal["unified", "classic"] = "unified"
    """Which of SGLang's two implementations: `unified` (today's) or `classic`; they differ in a few
    evictions."""

    @field_validator("eviction")
    @classmethod
    def _known_policy(cls, eviction: str) -> str:
        if eviction not in POLICIES:
            raise ValueError(f"{nearest(eviction, list(POLICIES))}")
        return eviction

    def replay(self, trace: Trace, key: str, evicted: Evicted | None = None) -> RadixReplay:
        """A fresh cache."""
        cache = RadixCache(
            trace.chains,
            self.page_size,
            self.capacity_tokens,
            eviction=self.eviction,
            tree=self.tree,
            evicted=evicted,
        )
        return RadixReplay(trace, cache, self.fits)

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """See `Fits`; of whole pages.

        Its own pages are enough: whatever else is in the pool can be evicted, and the page that an
        allocation asks for without taking it may be missing.
        """
        if self.capacity_tokens is None:
            return True
        size = self.page_size
        return -(-(prompt_tokens + output_tokens - 1) // size) <= self.capacity_tokens // size
