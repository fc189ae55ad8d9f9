"""Nodes of the radix tree, and the strands in which they stand."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from operator import attrgetter

from sim.caches.radix_eviction import Key
from workloads.content import Route

hi_of = attrgetter("hi")


class PagePath:
    """A route in pages: the nodes of the content in which pages end, and how many are full at each end."""

    __slots__ = ("ends", "nodes")

    def __init__(self, route: Route, page_size: int) -> None:
        nodes: list[int] = []
        ends: list[int] = []
        full = 0
        for node, end in zip(route.nodes, route.ends, strict=True):
            pages = end // page_size
            if pages > full:
                nodes.append(node)
                ends.append(pages)
                full = pages
        self.nodes = nodes
        self.ends = ends


class Node:
    """A node of the tree: the pages ``lo .. hi - 1`` of a prompt, all computed by one request.

    They have one owner because a leaf is made of what one request computed, and nodes are split but never
    joined. ``accessed``, ``priority`` and ``hits`` are right in a leaf; what is below another node may know
    more, and passes it on when it goes.
    """

    __slots__ = (
        "accessed", "children", "created", "hi", "hits", "lo", "owner", "parent", "passed", "priority",
        "queued", "strand",
    )  # fmt: skip

    def __init__(
        self,
        parent: Node | None,
        strand: Strand,
        lo: int,
        hi: int,
        owner: int,
        created: int = 0,
        priority: int = 0,
        hits: int = 0,
    ) -> None:
        self.parent = parent
        self.strand = strand
        self.lo = lo
        self.hi = hi
        self.owner = owner
        self.children: dict[int, Node] = {}
        """By the chain in which the child's first page ends; that page's number is ``hi``."""
        self.hits = hits
        """Requests that inserted this content (SGLang's ``hit_count``); lookups do not count."""
        self.passed = 0
        """Those of them that the nodes above have to learn of yet."""
        self.priority = priority
        self.accessed = self.created = created
        self.queued: Key | None = None
        """The key under which the queue of leaves has it."""

    def __repr__(self) -> str:
        return f"Node(pages {self.lo}..{self.hi - 1}, owner {self.owner})"

    @property
    def evictable(self) -> bool:
        """Whether this is a leaf that no request holds."""
        return not self.children and self.strand.held < self.hi

    def hit(self, requests: int) -> None:
        """So many more requests inserted this node and all above it."""
        self.hits += requests
        self.passed += requests

    def cut(self, strand: Strand, page: int) -> Node:
        """A node in ``strand`` with the pages before ``page``, which this one, below it, loses."""
        hits = self.hits - self.passed
        upper = Node(self.parent, strand, self.lo, page, self.owner, self.created, self.priority, hits)
        upper.accessed = self.accessed
        self.parent, self.lo = upper, page
        return upper


class Strand:
    """The nodes whose last page ends in one chain, shallowest first: each begins where the last one ends.

    They lie one below the other: what branches off a chain lies in other chains. Only the first node may
    begin in other chains, those in ``through``, which it leaves at the pages in ``turns``. A strand hangs
    below a node of another one, or below the root.

    ``locks`` counts, by the page at which a node ends, who keeps it and all above it: requests, and strands
    below it with locks of their own. What is locked is then one number, ``held``, the deepest such page.
    """

    __slots__ = ("chain", "held", "locks", "nodes", "through", "turns")

    def __init__(self, through: list[int], turns: list[int]) -> None:
        self.chain = through[-1]
        self.through = through
        self.turns = turns
        self.nodes: list[Node] = []
        self.locks: dict[int, int] = {}
        self.held = 0

    def key_of(self, node: Node) -> int:
        """The chain in which the first page of ``node``, one of the strand's, ends."""
        return self.through[0] if node is self.nodes[0] else self.chain

    def insert(self, node: Node) -> None:
        """Put ``node`` in its place."""
        self.nodes.insert(bisect_left(self.nodes, node.hi, key=hi_of), node)

    def cut(self, node: Node, page: int) -> Strand:
        """``node`` is cut before ``page``: the strand in which its upper part stands.

        If that ends in another chain, it stands in the strand above or in a new one between the two, and
        this strand begins later.
        """
        turns = self.turns
        if node is not self.nodes[0] or not turns or page > turns[-1]:
            return self
        k = bisect_left(turns, page)
        assert node.parent is not None
        above = node.parent.strand
        if k or above.chain != self.through[0]:
            above = Strand(self.through[: k + 1], turns[:k])
        begin = k + (turns[k] == page)
        self.through, self.turns = self.through[begin:], turns[begin:]
        return above

    def drop_lock(self, page: int) -> int:
        """Take back one lock at ``page``; how many are left there."""
        left = self.locks[page] - 1
        if left:
            self.locks[page] = left
        else:
            del self.locks[page]
        return left

    def check(self) -> None:
        """Assert the invariants; O(nodes)."""
        assert self.nodes and self.chain == self.through[-1] and len(self.turns) == len(self.through) - 1
        assert self.held == max(self.locks, default=0) and all(count > 0 for count in self.locks.values())
        first = self.nodes[0]
        bounds = [first.lo, *self.turns, first.hi]
        assert all(a < b for a, b in pairwise(bounds))
        for node, deeper in pairwise(self.nodes):
            assert node.strand is self and deeper.parent is node and node.hi == deeper.lo


def parting(first: Node, path: PagePath, i: int, pages: int) -> tuple[int, int]:
    """How far the first ``pages`` pages of ``path`` are those down to and in ``first``.

    ``first`` is the first node of a strand; its first page is that of ``path`` that ends in
    ``path.nodes[i]``. Also returns the place in ``path.nodes`` in which the next page ends.
    """
    chains, ends = path.nodes, path.ends
    through, turns = first.strand.through, first.strand.turns
    known, limit = first.lo, min(first.hi, pages)
    for chain, turn in zip(through, [*turns, first.hi], strict=True):
        if chains[i] != chain:
            return known, i
        known = min(ends[i], turn, limit)
        i += known == ends[i]
        if known < turn or known == limit:
            break
    return known, i
