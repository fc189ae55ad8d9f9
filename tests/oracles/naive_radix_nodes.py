"""What the naive models of SGLang 0.5.23's trees over full attention and other layers have in common.

One request at a time, pages of one token, LRU. Slow and per token on purpose: slots are (request,
position), and eviction looks at every leaf each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Slot = tuple[str, int]


@dataclass(eq=False)
class Node:
    """Some tokens behind those of its parent, and their slots in the pool of full attention."""

    tokens: list[Any]
    slots: list[Slot]
    parent: Node | None
    accessed: float
    live: bool = False
    """Whether it has what the other layers keep: KV of a window, or a state."""
    state: Slot | None = None
    full_locks: int = 0
    other_locks: int = 0
    mark: object | None = None
    """Where locks of a window end."""
    children: list[Node] = field(default_factory=list)

    @property
    def is_leaf(self) -> bool:
        """Whether it can be evicted whole."""
        return not (self.children or self.full_locks or self.other_locks)


class NaiveRadixNodes:
    """The tree, the pool of full attention, and which nodes were used when."""

    def __init__(self, full: int) -> None:
        self.full_free = full
        self.root = Node([], [], None, 0)
        self.recent: list[Node] = []  # nodes that are live, the most recently used first
        self.time = 0.0
        self.evicted_full: list[Slot] = []

    def now(self) -> float:
        """The time of a use: each is later than the one before."""
        self.time += 1
        return self.time

    def child(self, node: Node, tokens: Sequence[Any]) -> tuple[Node, int] | None:
        """The child of ``node`` that begins as ``tokens`` do, and how many of them it has."""
        for child in node.children:
            if tokens and child.tokens[0] == tokens[0]:
                same = 0
                while same < min(len(child.tokens), len(tokens)) and child.tokens[same] == tokens[same]:
                    same += 1
                return child, same
        return None

    def split(self, child: Node, at: int) -> Node:
        """Cut the first ``at`` tokens off; the new upper node, not live. The lower one was just used."""
        assert child.parent is not None
        upper = Node(child.tokens[:at], child.slots[:at], child.parent, self.now())
        upper.full_locks = child.full_locks
        child.parent.children[child.parent.children.index(child)] = upper
        upper.children = [child]
        child.parent, child.tokens, child.slots = upper, child.tokens[at:], child.slots[at:]
        child.accessed = self.now()
        return upper

    def touch_path(self, node: Node) -> None:
        """``node`` and all above it are used now, those further up a little earlier."""
        time = self.now()
        for up in self.path(node):
            up.accessed = time
            time -= 0.00001

    def path(self, node: Node) -> list[Node]:
        """From ``node`` up, without the root."""
        return [] if node.parent is None else [node, *self.path(node.parent)]

    def row(self, node: Node) -> list[Slot]:
        """The slots of all tokens up to the end of ``node``."""
        return [slot for up in reversed(self.path(node)) for slot in up.slots]

    def nodes(self, node: Node) -> list[Node]:
        """All nodes below ``node``."""
        return [found for child in node.children for found in [child, *self.nodes(child)]]

    def lose(self, node: Node) -> None:
        """What the other layers keep at ``node`` is evicted."""
        raise NotImplementedError

    def delete(self, leaf: Node) -> None:
        """Evict ``leaf`` whole."""
        assert leaf.parent is not None
        leaf.parent.children.remove(leaf)
        if leaf.live:
            self.lose(leaf)
        self.full_free += len(leaf.tokens)
        self.evicted_full += leaf.slots

    def free_full(self, tokens: int) -> None:
        """Evict the least recently used leaves until ``tokens`` slots of full attention are free."""
        while self.full_free < tokens:
            leaves = [node for node in self.nodes(self.root) if node.is_leaf]
            self.delete(min(leaves, key=lambda node: node.accessed))


def runs_of(slots: Sequence[Slot]) -> list[list[Any]]:
    """Slots as runs [owner, from, to) of positions that follow each other."""
    runs: list[list[Any]] = []
    for owner, position in slots:
        if runs and runs[-1][0] == owner and runs[-1][2] == position:
            runs[-1][2] += 1
        else:
            runs.append([owner, position, position + 1])
    return runs
