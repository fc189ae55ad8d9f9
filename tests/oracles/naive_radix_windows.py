"""Naive reference model of SGLang 0.5.23's radix tree over one full and one sliding-window group of layers.

Both groups have a pool of their own. A node keeps the KV of full attention as long as it exists; its KV of
the window may be gone before (a *tombstone*).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.oracles.naive_radix_nodes import NaiveRadixNodes, Node, Slot, runs_of
from tests.oracles.naive_vllm import NaiveRequest

INTERVAL = 128
"""A request that decodes gives back what left its window whenever it is so many tokens more."""


@dataclass(eq=False)
class Holder:
    """What a request holds."""

    tokens: list[Any]
    row: list[Slot]
    lock: tuple[Node, object | None]
    protected: int
    branch: int | None
    gone: int = 0
    """Tokens from the front whose KV of the window it has given back, or never held."""


class NaiveRadixWindows(NaiveRadixNodes):
    """The tree, its two pools, and the life of a request in them."""

    def __init__(self, full: int, swa: int, window: int, interval: int = INTERVAL) -> None:
        super().__init__(full)
        self.swa_free = swa
        self.window, self.interval = window, interval
        self.evicted_swa: list[Slot] = []

    # -- the tree ----------------------------------------------------------------------------------

    def split(self, child: Node, at: int) -> Node:
        """Both parts have their KV of the window, and the locks."""
        upper = super().split(child, at)
        upper.other_locks = child.other_locks
        upper.mark, child.mark = child.mark, None
        upper.live = child.live
        if child.live:
            self.recent.insert(self.recent.index(child) + 1, upper)
        return upper

    def _refresh(self, node: Node) -> None:
        """The nodes of one window and a token up from ``node`` are the most recently used."""
        seen, place = 0, 0
        while node.parent is not None and seen < self.window + 1:
            if node.live:
                self.recent.remove(node)
                self.recent.insert(place, node)
                place += 1
            seen += len(node.tokens)
            node = node.parent

    def match(self, tokens: Sequence[Any]) -> tuple[Node, int, int | None]:
        """The node up to which both groups can serve, its tokens, and those of full attention if more."""
        node, at, covered = self.root, 0, float("inf")
        best, hit = node, 0
        while (found := self.child(node, tokens[at:])) is not None:
            child, same = found
            node = self.split(child, same) if same < len(child.tokens) else child
            at += same
            covered = covered + same if node.live else 0
            if covered >= self.window:
                best, hit = node, at
            if node is not child:
                break
        self._refresh(best)
        self.touch_path(best)
        return best, hit, at if at > hit else None

    def lock(self, node: Node) -> tuple[Node, object | None]:
        """Lock ``node`` with all above it for full attention, and with those of one window."""
        up, covered, end = node, 0, None
        while up.parent is not None:
            up.full_locks += 1
            if covered < self.window:
                up.other_locks += 1
                covered += len(up.tokens)
                if covered >= self.window:
                    up.mark = end = up.mark or object()
            up = up.parent
        return node, end

    def unlock(self, lock: tuple[Node, object | None]) -> None:
        """Take back what `lock` did."""
        up, end = lock
        inside = True
        while up.parent is not None:
            up.full_locks -= 1
            if inside:
                up.other_locks -= 1
                inside = end is None or up.mark is not end
            up = up.parent

    def insert(self, held: Holder, upto: int) -> Node:
        """Give the tree the first ``upto`` tokens of what is held; the node at which they end."""
        node, at = self.root, 0
        while at < upto and (found := self.child(node, held.tokens[at:upto])) is not None:
            child, same = found
            child.accessed = self.now()
            node = self.split(child, same) if same < len(child.tokens) else child
            self._overlap(node, held, at, at + same)
            at += same
        if at < upto:
            leaf = Node(held.tokens[at:upto], held.row[at:upto], node, accessed=self.now())
            node.children.append(leaf)
            node = leaf
            self._fill(leaf, held, at, upto)
        self._refresh(node)
        return node

    def _overlap(self, node: Node, held: Holder, start: int, end: int) -> None:
        """The tree has these tokens: what of them the request computed itself is freed, or fills a gap."""
        if held.protected >= end:
            return
        kept = end
        fresh = max(start, held.gone)
        if not node.live and fresh < end:
            if fresh > start:
                self.split(node, fresh - start)
            if not node.full_locks:
                node.slots = held.row[fresh:end]
            self.full_free += end - fresh
            self._comes_alive(node)
            kept = fresh
        copies = range(max(start, held.protected), kept)
        self.full_free += len(copies)
        self.swa_free += len([i for i in copies if i >= held.gone])

    def _fill(self, leaf: Node, held: Holder, start: int, end: int) -> None:
        """A new leaf has the window's KV that the request still has; its last window is a node of its
        own."""
        fresh = max(start, held.gone)
        if fresh >= end:
            return
        if fresh > start:
            self.split(leaf, fresh - start)
        if len(leaf.tokens) > self.window:
            self._comes_alive(self.split(leaf, len(leaf.tokens) - self.window))
        self._comes_alive(leaf)

    def _comes_alive(self, node: Node) -> None:
        node.live = True
        self.recent.insert(0, node)

    # -- eviction ----------------------------------------------------------------------------------

    def lose(self, node: Node) -> None:
        node.live = False
        self.recent.remove(node)
        self.swa_free += len(node.tokens)
        self.evicted_swa += node.slots

    def make_room(self, tokens: int) -> None:
        """Evict until ``tokens`` slots of either pool are free: whole leaves for full attention, then the
        least recently used nodes of the window, which stay as tombstones if they are no leaves."""
        swa_wanted = max(tokens, self.swa_free)
        self.free_full(tokens)
        cursor = self._before(len(self.recent))
        while self.swa_free < swa_wanted:
            assert cursor is not None
            following = self._before(self.recent.index(cursor))
            if cursor.is_leaf:
                self.delete(cursor)
            else:
                self.lose(cursor)
            cursor = following

    def _before(self, place: int) -> Node | None:
        """The next one, more recently used than ``place``, that no window locks."""
        return next((node for node in reversed(self.recent[:place]) if not node.other_locks), None)

    # -- a request ---------------------------------------------------------------------------------

    def _leave_window(self, held: Holder, computed: int) -> None:
        if computed - self.window < held.gone + 1:
            return
        held.gone = max(held.gone, held.protected)
        upto = max(held.gone, computed - self.window)
        self.swa_free += upto - held.gone
        held.gone = upto

    def _take(self, held: Holder, owner: str, tokens: int) -> None:
        self.make_room(tokens)
        self.full_free -= tokens
        self.swa_free -= tokens
        held.row += [(owner, len(held.row) + i) for i in range(tokens)]

    def _checkpoint(self, held: Holder, done: bool) -> None:
        """Publish what is computed; no more than the place where only full attention went on, if any."""
        upto, branches = len(held.row), False
        if held.branch is not None and held.protected < held.branch <= upto:
            upto, branches = held.branch, True
        if not done:
            self._leave_window(held, upto - 1)
        node = self.insert(held, upto)
        held.row[:upto] = self.row(node)
        self.unlock(held.lock)
        held.lock = self.lock(node)
        held.protected = upto
        if branches:
            held.branch = None
            if not done:
                self._leave_window(held, len(held.row) - 1)

    def serve(self, request: NaiveRequest) -> dict[str, Any]:
        """Match, allocate, publish the prompt, decode token by token, publish and release."""
        self.evicted_full, self.evicted_swa = [], []
        salt = [(request.salt, token) for token in [*request.prompt, *request.output]]
        prompt = len(request.prompt)
        node, hit, branch = self.match(salt[: prompt - 1])
        held = Holder(salt, self.row(node), self.lock(node), hit, branch)
        self._take(held, request.id, prompt - hit)
        if len(request.output) > 1:
            self._checkpoint(held, done=False)
        for step in range(len(request.output) - 1):
            computed = prompt + step
            if step and computed - self.window >= held.gone + self.interval:
                self._leave_window(held, computed)
            self._take(held, request.id, 1)
        self._checkpoint(held, done=True)
        rest = range(held.protected, len(held.row))
        self.full_free += len(rest)
        self.swa_free += len([i for i in rest if i >= held.gone])
        self.unlock(held.lock)
        nodes = self.nodes(self.root)
        return {
            "id": request.id,
            "prompt": prompt,
            "hit": hit,
            "branch": branch,
            "out": len(request.output),
            "evicted_full": runs_of(self.evicted_full),
            "evicted_swa": runs_of(self.evicted_swa),
            "full_free": self.full_free,
            "full_evictable": sum(len(node.tokens) for node in nodes),
            "swa_free": self.swa_free,
            "swa_evictable": sum(len(node.tokens) for node in nodes if node.live),
        }
