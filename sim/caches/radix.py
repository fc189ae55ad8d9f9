"""SGLang's radix cache: its KV pool and the life of a request in it.

Semantics as read from SGLang 0.5.23 (``mem_cache/unified_radix_cache.py``, ``common.py``,
``allocation.py``); the tree is in ``radix_tree.py``, the order of eviction in ``radix_eviction.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sim.caches.radix_nodes import Node, PagePath
from sim.caches.radix_tree import RadixTree
from workloads.content import Route, Tree

UNLIMITED = 1 << 60
Evicted = Callable[[int, int, int], None]
"""Called with (owner, from, to) for an evicted leaf: the request that computed it, token positions."""


class RadixTable:
    """What one request holds: a locked path of the tree, and private pages behind it."""

    __slots__ = ("counted", "held", "node", "owned", "owner", "path", "priority", "prompt_pages")

    def __init__(self, path: PagePath, prompt_pages: int, owner: int, priority: int, node: Node) -> None:
        self.path = path
        self.prompt_pages = prompt_pages
        self.owner = owner
        self.priority = priority
        self.node = self.counted = node
        """The end of the path that it locks; and of that which it has inserted itself, or the root."""
        self.held = 0
        """All its pages, the tree's included."""
        self.owned = 0
        """Its leading pages that belong to the tree (SGLang's ``cache_protected_len``)."""


class RadixCache:
    """Tree and pool in one, as in the engine, counted in pages of ``page_size`` tokens.

    * The tree keeps one copy of everything: what a request publishes and the tree already has is freed.
    * Room is made by evicting whole unlocked leaves, so more may go than is needed.
    * ``tree``: ``unified`` is SGLang's default, ``classic`` its older ``RadixCache``. They differ in the
      creation time of a split's upper part (inherited, or new), which fifo and filo see.

    A capacity that is no multiple of the page size is rounded down to one, as SGLang's allocator does.
    """

    def __init__(
        self,
        content: Tree,
        page_size: int = 1,
        capacity_tokens: int | None = None,
        *,
        eviction: str = "lru",
        tree: Literal["unified", "classic"] = "unified",
        caching: bool = True,
        evicted: Evicted | None = None,
    ) -> None:
        """``caching=False``: nothing is found, and a request keeps its own pages."""
        self.page_size = page_size
        self.capacity_pages = UNLIMITED if capacity_tokens is None else capacity_tokens // page_size
        self.free_pages = self.capacity_pages
        self.private_pages = 0
        """Held by requests and not in the tree."""
        self.evicted_pages = 0
        self.tree = RadixTree(eviction, inherits_creation=tree == "unified")
        self.content = content
        """In whose nodes pages lie."""
        self.caching = caching
        self._evicted = evicted

    def table(self, segment: int, prompt_tokens: int, owner: int, priority: int = 0) -> RadixTable:
        """The empty table of a request whose prompt and reply end in ``segment``. O(nodes of the route)."""
        return self.table_on(self.content.route(segment), prompt_tokens, owner, priority)

    def table_on(self, route: Route, prompt_tokens: int, owner: int, priority: int) -> RadixTable:
        """The same where the route is known."""
        path = PagePath(route, self.page_size)
        return RadixTable(path, prompt_tokens // self.page_size, owner, priority, self.tree.root)

    def match(self, table: RadixTable, known_tokens: int) -> Node:
        """The node at which the known prefix of the request's ``known_tokens`` tokens ends.

        At most ``known_tokens`` - 1 tokens are found, so one is left to compute
        (``Req._compute_max_prefix_len``). A lookup changes the tree: see ``RadixTree.match``.
        """
        if not self.caching:
            return self.tree.root
        return self.tree.match(table.path, (known_tokens - 1) // self.page_size)

    def lock(self, table: RadixTable, node: Node) -> None:
        """Let the request, which holds nothing, hold the prefix that ends with ``node``, just found."""
        self.tree.lock(node)
        table.node = node
        table.held = table.owned = node.hi

    def make_room(self, pages: int) -> None:
        """Evict leaves until ``pages`` pages are free or no unlocked leaf is left.

        Falling short is no error yet: SGLang asks for more than it takes (``allocation.py``).
        """
        evict, evicted, size = self.tree.evict, self._evicted, self.page_size
        free = before = self.free_pages
        while free < pages:
            leaf = evict()
            if leaf is None:
                break
            free += leaf.hi - leaf.lo
            if evicted is not None:
                evicted(leaf.owner, leaf.lo * size, leaf.hi * size)
        self.free_pages = free
        self.evicted_pages += free - before

    def take(self, table: RadixTable, pages: int) -> None:
        """Give free pages to the request."""
        assert pages <= self.free_pages
        self.free_pages -= pages
        self.private_pages += pages
        table.held += pages

    def publish(self, table: RadixTable, tokens: int) -> None:
        """Put the full pages of the request's first ``tokens`` tokens into the tree (``checkpoint``).

        Where the tree had them, the request's own copies are freed and it holds the tree's. A reply is
        cut from its prompt, and the prompt gets one priority more: an evicted reply leaves the prompt.
        """
        if not self.caching:
            return
        tree, path, prompt, held = self.tree, table.path, table.prompt_pages, table.node
        pages, owned = tokens // self.page_size, table.owned
        known, node = tree.insert(path, pages, table.owner, table.priority, table.counted, held)
        if pages > prompt > 0:
            tree.prefer(path, prompt, table.priority + 1, held)
        self.private_pages -= pages - owned
        self.free_pages += known - owned  # its copies; what it holds is locked, so the tree still has it
        table.node = table.counted = node
        table.owned = pages

    def release(self, table: RadixTable) -> None:
        """Free the request's private pages and unlock its path; the table is empty again.

        A request that was preempted comes back with the same table.
        """
        private = table.held - table.owned
        self.private_pages -= private
        self.free_pages += private
        self.tree.unlock(table.node)
        table.node = table.counted = self.tree.root
        table.held = table.owned = 0

    def check(self) -> None:
        """Assert the invariants; O(nodes)."""
        tree = self.tree
        tree.check()
        assert self.free_pages >= 0 and self.private_pages >= 0
        in_use = tree.evictable_pages + tree.protected_pages + self.private_pages
        assert self.free_pages + in_use == self.capacity_pages
