"""A cache of several groups in replay: one request at a time, as an idle engine serves it."""

from __future__ import annotations

from sim.caches.base import Fits, Served, always
from sim.caches.groups.cache import GroupedCache
from sim.caches.groups.lone import LoneRequests
from sim.caches.tables import BlockTable
from workloads.trace import Trace


class GroupReplay:
    """Serves each request as an otherwise idle engine does: admit, generate, release.

    The prompt is computed at once; if some group keeps states, in the pieces at whose ends a state can be
    kept.
    """

    evicted_tokens = None

    def __init__(self, trace: Trace, cache: GroupedCache, fits: Fits = always) -> None:
        self.cache = cache
        self._fits = fits
        self._lone = LoneRequests(cache) if LoneRequests.has_groups_of(cache) else None
        self._trace = trace
        self._end = trace.content.end

    @property
    def evicted_blocks(self) -> int:
        return self.cache.evicted_blocks

    def serve(self, request: int, at_s: float) -> Served:
        """Allocate the prompt, then the reply without its last token (which has no KV); release."""
        cache, size = self.cache, self.cache.block_size
        prompt, output = self._end[self._trace.prompt[request]], self._trace.output_tokens[request]
        if not self._fits(prompt, output):
            return Served(0, 0, prompt // size)
        total = prompt + output - 1
        table = BlockTable(cache.content.route(self._trace.reply[request]), prompt, request)
        if self._lone is not None:
            found = self._lone.serve(table, prompt, total)
            if found is not None:
                return Served(found * size, found, prompt // size)
        hit = cache.lookup(table, prompt)
        table.junction = hit.junction
        computed = cache.acquire(table, hit)
        if cache.has_states or not cache.pass_through(table, computed, prompt, total):
            self._compute(table, computed, prompt)
            if total > prompt:
                cache.slide(table, prompt)
                if not cache.pass_through(table, prompt, prompt, total):
                    self._generate(table, prompt, total)
        cache.release(table, -(-total // size))
        if cache.has_states:
            cache.new_step()
        return Served(hit.blocks * size, hit.blocks, prompt // size)

    def _compute(self, table: BlockTable, computed: int, prompt: int) -> None:
        """Compute the prompt, at once or up to one place after the other where a state can be kept."""
        cache = self.cache
        while computed < prompt:
            upto = prompt
            if cache.has_states:
                upto = computed + cache.cut(table, computed, prompt - computed, prompt, prompt)
                cache.slide(table, computed)
            cache.grow(table, computed, upto)
            cache.publish(table, upto)
            computed = upto

    def _generate(self, table: BlockTable, prompt: int, total: int) -> None:
        """Go on token by token from ``prompt`` tokens to ``total``."""
        cache, size = self.cache, self.cache.block_size
        # Blocks are taken, filled and given back with these remainders only.
        due = {0, size - 1, *(group.kind.behind % size for group in cache.sliding)}
        for tokens in range(prompt, total):
            if tokens % size in due:
                cache.slide(table, tokens)
                cache.grow(table, tokens, tokens + 1)
                cache.publish(table, tokens + 1)

    def check(self) -> None:
        """Assert the cache's invariants and that nothing is held between requests."""
        self.cache.check()
        assert self.cache.free_blocks == self.cache.capacity_blocks
