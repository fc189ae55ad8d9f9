"""SGLang's radix tree for models that mix full attention with a sliding window, exactly.

As read from SGLang 0.5.23 (``mem_cache/unified_cache``). Each group has a pool of its own. A node of the
tree holds some content with its KV of full attention; its KV of the window may be gone before, and the node
is then a *tombstone*. A hit ends at a node behind which the window's KV is unbroken for a whole window, or
from the beginning of the prompt on. Pages have one token; eviction is lru.

Example, a window of 128: a prompt of 1,000 tokens with a reply of 400. With its prompt the request
publishes 1,000 tokens of full attention and the last 129 of the window; while it decodes it gives back what
leaves the window whenever that is 128 tokens or more. The next turn finds all of it, 1,399 tokens; a prompt
that shares only the first 500 finds nothing, computes them anew and publishes them for the one after it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator

from sim.caches.block import UNLIMITED
from workloads.content import Route

INTERVAL = 128
"""A request gives back what left its window once it is so many tokens more (SGLang's default)."""


class Node:
    """The content from token ``lo`` to ``hi`` of ``route``."""

    __slots__ = (
        "accessed", "children", "full_locks", "hi", "live", "lo", "mark", "newer", "older", "parent",
        "route", "window_locks",
    )  # fmt: skip

    def __init__(self, route: Route, lo: int, hi: int, parent: Node | None) -> None:
        self.route = route
        self.lo = lo
        self.hi = hi
        self.parent = parent
        self.children: dict[int, Node] = {}  # by the node of the content in which they begin
        self.live = False  # has KV of the window
        self.accessed = 0.0
        self.full_locks = self.window_locks = 0
        self.mark: object | None = None  # locks of a window end here
        self.older: Node | None = None  # neighbours among those with KV of the window, by use
        self.newer: Node | None = None

    @property
    def is_leaf(self) -> bool:
        """Whether it can be evicted whole."""
        return not (self.children or self.full_locks or self.window_locks)


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
    """The tree and its two pools."""

    def __init__(self, full_tokens: int, window_tokens: int, window: int, interval: int = INTERVAL) -> None:
        self.full_free = self.full_tokens = full_tokens
        self.swa_free = self.swa_tokens = window_tokens
        self.window = window
        self.interval = interval
        self.full_evicted = self.swa_evicted = 0
        self.root = Node(Route([], []), 0, 0, None)
        self._ends = ends = Node(Route([], []), 0, 0, None)  # before the oldest and behind the newest
        ends.older = ends.newer = ends
        self._time = 0.0
        self._heap: list[tuple[float, int, Node]] = []  # leaves by use; what changed since is passed over
        self._pushed = 0

    # -- use -----------------------------------------------------------------------------------------

    def _touch(self, node: Node) -> None:
        self._time += 1
        node.accessed = self._time
        self._offer(node)

    def _offer(self, node: Node) -> None:
        """Let eviction know of ``node`` if it is a leaf."""
        if node.is_leaf and node.parent is not None:
            self._pushed += 1
            heapq.heappush(self._heap, (node.accessed, self._pushed, node))

    def _link(self, node: Node, older: Node) -> None:
        """``node`` was used right after ``older``."""
        newer = older.newer
        assert newer is not None
        node.older, node.newer = older, newer
        older.newer = newer.older = node

    @staticmethod
    def _unlink(node: Node) -> None:
        assert node.older is not None and node.newer is not None
        node.older.newer, node.newer.older = node.newer, node.older
        node.older = node.newer = None

    def _refresh(self, node: Node) -> None:
        """The nodes of a window and a token up from ``node`` are the most recently used, it first."""
        low, place = node.hi - self.window - 1, self._ends
        while node.parent is not None and node.hi > low:
            if node.live:
                self._unlink(node)
                older = place.older
                assert older is not None
                self._link(node, older)
                place = node
            node = node.parent

    # -- the tree ------------------------------------------------------------------------------------

    def _child(self, node: Node, route: Route, at: int, upto: int) -> tuple[Node, int] | None:
        """The child that goes on with token ``at`` of ``route``, and where they part, at most ``upto``."""
        if at >= upto:
            return None
        i = bisect_right(route.ends, at)
        child = node.children.get(route.nodes[i])
        if child is None:
            return None
        same, theirs = at, child.route
        while same < upto and same < child.hi and theirs.nodes[i] == route.nodes[i]:
            same = min(theirs.ends[i], route.ends[i])
            if theirs.ends[i] != route.ends[i]:
                break
            i += 1
            if i == len(theirs.nodes) or i == len(route.nodes):
                break
        return child, min(same, upto, child.hi)

    @staticmethod
    def _key(node: Node) -> int:
        return node.route.nodes[bisect_right(node.route.ends, node.lo)]

    def _split(self, child: Node, at: int) -> Node:
        """Cut what lies before token ``at`` off; the new upper node. The lower one counts as just used."""
        parent = child.parent
        assert parent is not None
        upper = Node(child.route, child.lo, at, parent)
        parent.children[self._key(child)] = upper
        self._touch(upper)
        upper.full_locks, upper.window_locks = child.full_locks, child.window_locks
        upper.mark, child.mark = child.mark, None
        upper.live = child.live
        child.parent, child.lo = upper, at
        upper.children[self._key(child)] = child
        if child.live:
            assert child.older is not None
            self._link(upper, child.older)
        self._touch(child)
        return upper

    def match(self, route: Route, upto: int) -> tuple[Node, int | None]:
        """The deepest node that both groups can serve, and how far full attention alone could, if more."""
        node, at, covered = self.root, 0, UNLIMITED
        best = node
        while (found := self._child(node, route, at, upto)) is not None:
            child, same = found
            node = self._split(child, same) if same < child.hi else child
            covered = covered + same - at if node.live else 0
            at = same
            if covered >= self.window:
                best = node
            if node is not child:
                break
        self._refresh(best)
        self._time += 1
        time, up = self._time, best
        while True:
            up.accessed = time
            self._offer(up)
            time -= 0.00001
            if up.parent is None:
                return best, at if at > best.hi else None
            up = up.parent

    def lock(self, node: Node) -> Lock:
        """Lock ``node`` with all above it for full attention, and with those of one window."""
        up, low, end = node, node.hi - self.window, None
        while up.parent is not None:
            up.full_locks += 1
            if up.hi > low:
                up.window_locks += 1
                if up.lo <= low:
                    up.mark = end = up.mark or object()
            up = up.parent
        return node, end

    def unlock(self, lock: Lock) -> None:
        """Take back what `lock` did."""
        node, end = lock
        up, inside = node, True
        while up.parent is not None:
            up.full_locks -= 1
            if inside:
                up.window_locks -= 1
                inside = end is None or up.mark is not end
            up = up.parent
        self._offer(node)

    def insert(self, held: Holder, upto: int) -> Node:
        """Give the tree the first ``upto`` tokens of what is held; the node at which they end."""
        node, at = self.root, 0
        self._touch(node)
        while (found := self._child(node, held.route, at, upto)) is not None:
            child, same = found
            self._touch(child)
            node = self._split(child, same) if same < child.hi else child
            self._overlap(node, held, at, same)
            at = same
        if at < upto:
            leaf = Node(held.route, at, upto, node)
            node.children[self._key(leaf)] = leaf
            self._touch(leaf)
            node = leaf
            self._fill(leaf, max(at, held.gone))
        self._refresh(node)
        return node

    def _overlap(self, node: Node, held: Holder, start: int, end: int) -> None:
        """The tree has these tokens: what the request computed itself is freed, or fills a tombstone."""
        if held.protected >= end:
            return
        kept, fresh = end, max(start, held.gone)
        if not node.live and fresh < end:
            if fresh > start:
                self._split(node, fresh)
            self.full_free += end - fresh  # its own or the tree's
            self._comes_alive(node)
            kept = fresh
        first = max(start, held.protected)
        if first < kept:
            self.full_free += kept - first
            self.swa_free += max(0, kept - max(first, held.gone))

    def _fill(self, leaf: Node, fresh: int) -> None:
        """A new leaf has KV of the window from token ``fresh`` on; its last window is a node of its own."""
        if fresh >= leaf.hi:
            return
        if fresh > leaf.lo:
            self._split(leaf, fresh)
        if leaf.hi - leaf.lo > self.window:
            self._comes_alive(self._split(leaf, leaf.hi - self.window))
        self._comes_alive(leaf)

    def _comes_alive(self, node: Node) -> None:
        newest = self._ends.older
        assert newest is not None
        node.live = True
        self._link(node, newest)

    # -- eviction ------------------------------------------------------------------------------------

    def make_room(self, tokens: int) -> None:
        """Evict until ``tokens`` slots of either pool are free: whole leaves for full attention, then the
        least recently used nodes of the window, which stay as tombstones if they are no leaves."""
        while self.full_free < tokens:
            accessed, _, leaf = heapq.heappop(self._heap)
            if leaf.is_leaf and leaf.accessed == accessed and self._is_there(leaf):
                self._delete(leaf)
        node = self._ends.newer
        while self.swa_free < tokens:
            assert node is not None and node is not self._ends, "more tokens wanted than can be evicted"
            following = node.newer
            if node.is_leaf:
                self._delete(node)
            elif not node.window_locks:
                self._lose_window(node)
            node = following

    def _is_there(self, node: Node) -> bool:
        return node.parent is not None and node.parent.children.get(self._key(node)) is node

    def _lose_window(self, node: Node) -> None:
        node.live = False
        self._unlink(node)
        self.swa_free += node.hi - node.lo
        self.swa_evicted += node.hi - node.lo

    def _delete(self, leaf: Node) -> None:
        parent = leaf.parent
        assert parent is not None
        del parent.children[self._key(leaf)]
        if leaf.live:
            self._lose_window(leaf)
        self.full_free += leaf.hi - leaf.lo
        self.full_evicted += leaf.hi - leaf.lo
        self._offer(parent)

    def nodes(self) -> Iterator[Node]:
        """All nodes but the root."""
        waiting = [*self.root.children.values()]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children.values()
