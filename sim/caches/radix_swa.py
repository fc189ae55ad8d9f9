"""SGLang's radix tree for models that mix full attention with a sliding window, exactly.

A hit ends at a node behind which the window's KV is unbroken for a whole window, or from the beginning of
the prompt on; the tree itself is described in ``radix_hybrid.py``.

Example, a window of 128: a prompt of 1,000 tokens with a reply of 400. With its prompt the request
publishes 1,000 tokens of full attention and the last 129 of the window; while it decodes it gives back what
leaves the window whenever that is 128 tokens or more. The next turn finds all of it, 1,399 tokens; a prompt
that shares only the first 500 finds nothing, computes them anew and publishes them for the one after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from sim.caches.block import UNLIMITED
from sim.caches.radix_hybrid import HybridTree, Node, path
from workloads.content import Route

Lock = tuple[Node, object | None]


class Holder:
    """What a request holds: ``tokens`` so far, of them ``protected`` in the tree."""

    __slots__ = ("branch", "gone", "lock", "protected", "route", "tokens")

    def __init__(self, route: Route, lock: Lock, hit: int, branch: int | None) -> None:
        self.route = route
        self.lock = lock
        self.tokens = self.protected = hit
        self.branch = branch
        self.gone = 0  # tokens from the front whose KV of the window was given back


class WindowTree:
    """What requests do with ``tree`` under a window of ``window`` tokens."""

    def __init__(self, tree: HybridTree, window: int) -> None:
        self.tree = tree
        self.window = window

    def _within(self, node: Node, tokens: int) -> Iterator[Node]:
        """From ``node`` up, those with some of the last ``tokens`` tokens before its end."""
        low = node.hi - tokens
        return takewhile(lambda up: up.hi > low, path(node))

    def match(self, route: Route, upto: int) -> tuple[Node, int | None]:
        """The deepest node that both groups can serve, and how far full attention alone could, if more."""
        node = best = self.tree.root
        covered = UNLIMITED
        for node in self.tree.descend(route, upto):
            covered = covered + node.hi - node.lo if node.live else 0
            if covered >= self.window:
                best = node
        self.tree.refresh(self._within(best, self.window + 1))
        self.tree.touch_path(best)
        return best, node.hi if node.hi > best.hi else None

    def lock(self, node: Node) -> Lock:
        """Lock ``node`` with all above it for full attention, and with those of one window."""
        low, end = node.hi - self.window, None
        for up in path(node):
            up.full_locks += 1
            if up.hi > low:
                up.other_locks += 1
                if up.lo <= low:
                    up.mark = end = up.mark or object()
        return node, end

    def unlock(self, lock: Lock) -> None:
        """Take back what `lock` did."""
        node, end = lock
        inside = True
        for up in path(node):
            up.full_locks -= 1
            if inside:
                up.other_locks -= 1
                inside = end is None or up.mark is not end
        self.tree.offer(node)

    def insert(self, held: Holder, upto: int) -> Node:
        """Give the tree the first ``upto`` tokens of what is held; the node at which they end."""
        tree = self.tree
        node = tree.root
        for node in tree.descend(held.route, upto):
            tree.touch(node)
            self._overlap(node, held)
        if node.hi < upto:
            node = tree.add(node, held.route, upto)
            self._fill(node, max(node.lo, held.gone))
        tree.refresh(self._within(node, self.window + 1))
        return node

    def _overlap(self, node: Node, held: Holder) -> None:
        """The tree has the tokens of ``node``: what the request computed itself is freed, or fills a
        tombstone."""
        tree, start, end = self.tree, node.lo, node.hi
        if held.protected >= end:
            return
        kept, fresh = end, max(start, held.gone)
        if not node.live and fresh < end:
            if fresh > start:
                tree.split(node, fresh)
            tree.full.free += end - fresh  # its own or the tree's
            tree.revive(node)
            kept = fresh
        first = max(start, held.protected)
        if first < kept:
            tree.full.free += kept - first
            tree.other.free += max(0, kept - max(first, held.gone))

    def _fill(self, leaf: Node, fresh: int) -> None:
        """A new leaf has KV of the window from token ``fresh`` on; its last window is a node of its own."""
        tree = self.tree
        if fresh >= leaf.hi:
            return
        if fresh > leaf.lo:
            tree.split(leaf, fresh)
        if leaf.hi - leaf.lo > self.window:
            tree.revive(tree.split(leaf, leaf.hi - self.window))
        tree.revive(leaf)
