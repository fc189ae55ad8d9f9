"""SGLang's radix tree on the chains of a trace: a request costs what it adds, however long its path is.

Semantics as read from SGLang 0.5.23 (``mem_cache/unified_cache/unified_tree_core.py``,
``mem_cache/radix_cache.py``). All content is known, so tokens are never compared: a page is named by its
number and the node of the content in which it ends, and two prompts share the pages that both have there.

SGLang walks from the root to the end of a prompt and marks every node on its way. Here two ideas save that:

* *Strands* (``radix_nodes.py``). A chat adds two nodes a turn, one below the other, in one chain of the
  content. They stand in one list, in which a lookup finds its end by bisection and a lock is a length.
* *Marks at the end*. Only leaves are evicted, so only a leaf's marks (last access, priority, hits) must be
  right. A request marks the node at which it ends; when a leaf goes, its parent gets what it passed on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from sim.caches.radix_eviction import LeafQueue
from sim.caches.radix_nodes import Node, PagePath, Strand, hi_of, parting
from workloads.content import ROOT


class RadixTree:
    """The nodes, which of them are locked, and in which order unlocked leaves go.

    Times are ticks of a counter of the tree. Within one call the order of ticks matters only between
    the part that an insert cuts off and the leaf it adds beside it: of all other nodes touched, one
    lies below the other, and only one of them can be a leaf.
    """

    __slots__ = ("_inherits_creation", "_leaves", "_now", "evictable_pages", "protected_pages", "root")

    def __init__(self, eviction: str, *, inherits_creation: bool) -> None:
        self.evictable_pages = 0
        """In nodes that no request holds."""
        self.protected_pages = 0
        """In locked nodes, and those above them."""
        self.root = Node(None, Strand([ROOT], []), 0, 0, -1)
        self._inherits_creation = inherits_creation
        self._leaves = LeafQueue(eviction)
        self._now = 0

    def match(self, path: PagePath, pages: int) -> Node:
        """The node at which the longest known prefix of the first ``pages`` pages of ``path`` ends.

        Cuts the node in which that prefix ends and refreshes the access time of the whole path, the
        part cut off included (``match_prefix``).
        """
        self._now += 1
        node, known = self._reach(path, pages, self.root)
        node.accessed = self._now
        if known < node.hi:
            node = self._split(node, known)
        self._queue_leaf(node)
        return node

    def insert(
        self, path: PagePath, pages: int, owner: int, priority: int, counted: Node, held: Node
    ) -> tuple[int, Node]:
        """Add the first ``pages`` pages of ``path``: what is missing becomes one leaf of ``owner``.

        Returns how many pages were known and the node at which the last page ends, which is locked in the
        place of ``held``, a locked node on ``path``, or the root; the rest of ``path`` is looked for from
        there on. ``counted``: the node to whose end this request has inserted before (the root: it has
        not); that node and those above do not count it again.
        """
        self._now += 1
        node, known = held, held.hi
        if held.children:
            node, known = self._reach(path, pages, held)
        node.accessed = self._now
        if known < node.hi:
            node = self._split(node, known)
        if priority > node.priority:
            node.priority = priority
        if known > counted.hi:
            node.hit(1)
            if counted is not self.root:
                counted.hit(-1)
        if node is not held:
            self.lock(node)
            if held.parent is not None:  # what is above `held` the new lock keeps too
                held.strand.drop_lock(held.hi)
        if known < pages:
            node = self._add_leaf(node, path, pages, owner, priority)
        return known, node

    def prefer(self, path: PagePath, pages: int, priority: int, held: Node) -> None:
        """Insert once more what the same request has just inserted, with another priority.

        ``held``: the node that it held before, on the same path.
        """
        if held.hi == pages:  # as mostly: it held its prompt
            self._now = held.accessed = self._now + 1
            node = held
        else:
            node = self.match(path, pages)
        if priority > node.priority:
            node.priority = priority

    def known_pages(self, path: PagePath, pages: int) -> int:
        """How many of the first ``pages`` pages of ``path`` a lookup would find; changes nothing."""
        return self._reach(path, pages, self.root)[1]

    def lock(self, node: Node) -> None:
        """Keep ``node`` and all above it from being evicted."""
        while node.parent is not None:
            strand, page = node.strand, node.hi
            locks, before = strand.locks, strand.held
            if page in locks:
                locks[page] += 1
                return
            locks[page] = 1
            if page < before:
                return
            strand.held = page
            first = strand.nodes[0]
            pages = page - (before or first.lo)
            self.evictable_pages -= pages
            self.protected_pages += pages
            if before:
                return
            assert first.parent is not None
            node = first.parent

    def unlock(self, node: Node) -> None:
        """Take back one lock on ``node`` and on all above it."""
        while node.parent is not None:
            strand, before = node.strand, node.strand.held
            if strand.drop_lock(node.hi) or node.hi < before:
                return
            first = strand.nodes[0]
            strand.held = held = max(strand.locks) if strand.locks else 0
            pages = before - (held or first.lo)
            self.protected_pages -= pages
            self.evictable_pages += pages
            self._queue_leaf(strand.nodes[-1])
            if held:
                return
            assert first.parent is not None
            node = first.parent

    def evict(self) -> Node | None:
        """Remove the unlocked leaf that goes first and return it; None if there is none."""
        leaf = self._leaves.pop()
        if leaf is None:
            return None
        parent, strand = leaf.parent, leaf.strand
        assert parent is not None
        nodes = strand.nodes
        nodes.pop()
        del parent.children[strand.chain if nodes else strand.through[0]]
        if leaf.accessed > parent.accessed:
            parent.accessed = leaf.accessed
        if leaf.priority > parent.priority:
            parent.priority = leaf.priority
        if leaf.passed:
            parent.hit(leaf.passed)
        self.evictable_pages -= leaf.hi - leaf.lo
        if not parent.children and parent.strand.held < parent.hi:  # `_queue_leaf`, without a call
            self._leaves.push(parent)
        return leaf

    def check(self) -> None:
        """Assert the invariants; O(nodes)."""
        evictable = protected = 0
        stack = [self.root]
        while stack:
            node = stack.pop()
            if node is not self.root:
                held = min(max(node.strand.held, node.lo), node.hi) - node.lo
                assert held in (0, node.hi - node.lo)
                protected += held
                evictable += node.hi - node.lo - held
                assert held or node.children or self._leaves.holds(node)
                if node is node.strand.nodes[0]:
                    node.strand.check()
            for chain, child in node.children.items():
                assert child.parent is node and node.hi == child.lo < child.hi
                assert chain == child.strand.key_of(child)
                if child.strand is not node.strand:
                    assert child is child.strand.nodes[0]
                    assert not child.strand.held or node is self.root or node.strand.locks[node.hi]
                stack.append(child)
        assert (evictable, protected) == (self.evictable_pages, self.protected_pages)

    def _reach(self, path: PagePath, pages: int, held: Node) -> tuple[Node, int]:
        """How many of the first ``pages`` pages of ``path``, those of ``held`` among them, are known, and
        the node in which they end, maybe inside it.

        O(strands x log nodes): of each strand, the part that lies on the path is found by bisection.
        """
        chains, ends = path.nodes, path.ends
        node, known = held, held.hi
        i = bisect_right(ends, known) if known else 0
        while known < pages:
            child = node.children.get(chains[i])
            if child is None:
                break
            node, strand = child, child.strand
            if strand.turns and child is strand.nodes[0]:
                known, i = parting(child, path, i, pages)
                if known < child.hi:
                    break
            if i < len(chains) and chains[i] == strand.chain:
                known = limit = ends[i] if ends[i] < pages else pages
                node = strand.nodes[-1]
                if node.hi < limit:
                    known = node.hi
                elif node.hi > limit:
                    node = strand.nodes[bisect_left(strand.nodes, limit, key=hi_of)]
                if known == ends[i]:
                    i += 1
                if known < node.hi:
                    break
        return node, known

    def _add_leaf(self, parent: Node, path: PagePath, pages: int, owner: int, priority: int) -> Node:
        """A leaf below ``parent`` with the next pages of ``path``, up to ``pages``.

        It is locked in the place of ``parent``: in a strand of its own by handing that lock to the strand.
        """
        self._now = now = self._now + 1
        strand, known = parent.strand, parent.hi
        i = bisect_right(path.ends, known)
        chain = path.nodes[i]
        if chain == strand.chain and path.ends[i] >= pages:
            strand.drop_lock(known)
        else:
            last = bisect_left(path.ends, pages, i)
            strand = Strand(path.nodes[i : last + 1], path.ends[i:last])
        leaf = parent.children[chain] = Node(parent, strand, known, pages, owner, now, priority, 1)
        strand.nodes.append(leaf)
        strand.locks[pages] = 1
        strand.held = pages
        self.protected_pages += pages - known
        return leaf

    def _split(self, node: Node, page: int) -> Node:
        """Cut ``node`` before ``page``; it stays the lower part, so what holds it still does."""
        parent, strand = node.parent, node.strand
        assert parent is not None
        key = strand.key_of(node)
        above = strand.cut(node, page)
        upper = node.cut(above, page)
        if not self._inherits_creation:
            self._now += 1
            upper.created = self._now
        above.insert(upper)
        parent.children[key] = upper
        upper.children[strand.key_of(node)] = node
        if above is not strand and strand.held:  # what it locks above it begins with the upper part
            above.locks[page] = above.locks.get(page, 0) + 1
            above.held = page
            if above is parent.strand:
                above.drop_lock(parent.hi)
        self._queue_leaf(node)
        return upper

    def _queue_leaf(self, node: Node) -> None:
        """Queue ``node`` under its present key if it can be evicted."""
        if not node.children and node.strand.held < node.hi:  # `evictable`, without a call
            self._leaves.push(node)
