"""SGLang's radix tree on the content tree: O(nodes + segments on the path), however many tokens.

Semantics as read from SGLang 0.5.23 (``mem_cache/unified_cache/unified_tree_core.py``,
``mem_cache/radix_cache.py``). All content is known, so tokens are never compared: a page is named by its
number and the segment in which it ends, and two prompts share the pages of their common segments.
"""

from __future__ import annotations

from bisect import bisect_right

from sim.caches.radix_eviction import Key, LeafQueue
from workloads.content import ROOT, ContentTree


class PagePath:
    """A path of the content tree in pages: the segments in which pages end, and how many are then full."""

    __slots__ = ("ends", "segments")

    def __init__(self, content: ContentTree, segment: int, page_size: int) -> None:
        parent, end = content.parent, content.end
        segments, ends = [], []
        pages = end[segment] // page_size
        while pages:
            above = parent[segment]
            pages_above = end[above] // page_size
            if pages_above < pages:
                segments.append(segment)
                ends.append(pages)
            segment, pages = above, pages_above
        segments.reverse()
        ends.reverse()
        self.segments = segments
        self.ends = ends


class Node:
    """A node of the tree: the pages ``lo .. hi - 1`` of ``path``, all computed by one request.

    ``at`` is the index in ``path`` of the segment in which page ``lo`` ends. The pages have one owner
    because a leaf is made of what one request computed, and nodes are split but never joined.
    """

    __slots__ = (
        "accessed",
        "at",
        "children",
        "created",
        "hi",
        "hits",
        "lo",
        "locks",
        "owner",
        "parent",
        "path",
        "priority",
        "queued",
    )

    def __init__(self, parent: Node | None, path: PagePath, at: int, lo: int, hi: int, owner: int) -> None:
        self.parent = parent
        self.path = path
        self.at = at
        self.lo = lo
        self.hi = hi
        self.owner = owner
        self.children: dict[int, Node] = {}
        """By the segment in which the child's first page ends; that page's number is ``hi``."""
        self.locks = 0
        """Requests that hold this node or one below it."""
        self.hits = 0
        """Requests that inserted this content (SGLang's ``hit_count``); lookups do not count."""
        self.priority = 0
        self.accessed = 0
        self.created = 0
        self.queued: Key | None = None
        """The key under which the queue of leaves has it."""

    def __repr__(self) -> str:
        return f"Node(pages {self.lo}..{self.hi - 1}, owner {self.owner}, locks {self.locks})"


