"""The usual model in replay: one group of full attention and one window, one request at a time."""

from __future__ import annotations

from bisect import bisect_left

from sim.caches.groups.cache import GroupedCache
from sim.caches.groups.group import GROUP, FullGroup, WindowGroup
from sim.caches.runs import Run
from sim.caches.tables import BlockTable
from workloads.content import Route

BASE = 1 << GROUP
"""Added to the nodes and owners of the second group."""


class LoneRequests:
    """Serves requests that are alone in ``cache``, which has such groups: each in one go.

    What others do with tables of what a request holds is here a few runs that go to the queue. Example,
    blocks of 16 under a window of 128: a prompt of 1,000 tokens, of which 160 are found, with a reply of
    200. Of the window's blocks 10 to 53 leave first, together; then 2 to 9, which were found; then 54 to 66
    in turns, while the reply is written; and 67 to 73 at the end, after the blocks of full attention.
    """

    def __init__(self, cache: GroupedCache) -> None:
        window = cache.groups[1]
        assert isinstance(window, WindowGroup)
        self._window = window
        self._pool = cache.pool
        self._size = cache.block_size
        self._need = window.kind.last_blocks(cache.block_size)

    @staticmethod
    def has_groups_of(cache: GroupedCache) -> bool:
        """Whether ``cache`` is of such a model."""
        kinds = [type(group) for group in cache.groups]
        return kinds == [FullGroup, WindowGroup] and cache.caching and not cache.eagle

    def serve(self, table: BlockTable, prompt: int, total: int) -> int | None:
        """Blocks of the prompt that were found; None, and nothing is done, if the request is unusual: has a
        reply of one token, hits what its window still needs, or finds the last blocks in several runs."""
        pool, size = self._pool, self._size
        hit = pool.leading(table.route, 0, (prompt - 1) // size)
        found, blocks = hit.blocks, -(-total // size)
        together = self._window.kind.skipped_tokens(prompt) // size
        if prompt == total or found > together:
            return None
        last = self._reaching(table.route, found) if found else None
        if found and (last is None or found < self._need):
            return None
        if 2 * (blocks - found) + hit.idle + self._need > pool.free_blocks:
            return None
        pool.acquire(table, hit)
        if last is not None:
            if last.lo < found - self._need:
                last = pool.split(last, found - self._need)
            if found < last.hi:
                pool.split(last, found)
            pool.queue.take(last)
            pool.free_blocks -= last.hi - last.lo
        pool.take(2 * (blocks - found))
        pool.publish(table, total)
        owner = table.owner + BASE
        leaving, turning, staying = self._window.lay(table.route, BASE, owner, found, prompt, total)
        for run in reversed(leaving):
            pool.put(run, owner)
        if last is not None:
            pool.let_go(last, owner)
        for run in turning:
            pool.put(run, owner)
            run.up = True
        pool.give_back(blocks - total // size)  # the window's last block, if it is not full
        pool.release(table, blocks)
        for run in reversed(staying):
            pool.put(run, owner)
        return found

    def _reaching(self, route: Route, end: int) -> Run | None:
        """The run that has all blocks that the window needs before number ``end``."""
        runs = self._pool.resident.get(route.nodes[bisect_left(route.ends, end * self._size)] + BASE)
        if runs is None or runs.copies is not None:
            return None
        run = runs.reaching(end)
        return None if run is None or run.hi < end or run.lo > end - self._need else run
