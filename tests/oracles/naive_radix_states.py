"""Naive reference model of SGLang 0.5.23's radix tree over full attention and layers that keep a state.

The KV of full attention has a pool of tokens, the states a pool of slots. A node may have a state, that
after its last token; without one it is a *tombstone*, at which no hit ends. States are (request, tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.oracles.naive_radix_nodes import NaiveRadixNodes, Node, Slot, runs_of
from tests.oracles.naive_vllm import NaiveRequest


class NaiveRadixStates(NaiveRadixNodes):
    """The tree, its two pools, and the life of a request in them."""

    def __init__(self, full: int, states: int) -> None:
        super().__init__(full)
        self.states_free = states
        self.evicted_states: list[Slot] = []

    def _most_recent(self, node: Node) -> None:
        if node in self.recent:
            self.recent.remove(node)
        self.recent.insert(0, node)

    def match(self, tokens: Sequence[Any]) -> tuple[Node, int, int]:
        """The deepest node with a state, its tokens, and those that full attention alone could serve."""
        node, at = self.root, 0
        best, hit = node, 0
        while (found := self.child(node, tokens[at:])) is not None:
            child, same = found
            node = self.split(child, same) if same < len(child.tokens) else child
            at += same
            if node.live:
                best, hit = node, at
            if node is not child:
                break
        if best is not self.root:
            self._most_recent(best)
        self.touch_path(best)
        return best, hit, at

    def lock(self, node: Node, by: int) -> None:
        """Lock the KV from ``node`` up and the state of ``node`` alone; ``by`` -1 takes that back."""
        for up in self.path(node):
            up.full_locks += by
        node.other_locks += by if node.parent is not None else 0

    def _insert(self, tokens: list[Any], row: list[Slot], protected: int, state: Slot) -> tuple[Node, bool]:
        """Give ``row`` to the tree, with ``state`` after it; the node, and whether that took the state."""
        node, at = self.root, 0
        while at < len(row) and (found := self.child(node, tokens[at : len(row)])) is not None:
            child, same = found
            child.accessed = self.now()
            node = self.split(child, same) if same < len(child.tokens) else child
            self.full_free += max(0, at + same - max(at, protected))  # the request's own copies
            at += same
        if at < len(row):
            leaf = Node(tokens[at : len(row)], row[at:], node, accessed=self.now())
            node.children.append(leaf)
            node = leaf
        else:
            node.accessed = self.now()
        taken = not node.live
        if taken:
            node.live, node.state = True, state
        self._most_recent(node)
        return node, taken

    def lose(self, node: Node) -> None:
        assert node.state is not None
        self.evicted_states.append(node.state)
        node.live, node.state = False, None
        self.recent.remove(node)
        self.states_free += 1

    def _take_tokens(self, row: list[Slot], owner: str, tokens: int) -> None:
        self.free_full(tokens)
        self.full_free -= tokens
        row += [(owner, len(row) + i) for i in range(tokens)]

    def _take_state(self) -> None:
        """A slot for a state; if none is free, from the node used least recently, which goes if a leaf."""
        if not self.states_free:
            victim = next(node for node in reversed(self.recent) if not node.other_locks)
            if victim.is_leaf:
                self.delete(victim)
            else:
                self.lose(victim)
        self.states_free -= 1

    def serve(self, request: NaiveRequest) -> dict[str, Any]:
        """Match, copy the state, allocate, publish the prompt, decode token by token, publish."""
        self.evicted_full, self.evicted_states = [], []
        tokens = [(request.salt, token) for token in [*request.prompt, *request.output]]
        prompt = len(request.prompt)
        node, hit, full_hit = self.match(tokens[: prompt - 1])
        self.lock(node, 1)
        self._take_state()
        row = self.row(node)
        self._take_tokens(row, request.id, prompt - hit)
        protected = hit
        if len(request.output) > 1:
            self._take_state()  # the copy that is published
            end, taken = self._insert(tokens, row, protected, (request.id, len(row)))
            self.states_free += 0 if taken else 1
            row = self.row(end)
            self.lock(node, -1)
            self.lock(end, 1)
            node, protected = end, prompt
        for _ in request.output[1:]:
            self._take_tokens(row, request.id, 1)
        _, taken = self._insert(tokens, row, protected, (request.id, len(row)))
        self.states_free += 0 if taken else 1
        self.lock(node, -1)
        nodes = self.nodes(self.root)
        return {
            "id": request.id,
            "prompt": prompt,
            "hit": hit,
            "full_hit": full_hit,
            "out": len(request.output),
            "evicted_full": runs_of(self.evicted_full),
            "evicted_states": [list(state) for state in self.evicted_states],
            "full_free": self.full_free,
            "full_evictable": sum(len(node.tokens) for node in nodes),
            "states_free": self.states_free,
            "states_evictable": len(self.recent),
        }