class RadixTree:
    """The nodes, who locks them, and in which order unlocked leaves go.

    Times are ticks of a counter of the tree. Within one call the order of ticks matters only between
    the part that an insert cuts off and the leaf it adds beside it: of all other nodes touched, one
    lies below the other, and only one of them can be a leaf.
    """

    __slots__ = ("_inherits_creation", "_leaves", "_now", "evictable_pages", "protected_pages", "root")

    def __init__(self, eviction: str, *, inherits_creation: bool) -> None:
        self.evictable_pages = 0
        """In nodes that nobody locks."""
        self.protected_pages = 0
        """In locked nodes."""
        self.root = Node(None, PagePath(ContentTree(), ROOT, 1), 0, 0, 0, -1)
        self.root.locks = 1  # never a leaf to evict
        self._inherits_creation = inherits_creation
        self._leaves = LeafQueue(eviction)
        self._now = 0

    def match(self, path: PagePath, pages: int) -> Node:
        """The node at which the longest known prefix of the first ``pages`` pages of ``path`` ends.

        Cuts the node in which that prefix ends and refreshes the access time of the whole path, the
        part cut off included (``match_prefix``).
        """
        self._now += 1
        node, now, i = self.root, self._now, 0
        while node.hi < pages:
            child = node.children.get(path.segments[i])
            if child is None:
                break
            child.accessed = now
            common, i = _common(child, path, i, pages)
            if common < child.hi:
                node = self._split(child, common)
                break
            node = child
        self._queue_leaf(node)
        return node

    def insert(
        self, path: PagePath, pages: int, owner: int, priority: int, counted: int
    ) -> tuple[int, Node]:
        """Add the first ``pages`` pages of ``path``: what is missing becomes one leaf of ``owner``.

        Returns how many pages were known and the node at which the last page ends, which the caller must
        lock if it is a leaf. ``counted``: leading pages that this request has inserted before; nodes that
        end among them do not count it again.
        """
        self._now += 1
        node, now, i = self.root, self._now, 0
        while node.hi < pages:
            child = node.children.get(path.segments[i])
            if child is None:
                break
            child.accessed = now
            common, i = _common(child, path, i, pages)
            node = child if common == child.hi else self._split(child, common)
            if node.priority < priority:
                node.priority = priority
            if node.hi > counted:
                node.hits += 1
        known = node.hi
        if known < pages:
            leaf = Node(node, path, i, known, pages, owner)
            leaf.priority = priority
            leaf.hits = 1
            leaf.accessed = leaf.created = self._tick()
            node.children[path.segments[i]] = leaf
            self.evictable_pages += pages - known
            node = leaf
        return known, node

    def known_pages(self, path: PagePath, pages: int) -> int:
        """How many of the first ``pages`` pages of ``path`` a lookup would find; changes nothing."""
        node, i, known = self.root, 0, 0
        while known == node.hi < pages:
            child = node.children.get(path.segments[i])
            if child is None:
                break
            node = child
            known, i = _common(child, path, i, pages)
        return known

    def lock(self, node: Node, below: Node) -> None:
        """Keep ``node`` and all above it, up to ``below``, from being evicted."""
        while node is not below:
            if not node.locks:
                pages = node.hi - node.lo
                self.evictable_pages -= pages
                self.protected_pages += pages
            node.locks += 1
            assert node.parent is not None
            node = node.parent

    def unlock(self, node: Node) -> None:
        """Take back one lock on ``node`` and on all above it."""
        while node.parent is not None:
            node.locks -= 1
            if not node.locks:
                pages = node.hi - node.lo
                self.protected_pages -= pages
                self.evictable_pages += pages
                self._queue_leaf(node)
            node = node.parent

    def evict(self) -> Node | None:
        """Remove the unlocked leaf that goes first and return it; None if there is none."""
        leaf = self._leaves.pop()
        if leaf is None:
            return None
        parent = leaf.parent
        assert parent is not None
        del parent.children[leaf.path.segments[leaf.at]]
        self.evictable_pages -= leaf.hi - leaf.lo
        self._queue_leaf(parent)
        return leaf

    def check(self) -> None:
        """Assert the invariants; O(nodes)."""
        evictable = protected = 0
        stack = [self.root]
        while stack:
            node = stack.pop()
            top = node is self.root
            assert top or node.locks >= sum(child.locks for child in node.children.values())
            for segment, child in node.children.items():
                path, at = child.path, child.at
                assert child.parent is node and segment == path.segments[at]
                assert node.hi == child.lo < child.hi <= path.ends[-1]
                assert child.lo < path.ends[at] and (at == 0 or path.ends[at - 1] <= child.lo)
                assert top or child.priority <= node.priority
                assert child.locks >= 0
                if child.locks:
                    protected += child.hi - child.lo
                else:
                    evictable += child.hi - child.lo
                    assert child.children or self._leaves.holds(child)
                stack.append(child)
        assert (evictable, protected) == (self.evictable_pages, self.protected_pages)

    def _split(self, node: Node, page: int) -> Node:
        """Cut ``node`` before ``page``; it stays the lower part, so who holds it still does."""
        parent, path = node.parent, node.path
        assert parent is not None
        upper = Node(parent, path, node.at, node.lo, page, node.owner)
        upper.locks, upper.hits, upper.priority = node.locks, node.hits, node.priority
        upper.accessed = node.accessed
        upper.created = node.created if self._inherits_creation else self._tick()
        parent.children[path.segments[node.at]] = upper
        node.parent = upper
        node.lo = page
        node.at = bisect_right(path.ends, page, node.at)
        upper.children[path.segments[node.at]] = node
        self._queue_leaf(node)
        return upper

    def _queue_leaf(self, node: Node) -> None:
        """Queue ``node`` under its present key if it can be evicted."""
        if not node.children and not node.locks:
            self._leaves.push(node)

    def _tick(self) -> int:
        self._now += 1
        return self._now


def _common(node: Node, path: PagePath, i: int, most: int) -> tuple[int, int]:
    """How many of the first ``most`` pages of ``path`` are those down to and in ``node``.

    ``i`` is the index in ``path`` of the segment in which the first page of ``node`` ends, which both
    have. Also returns the index of the segment in which the next page of ``path`` ends.
    """
    segments, ends = path.segments, path.ends
    others, j = node.path.segments, node.at
    limit = node.hi if node.hi < most else most
    while True:
        reach = ends[i]
        if reach > limit:
            return limit, i
        i += 1
        if reach == limit:
            return limit, i
        j += 1
        if segments[i] != others[j]:
            return reach, i
