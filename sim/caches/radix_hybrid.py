"""SGLang's radix tree for models that mix full attention with other layers: nodes, pools and eviction.

As read from SGLang 0.5.23 (``mem_cache/unified_cache``): pages of one token, lru. A node of the tree has
the KV of full attention of some content for as long as it exists. What the *other* layers keep there, KV of
a window (``radix_swa.py``) or a state (``radix_mamba.py``), has a pool of its own and may be gone before;
the node is then a *tombstone*.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from sim.caches.base import Fits, Served, always
from workloads.content import Route
from workloads.trace import Trace


class Node:
    """The content from token ``lo`` to ``hi`` of ``route``."""

    __slots__ = (
        "accessed", "children", "full_locks", "hi", "live", "lo", "mark", "newer", "older", "other_locks",
        "parent", "route",
    )  # fmt: skip

    def __init__(self, route: Route, lo: int, hi: int, parent: Node | None) -> None:
        self.route = route
        self.lo = lo
        self.hi = hi
        self.parent = parent
        self.children: dict[int, Node] = {}  # by the node of the content in which they begin
        self.live = False  # has what the other layers keep: no tombstone
        self.accessed = 0.0
        self.full_locks = self.other_locks = 0
        self.mark: object | None = None  # locks of a window end here
        self.older: Node | None = None  # neighbours among those that are live, by use
        self.newer: Node | None = None

    @property
    def key(self) -> int:
        """The node of the content in which it begins."""
        return self.route.nodes[bisect_right(self.route.ends, self.lo)]

    @property
    def is_leaf(self) -> bool:
        """Whether it can be evicted whole."""
        return not (self.children or self.full_locks or self.other_locks)


class Pool:
    """Slots: those of full attention, or those of the other layers."""

    __slots__ = ("evicted", "free", "slots")

    def __init__(self, slots: int) -> None:
        self.free = self.slots = slots
        self.evicted = 0

    def evict(self, slots: int) -> None:
        """``slots`` slots are free again whose content is lost."""
        self.free += slots
        self.evicted += slots


def path(node: Node) -> Iterator[Node]:
    """From ``node`` up, without the root."""
    while node.parent is not None:
        yield node
        node = node.parent


class HybridTree:
    """The tree with its two pools.

    ``per_token``: the other layers keep one slot per token, as those with a window do. Else they keep one
    per node, a state after its last token.
    """

    def __init__(self, full_slots: int, other_slots: int, *, per_token: bool) -> None:
        self.full, self.other = Pool(full_slots), Pool(other_slots)
        self.root = Node(Route([], []), 0, 0, None)
        self._per_token = per_token
        self._ends = ends = Node(Route([], []), 0, 0, None)  # before the oldest and behind the newest
        ends.older = ends.newer = ends
        self._time = 0.0
        self._heap: list[tuple[float, int, Node]] = []  # leaves by use; what changed since is passed over
        self._pushed = 0

    # -- use -----------------------------------------------------------------------------------------

    def touch(self, node: Node) -> None:
        """``node`` is used now."""
        self._time += 1
        node.accessed = self._time
        self.offer(node)

    def touch_path(self, node: Node) -> None:
        """``node`` and all above it are used now, those further up less recently."""
        self.touch(node)
        time = node.accessed
        for up in path(node):
            up.accessed = time
            time -= 0.00001

    def offer(self, node: Node) -> None:
        """Let eviction know of ``node`` if it is a leaf."""
        if node.is_leaf and node.parent is not None:
            self._pushed += 1
            heapq.heappush(self._heap, (node.accessed, self._pushed, node))

    def refresh(self, nodes: Iterable[Node]) -> None:
        """Those of ``nodes`` that are live are the most recently used ones, the first one first."""
        place = self._ends
        for node in nodes:
            if node.live:
                self._unlink(node)
                self._link(node, place)
                place = node

    def revive(self, node: Node) -> None:
        """``node`` gets what the other layers keep, and is the most recently used one with that."""
        node.live = True
        self._link(node, self._ends)

    @staticmethod
    def _link(node: Node, newer: Node) -> None:
        """``node`` was used right before ``newer``."""
        older = newer.older
        assert older is not None
        node.older, node.newer = older, newer
        older.newer = newer.older = node

    @staticmethod
    def _unlink(node: Node) -> None:
        assert node.older is not None and node.newer is not None
        node.older.newer, node.newer.older = node.newer, node.older
        node.older = node.newer = None

    # -- the tree ------------------------------------------------------------------------------------

    def descend(self, route: Route, upto: int) -> Iterator[Node]:
        """The nodes of the first ``upto`` tokens of ``route``, from the root down; one in which they
        end, or part from the tree, is split there."""
        node, at = self.root, 0
        while (found := self._child(node, route, at, upto)) is not None:
            child, same = found
            node = self.split(child, same) if same < child.hi else child
            yield node
            if node is not child:
                return
            at = same

    @staticmethod
    def _child(node: Node, route: Route, at: int, upto: int) -> tuple[Node, int] | None:
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

    def add(self, parent: Node, route: Route, upto: int) -> Node:
        """A leaf below ``parent`` with what follows in ``route`` up to token ``upto``, a tombstone yet."""
        leaf = Node(route, parent.hi, upto, parent)
        parent.children[leaf.key] = leaf
        self.touch(leaf)
        return leaf

    def split(self, child: Node, at: int) -> Node:
        """Cut what lies before token ``at`` off; the new upper node. The lower one counts as just used.

        A state, that after the last token, stays with the lower one; of a window each has its part.
        """
        parent = child.parent
        assert parent is not None
        upper = Node(child.route, child.lo, at, parent)
        parent.children[child.key] = upper
        child.parent, child.lo = upper, at
        upper.children[child.key] = child
        upper.full_locks = child.full_locks
        if self._per_token:
            upper.other_locks = child.other_locks
            upper.mark, child.mark = child.mark, None
            upper.live = child.live
            if child.live:
                self._link(upper, child)
        self.touch(upper)
        self.touch(child)
        return upper

    # -- eviction ------------------------------------------------------------------------------------

    def take(self, full: int, other: int) -> None:
        """Take so many slots of either pool. Evicts until they are free: whole leaves for full attention,
        then the least recently used nodes of the other layers, which stay as tombstones if no leaves."""
        while self.full.free < full:
            accessed, _, leaf = heapq.heappop(self._heap)
            if leaf.is_leaf and leaf.accessed == accessed and self._is_there(leaf):
                self._delete(leaf)
        node = self._ends.newer
        while self.other.free < other:
            assert node is not None and node is not self._ends, "more wanted than can be evicted"
            following = node.newer
            if node.is_leaf:
                self._delete(node)
            elif not node.other_locks:
                self._lose(node)
            node = following
        self.full.free -= full
        self.other.free -= other

    @staticmethod
    def _is_there(node: Node) -> bool:
        return node.parent is not None and node.parent.children.get(node.key) is node

    def _lose(self, node: Node) -> None:
        """``node`` becomes a tombstone."""
        node.live = False
        self._unlink(node)
        self.other.evict(self._kept(node))

    def _kept(self, node: Node) -> int:
        """Slots of the other layers that ``node`` has while it is live."""
        return node.hi - node.lo if self._per_token else 1

    def _delete(self, leaf: Node) -> None:
        parent = leaf.parent
        assert parent is not None
        del parent.children[leaf.key]
        if leaf.live:
            self._lose(leaf)
        self.full.evict(leaf.hi - leaf.lo)
        self.offer(parent)

    def check(self) -> None:
        """Assert that both pools add up and that nothing is held, as between two requests. O(nodes)."""
        full = other = live = 0
        waiting = [*self.root.children.values()]
        while waiting:
            node = waiting.pop()
            assert not node.full_locks and not node.other_locks and node.lo < node.hi
            assert node.parent is not None and node.parent.hi == node.lo
            full += node.hi - node.lo
            other += self._kept(node) if node.live else 0
            live += node.live
            waiting += node.children.values()
        assert self.full.free + full == self.full.slots and self.other.free + other == self.other.slots
        node = self._ends
        while (node.newer or self._ends) is not self._ends:
            assert node.newer is not None and node.newer.live
            node = node.newer
            live -= 1
        assert not live


ServeOne = Callable[[Route, int, int], int]
"""Does all for a request of so many prompt and output tokens in a tree; the tokens of the hit."""


class HybridReplay:
    """Serves each request as an otherwise idle engine does: match, prefill, generate, release."""

    evicted_blocks = None

    def __init__(self, trace: Trace, tree: HybridTree, serve_one: ServeOne, fits: Fits = always) -> None:
        self.tree = tree
        self._fits = fits
        self._serve_one = serve_one
        self._trace = trace
        self._end = trace.content.end

    @property
    def evicted_tokens(self) -> int:
        """Tokens evicted from the pool of full attention."""
        return self.tree.full.evicted

    def serve(self, request: int, at_s: float) -> Served:
        """Serve request number ``request``; when does not matter."""
        trace = self._trace
        prompt, output = self._end[trace.prompt[request]], trace.output_tokens[request]
        if not self._fits(prompt, output):
            return Served(0, 0, prompt)
        hit = self._serve_one(trace.chains.route(trace.reply[request]), prompt, output)
        return Served(hit, hit, prompt)

    def check(self) -> None:
        """Assert that both pools add up and that nothing is held between requests."""
        self.tree.check()
