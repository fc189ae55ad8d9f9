"""Which leaf of the radix tree goes first: SGLang's eviction policies, and the queue of leaves.

As read from SGLang 0.5.23 ``mem_cache/evict_policy.py``. A policy is a function that gives a node's key;
the leaf with the smallest key goes first. Times are ticks of the tree's own counter.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.caches.radix_nodes import Node

Key = int | tuple[int, ...]
"""All of one policy are numbers, or tuples of as many."""
Policy = Callable[["Node"], Key]
SLRU_HITS = 2
"""Inserts from which on slru protects a node (SGLang's ``protected_threshold``)."""

lru: Policy = attrgetter("accessed")
"""The least recently used first."""

fifo: Policy = attrgetter("created")
"""The oldest first."""

lfu: Policy = attrgetter("hits", "accessed")
"""What the fewest requests inserted first, then the least recently used."""

priority: Policy = attrgetter("priority", "accessed")
"""The lowest priority first, then the least recently used."""


def mru(node: Node) -> Key:
    """The most recently used first."""
    return -node.accessed


def filo(node: Node) -> Key:
    """The newest first."""
    return -node.created


def slru(node: Node) -> Key:
    """What one request alone inserted first, then the rest; each by least recent use."""
    return int(node.hits >= SLRU_HITS), node.accessed


POLICIES: dict[str, Policy] = {
    "lru": lru,
    "lfu": lfu,
    "fifo": fifo,
    "mru": mru,
    "filo": filo,
    "priority": priority,
    "slru": slru,
}
"""By the name that a configuration gives. A new policy is one function above and its name here."""


class LeafQueue:
    """Unlocked leaves by the key of one policy; entries that have become wrong are skipped.

    What changes the key of an unlocked leaf, or makes a node one, must ``push`` it. A node that is
    no unlocked leaf any more needs no call: its entry is dropped when it comes up.
    """

    __slots__ = ("_bound", "_entries", "_key", "_pushed")

    def __init__(self, policy: str) -> None:
        self._key = POLICIES[policy]
        # The serial number keeps nodes with equal keys (both parts of a split node) from being
        # compared; SGLang never has to choose between such, as they are one another's descendants.
        self._entries: list[tuple[Key, int, Node]] = []
        self._pushed = 0
        self._bound = 1024

    def __len__(self) -> int:
        """Entries kept, superseded ones included."""
        return len(self._entries)

    def push(self, node: Node) -> None:
        """Queue ``node`` under its present key. O(log leaves)."""
        key = self._key(node)
        if node.queued == key:
            return
        node.queued = key
        self._pushed += 1
        heappush(self._entries, (key, self._pushed, node))
        if len(self._entries) > self._bound:
            self._drop_superseded()

    def pop(self) -> Node | None:
        """Take out the leaf that goes first; None if every leaf is locked."""
        entries = self._entries
        while entries:
            key, _, node = heappop(entries)
            if node.queued == key:
                node.queued = None
                if not node.children and node.strand.held < node.hi:  # `evictable`, without a call
                    return node
        return None

    def holds(self, node: Node) -> bool:
        """Whether ``node`` is queued under its present key."""
        return node.queued == self._key(node)

    def _drop_superseded(self) -> None:
        """Keep the heap as small as the tree where nothing is ever evicted; O(1) per push on average."""
        self._entries = [entry for entry in self._entries if entry[2].queued == entry[0]]
        heapify(self._entries)
        self._bound = 2 * len(self._entries) + 1024
