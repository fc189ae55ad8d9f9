"""SGLang's KV memory in an engine: the radix cache is prefix cache and pool in one."""

from __future__ import annotations

from typing import Literal

from sim.caches.block import Evicted
from sim.caches.radix import RadixCache, RadixTable
from sim.caches.radix_nodes import Node, PagePath
from workloads.content import Route, Tree


class SglangMemory(RadixCache):
    """A `RadixCache` whose pages answer as blocks to what watches a replica.

    ``caching=False`` is SGLang with the radix cache off: nothing is found and nothing is kept.
    ``evicted`` is called with a leaf as blocks (owner, first, last), counting down.
    """

    def __init__(
        self,
        content: Tree,
        page_size: int,
        capacity_pages: int,
        *,
        eviction: str = "lru",
        tree: Literal["unified", "classic"] = "unified",
        caching: bool = True,
        evicted: Evicted | None = None,
    ) -> None:
        super().__init__(
            content,
            page_size,
            capacity_pages * page_size,
            eviction=eviction,
            tree=tree,
            caching=caching,
            evicted=None if evicted is None else _in_blocks(evicted, page_size),
        )
        self.capacity_blocks = self.capacity_pages
        """All pages."""
        self.eviction = eviction

    @property
    def block_size(self) -> int:
        """Tokens of a page."""
        return self.page_size

    @property
    def free_blocks(self) -> int:
        """Pages that no request holds, in the tree or not."""
        return self.free_pages + self.tree.evictable_pages

    @property
    def evicted_blocks(self) -> int:
        """Pages evicted so far."""
        return self.evicted_pages

    def match_whole(self, table: RadixTable, known_tokens: int) -> Node:
        """As `match`, but with no token left to compute: so the policies of the queue look things up."""
        return self.match(table, known_tokens + 1)

    def give_back(self, table: RadixTable, held: int) -> None:
        """The request holds its first ``held`` pages only from now on; the others were its own."""
        pages = table.held - held
        self.private_pages -= pages
        self.free_pages += pages
        table.held = held

    def take_unnamed(self, pages: int) -> None:
        """Give free pages to decodes; each one's table learns of its own when it leaves the batch."""
        assert pages <= self.free_pages
        self.free_pages -= pages
        self.private_pages += pages

    def cached_tokens(self, route: Route, tokens: int) -> int:
        """Tokens of a prompt on ``route`` that a lookup would find; changes nothing."""
        path = PagePath(route, self.page_size)
        return self.tree.known_pages(path, (tokens - 1) // self.page_size) * self.page_size


def _in_blocks(evicted: Evicted, page_size: int) -> Evicted:
    """Who is called for a leaf in tokens and calls ``evicted`` with its blocks."""

    def leaf(owner: int, start: int, to: int) -> None:
        evicted(owner, to // page_size - 1, start // page_size)

    return leaf
