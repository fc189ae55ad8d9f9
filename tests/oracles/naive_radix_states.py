"""Naive reference model of SGLang 0.5.23's radix tree over full attention and layers that keep a state.

One request at a time, pages of one token, LRU. The KV of full attention has a pool of tokens, the states a
pool of slots. A node may have a state, that after its last token; without one it is a *tombstone*,
at which no hit ends. Slow and per token on purpose: slots are (request, position), states (request,
tokens), and eviction looks at every leaf each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracles.naive_radix_windows import Slot, runs_of
from tests.oracles.naive_vllm import NaiveRequest


@dataclass(eq=False)
class Node:
    """Some tokens behind those of its parent."""

    tokens: list[Any]
    slots: list[Slot]
    parent: Node | None
    state: Slot | None = None
    accessed: float = 0
    full_locks: int = 0
    state_locks: int = 0
    children: list[Node] = field(default_factory=list)

    @property
    def is_leaf(self) -> bool:
        """Whether it can be evicted whole."""
        return not (self.children or self.full_locks or self.state_locks)


class NaiveRadixStates:
    """The tree, its two pools, and the life of a request in them."""

    def __init__(self, full: int, states: int) -> None:
        self.full_free, self.states_free = full, states
        self.root = Node([], [], None)
        self.recent: list[Node] = []  # nodes with a state, the most recently used first
        self.time = 0.0
        self.evicted: dict[str, list[Slot]] = {"full": [], "states": []}

    def _now(self) -> float:
        self.time += 1
        return self.time

    def _child(self, node: Node, tokens: Sequence[Any]) -> tuple[Node, int] | None:
        for child in node.children:
            if tokens and child.tokens[0] == tokens[0]:
                same = 0
                while same < min(len(child.tokens), len(tokens)) and child.tokens[same] == tokens[same]:
                    same += 1
                return child, same
        return None

    def _split(self, child: Node, at: int) -> Node:
        """Cut the first ``at`` tokens off; the new upper node, a tombstone. The lower one was just used."""
        assert child.parent is not None
        upper = Node(child.tokens[:at], child.slots[:at], child.parent, accessed=self._now())
        upper.full_locks = child.full_locks
        child.parent.children[child.parent.children.index(child)] = upper
        upper.children = [child]
        child.parent, child.tokens, child.slots = upper, child.tokens[at:], child.slots[at:]
        child.accessed = self._now()
        return upper

    def _most_recent(self, node: Node) -> None:
        if node in self.recent:
            self.recent.remove(node)
        self.recent.insert(0, node)

    def match(self, tokens: Sequence[Any]) -> tuple[Node, int, int]:
        """The deepest node with a state, its tokens, and those that full attention alone could serve."""
        node, at = self.root, 0
        best, hit = node, 0
        while (found := self._child(node, tokens[at:])) is not None:
            child, same = found
            node = self._split(child, same) if same < len(child.tokens) else child
            at += same
            if node.state is not None:
                best, hit = node, at
            if node is not child:
                break
        if best is not self.root:
            self._most_recent(best)
        time = self._now()
        for up in self._path(best):
            up.accessed = time
            time -= 0.00001
        return best, hit, at

    def _path(self, node: Node) -> list[Node]:
        """From ``node`` up, without the root."""
        return [] if node.parent is None else [node, *self._path(node.parent)]

    def lock(self, node: Node, by: int) -> None:
        """Lock the KV from ``node`` up and the state of ``node`` alone; ``by`` -1 takes that back."""
        for up in self._path(node):
            up.full_locks += by
        node.state_locks += by if node.parent is not None else 0

    def _insert(self, tokens: list[Any], row: list[Slot], protected: int, state: Slot) -> tuple[Node, bool]:
        """Give ``row`` to the tree, with ``state`` after it; the node, and whether that took the state."""
        node, at = self.root, 0
        while at < len(row) and (found := self._child(node, tokens[at : len(row)])) is not None:
            child, same = found
            child.accessed = self._now()
            node = self._split(child, same) if same < len(child.tokens) else child
            self.full_free += max(0, at + same - max(at, protected))  # the request's own copies
            at += same
        if at < len(row):
            leaf = Node(tokens[at : len(row)], row[at:], node, accessed=self._now())
            node.children.append(leaf)
            node = leaf
        else:
            node.accessed = self._now()
        taken = node.state is None
        if taken:
            node.state = state
        self._most_recent(node)
        return node, taken

    def _nodes(self, node: Node) -> list[Node]:
        return [found for child in node.children for found in [child, *self._nodes(child)]]

    def _lose_state(self, node: Node) -> None:
        assert node.state is not None
        self.evicted["states"].append(node.state)
        node.state = None
        self.recent.remove(node)
        self.states_free += 1

    def _delete(self, leaf: Node) -> None:
        assert leaf.parent is not None
        leaf.parent.children.remove(leaf)
        if leaf.state is not None:
            self._lose_state(leaf)
        self.full_free += len(leaf.tokens)
        self.evicted["full"] += leaf.slots

    def _take_tokens(self, row: list[Slot], owner: str, tokens: int) -> None:
        while self.full_free < tokens:
            leaves = [node for node in self._nodes(self.root) if node.is_leaf]
            self._delete(min(leaves, key=lambda node: node.accessed))
        self.full_free -= tokens
        row += [(owner, len(row) + i) for i in range(tokens)]

    def _take_state(self) -> None:
        """A slot for a state; if none is free, from the node used least recently, which goes if a leaf."""
        if not self.states_free:
            victim = next(node for node in reversed(self.recent) if not node.state_locks)
            if victim.is_leaf:
                self._delete(victim)
            else:
                self._lose_state(victim)
        self.states_free -= 1

    def serve(self, request: NaiveRequest) -> dict[str, Any]:
        """Match, copy the state, allocate, publish the prompt, decode token by token, publish."""
        self.evicted = {"full": [], "states": []}
        tokens = [(request.salt, token) for token in [*request.prompt, *request.output]]
        prompt = len(request.prompt)
        node, hit, full_hit = self.match(tokens[: prompt - 1])
        self.lock(node, 1)
        self._take_state()
        row = [slot for up in reversed(self._path(node)) for slot in up.slots]
        self._take_tokens(row, request.id, prompt - hit)
        protected = hit
        if len(request.output) > 1:
            self._take_state()  # the copy that is published
            end, taken = self._insert(tokens, row, protected, (request.id, len(row)))
            self.states_free += 0 if taken else 1
            row = [slot for up in reversed(self._path(end)) for slot in up.slots]
            self.lock(node, -1)
            self.lock(end, 1)
            node, protected = end, prompt
        for _ in request.output[1:]:
            self._take_tokens(row, request.id, 1)
        _, taken = self._insert(tokens, row, protected, (request.id, len(row)))
        self.states_free += 0 if taken else 1
        self.lock(node, -1)
        nodes = self._nodes(self.root)
        return {
            "id": request.id,
            "prompt": prompt,
            "hit": hit,
            "full_hit": full_hit,
            "out": len(request.output),
            "evicted_full": runs_of(self.evicted["full"]),
            "evicted_states": [list(state) for state in self.evicted["states"]],
            "full_free": self.full_free,
            "full_evictable": sum(len(node.tokens) for node in nodes),
            "states_free": self.states_free,
            "states_evictable": len(self.recent),
        }
