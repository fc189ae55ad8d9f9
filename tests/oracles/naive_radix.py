"""Naive reference model of SGLang 0.5.23's radix cache, serving one request at a time.

Slow and per token on purpose: nodes hold token tuples and slot numbers, decode goes step by step, and
eviction looks at every leaf each time. Tests compare the simulator with it, so the two share no code.
Full attention only; no speculative decoding, chunked prefill, host tier or batching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracles.naive_vllm import NaiveRequest

Run = tuple[str, int, int]  # (owner, from, to): slots evicted with one leaf, positions in their owner

KEYS: dict[str, Callable[[NaiveNode], Any]] = {
    "lru": lambda node: node.accessed,
    "mru": lambda node: -node.accessed,
    "fifo": lambda node: node.created,
    "filo": lambda node: -node.created,
    "lfu": lambda node: (node.hits, node.accessed),
    "slru": lambda node: (node.hits > 1, node.accessed),
    "priority": lambda node: (node.priority, node.accessed),
}
"""What each policy sorts leaves by; the smallest goes first."""


@dataclass(eq=False)
class NaiveNode:
    """Some tokens behind those of its parent, and the slots in which their KV lies."""

    tokens: tuple[int, ...]
    slots: list[int]
    parent: NaiveNode | None
    priority: int = 0
    created: float = 0
    accessed: float = 0
    hits: int = 0
    locks: int = 0
    children: list[NaiveNode] = field(default_factory=list)

    def child(self, tokens: Sequence[int], page_size: int) -> tuple[NaiveNode, int] | None:
        """The child that begins with the first page of ``tokens``, and the tokens that they share.

        Shared tokens count in whole pages; so a child that differs within its first page is another.
        """
        for child in self.children:
            same = 0
            for mine, other in zip(child.tokens, tokens, strict=False):
                if mine != other:
                    break
                same += 1
            if same >= page_size:
                return child, same // page_size * page_size
        return None


class NaiveRadix:
    """The pool's slots, one tree per salt, and the seven eviction policies.

    ``tree``: "unified" or "classic"; in the latter the upper part of a split is created at the split.
    """

    def __init__(self, tokens: int, page_size: int, policy: str = "lru", tree: str = "unified") -> None:
        self.page_size = page_size
        self.tree = tree
        self.policy = policy
        self.key = KEYS[policy]
        self.pages = list(range(tokens // page_size))  # free ones
        self.num_slots = len(self.pages) * page_size
        self.owner: dict[int, tuple[str, int]] = {}  # slot in use -> (request, position)
        self.roots: dict[str | None, NaiveNode] = {}
        self.time = 0
        self.evictions: list[Run] = []

    def serve(self, request: NaiveRequest) -> dict[str, Any]:
        """One request from admission to release; returns the fields of a recorded row."""
        prompt, output = list(request.prompt), list(request.output)
        size, evicted_before = self.page_size, len(self.evictions)
        node = self.match(self.floor(prompt[:-1]), request.salt)
        self.lock(node, 1)
        row = self.path_slots(node)  # slots by position, as far as they are allocated
        hit = owned = len(row)
        missing = len(prompt) - hit
        self.make_room(missing if size == 1 else missing + size)
        for _ in range(missing):
            self.allocate(row, request.id)
        counted = 0
        if len(output) > 1:
            node, owned = self.publish(request, prompt, row, node, owned, counted)
            counted = owned
            for _ in output[1:]:
                self.make_room(size)
                self.allocate(row, request.id)
        held = -(-len(row) // size) * size
        node, owned = self.publish(request, prompt + output[:-1], row, node, owned, counted)
        self.free(row[owned:])
        self.lock(node, -1)
        evicted = self.evictions[evicted_before:]
        return {
            "id": request.id,
            "prompt": len(prompt),
            "out": len(output),
            "hit": hit,
            "held_tokens": held,
            "evict_tokens": sum(to - start for _, start, to in evicted),
            "evicted": evicted,
            "free": self.num_free,
            "evictable": self.num_in_tree(locked=False),
            "protected": self.num_in_tree(locked=True),
        }

    @property
    def num_free(self) -> int:
        """Free slots."""
        return len(self.pages) * self.page_size

    def num_in_tree(self, locked: bool) -> int:
        """Slots in nodes that are locked, or in those that are not."""
        return sum(len(node.tokens) for node in self.nodes() if bool(node.locks) == locked)

    def floor(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The whole pages of ``tokens``."""
        return tuple(tokens[: len(tokens) // self.page_size * self.page_size])

    def match(self, tokens: tuple[int, ...], salt: str | None) -> NaiveNode:
        """Where the longest known prefix ends; cuts a node there, all nodes walked are accessed now."""
        node, at = self.root(salt), self.tick()
        while found := node.child(tokens, self.page_size):
            child, same = found
            child.accessed = at
            if same < len(child.tokens):
                return self.split(child, same)
            node, tokens = child, tokens[same:]
        return node

    def insert(
        self,
        tokens: tuple[int, ...],
        slots: Sequence[int],
        salt: str | None,
        priority: int,
        counted: int,
    ) -> tuple[int, NaiveNode]:
        """Add a prefix; returns how many tokens were known, and where it ends.

        Nodes on the way get at least ``priority``; those that end behind ``counted`` tokens a hit more.
        """
        node, at, known = self.root(salt), self.tick(), 0
        while known < len(tokens) and (found := node.child(tokens[known:], self.page_size)):
            node, same = found
            node.accessed = at
            if same < len(node.tokens):
                node = self.split(node, same)
            known += same
            node.priority = max(node.priority, priority)
            node.hits += known > counted
        if known < len(tokens):
            now = self.tick()
            leaf = NaiveNode(tokens[known:], list(slots[known : len(tokens)]), node, priority, now, now, 1)
            node.children.append(leaf)
            node = leaf
        return known, node

    def split(self, node: NaiveNode, length: int) -> NaiveNode:
        """Put the first ``length`` tokens of ``node`` into a new node above it, which is returned."""
        parent = node.parent
        assert parent is not None and 0 < length < len(node.tokens)
        upper = NaiveNode(node.tokens[:length], node.slots[:length], parent, node.priority)
        upper.accessed, upper.hits, upper.locks = node.accessed, node.hits, node.locks
        upper.created = node.created if self.tree == "unified" else self.tick()
        upper.children = [node]
        parent.children[parent.children.index(node)] = upper
        node.tokens, node.slots, node.parent = node.tokens[length:], node.slots[length:], upper
        return upper

    def publish(
        self,
        request: NaiveRequest,
        tokens: list[int],
        row: list[int],
        node: NaiveNode,
        owned: int,
        counted: int,
    ) -> tuple[NaiveNode, int]:
        """Insert the whole pages of ``tokens``; the request then uses the tree's slots and locks them.

        Returns the node now locked, and how many leading slots of ``row`` belong to the tree.
        """
        whole = self.floor(tokens)
        known, end = self.insert(whole, row, request.salt, request.priority, counted)
        prompt = self.floor(request.prompt)
        if 0 < len(prompt) < len(whole):
            self.insert(prompt, row, request.salt, request.priority + 1, len(prompt))
        self.free(row[owned:known])
        row[: len(whole)] = self.path_slots(end)
        self.lock(end, 1)
        self.lock(node, -1)
        return end, len(whole)

    def allocate(self, row: list[int], owner: str) -> None:
        """One more slot for the request: the next of its last page, or the first of a free one."""
        position = len(row)
        row.append(row[-1] + 1 if position % self.page_size else self.pages.pop(0) * self.page_size)
        self.owner[row[-1]] = (owner, position)

    def free(self, slots: Sequence[int]) -> None:
        """Give back the pages of ``slots``."""
        self.pages += sorted({slot // self.page_size for slot in slots})
        for slot in slots:
            del self.owner[slot]

    def make_room(self, tokens: int) -> None:
        """Evict whole unlocked leaves until ``tokens`` slots are free, or there is no such leaf."""
        while self.num_free < tokens:
            leaves = [node for node in self.nodes() if not node.children and not node.locks]
            if not leaves:
                return
            leaf = min(leaves, key=self.key)
            assert leaf.parent is not None
            leaf.parent.children.remove(leaf)
            self.evictions += owner_runs(self.owner[slot] for slot in leaf.slots)
            self.free(leaf.slots)

    def lock(self, node: NaiveNode, change: int) -> None:
        """Lock or unlock ``node`` and all above it."""
        above: NaiveNode | None = node
        while above is not None:
            above.locks += change
            above = above.parent

    def path_slots(self, node: NaiveNode) -> list[int]:
        """The slots from the root to the end of ``node``."""
        return [] if node.parent is None else [*self.path_slots(node.parent), *node.slots]

    def root(self, salt: str | None) -> NaiveNode:
        """The root of the tree of ``salt``."""
        return self.roots.setdefault(salt, NaiveNode((), [], None))

    def nodes(self) -> Iterator[NaiveNode]:
        """All nodes but the roots."""
        stack = [child for root in self.roots.values() for child in root.children]
        while stack:
            node = stack.pop()
            yield node
            stack += node.children

    def tick(self) -> int:
        """A later time than any before."""
        self.time += 1
        return self.time

    def check(self) -> None:
        """Assert that, between requests, every slot is free or in one node, and no node is locked."""
        free = [page * self.page_size + i for page in self.pages for i in range(self.page_size)]
        held = [slot for node in self.nodes() for slot in node.slots]
        assert sorted(free + held) == list(range(self.num_slots))
        assert self.owner.keys() == set(held)
        for node in self.nodes():
            assert node.locks == 0 and len(node.tokens) == len(node.slots) > 0
            assert len(node.tokens) % self.page_size == 0
            firsts = [child.tokens[: self.page_size] for child in node.children]
            assert len(firsts) == len(set(firsts)), "two children begin with the same page"


def owner_runs(slots: Iterable[tuple[str, int]]) -> list[Run]:
    """Fold (owner, position) of one leaf's slots into runs of one owner, half open."""
    runs: list[Run] = []
    for owner, position in slots:
        if runs and runs[-1][0] == owner and runs[-1][2] == position:
            runs[-1] = (owner, runs[-1][1], position + 1)
        else:
            runs.append((owner, position, position + 1))
    return runs
