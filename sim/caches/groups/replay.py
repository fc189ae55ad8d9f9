"""A cache of several groups in replay: one request at a time, as an idle engine serves it."""

from __future__ import annotations

from sim.caches.base import Served
from sim.caches.groups.cache import GroupedCache
from sim.caches.tables import BlockTable
from workloads.trace import Trace


class GroupReplay:
    """Serves each request as an otherwise idle engine does: admit, generate, release.

    The prompt is computed at once; if some group keeps states, in the pieces at whose ends a state can be
    kept.
    """

    evicted_tokens = None

    def __init__(self, trace: Trace, cache: GroupedCache) -> None:
        self.cache = cache
        self._trace = trace
        self._end = trace.content.end

    @property
    def evicted_blocks(self) -> int:
        return self.cache.evicted_blocks

    def serve(self, request: int, at_s: float) -> Served:
        """Allocate the prompt, then the reply without its last token (which has no KV); release."""
        cache, size = self.cache, self.cache.block_size
        prompt = self._end[self._trace.prompt[request]]
        total = prompt + self._trace.output_tokens[request] - 1
        table = BlockTable(cache.content.route(self._trace.reply[request]), prompt, request)
        hit = cache.lookup(table, prompt)
        cache.held(table).junction = hit.junction
        computed = cache.acquire(table, hit)
        if cache.pass_through(table, computed, prompt, total):
            computed = total
        while computed < prompt:
            upto = prompt
            if cache.has_states:
                upto = computed + cache.cut(table, computed, prompt - computed, prompt, prompt)
                cache.slide(table, computed)
            cache.grow(table, computed, upto)
            cache.publish(table, upto)
            computed = upto
        if total > computed:
            self._generate(table, prompt, total)
        cache.release(table, -(-total // size))
        cache.new_step()
        return Served(hit.blocks * size, hit.blocks, prompt // size)

    def _generate(self, table: BlockTable, prompt: int, total: int) -> None:
        """Go on from ``prompt`` tokens to ``total``, as if token by token.

        What a token needs is taken from the head of the queue and what it leaves goes to its end: if
        enough is free for all of them, it does not matter which comes first.
        """
        cache, size = self.cache, self.cache.block_size
        cache.slide(table, prompt)
        if cache.has_states or cache.needed(prompt, total) > cache.free_blocks:
            # Blocks are taken, filled and given back with these remainders only.
            due = {0, size - 1}.union(*(group.kind.phases(size) for group in cache.sliding))
            for tokens in range(prompt, total):
                if tokens % size not in due:
                    continue
                cache.slide(table, tokens)
                cache.grow(table, tokens, tokens + 1)
                cache.publish(table, tokens + 1)
            return
        cache.grow(table, prompt, total)
        cache.publish(table, total)
        tokens = prompt
        while cache.sliding:
            tokens = min([group.kind.next_step(tokens, size) for group in cache.sliding])
            if tokens >= total:
                return
            cache.slide(table, tokens)

    def check(self) -> None:
        """Assert the cache's invariants and that nothing is held between requests."""
        self.cache.check()
        assert self.cache.free_blocks == self.cache.capacity_blocks
