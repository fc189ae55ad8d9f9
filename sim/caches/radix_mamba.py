"""SGLang's radix tree for models that mix full attention with layers that keep a state, in replay, exactly.

With the strategy ``no_buffer`` a node may have a state, that after its last token, and a hit ends at such a
node; the tree itself is described in ``radix_hybrid.py``. Example: a prompt of 1,000 tokens with a reply of
400 leaves a state after 1,000 and one after 1,399 tokens. The next turn finds 1,399; a prompt that shares
only the first 500 finds nothing, and computes 500 tokens anew that full attention still has.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from sim.caches.base import Fits, always
from sim.caches.block import UNLIMITED
from sim.caches.radix_hybrid import HybridReplay, HybridTree, Node, path
from workloads.content import Route
from workloads.schema import Schema
from workloads.trace import Trace


class StateRequests:
    """Requests one after another, each alone in an engine, in a tree with states."""

    def __init__(self, tree: HybridTree) -> None:
        self._tree = tree

    def serve(self, route: Route, prompt: int, output: int) -> int:
        """Publish the prompt with a copy of its state, then the reply without its last token (no KV); the
        tokens of the hit."""
        tree = self._tree
        node = self._match(route, prompt - 1)
        hit = protected = node.hi
        self._lock(node, 1)
        tree.take(0, 1)
        tree.take(prompt - hit, 0)
        if output > 1:
            tree.take(0, 1)
            end = self._insert(route, prompt, hit)
            self._lock(node, -1)
            self._lock(end, 1)
            node, protected = end, prompt
            tree.take(output - 1, 0)
        self._insert(route, prompt + output - 1, protected)
        self._lock(node, -1)
        return hit

    def _match(self, route: Route, upto: int) -> Node:
        """The deepest node with a state within the first ``upto`` tokens, or the root."""
        best = self._tree.root
        for node in self._tree.descend(route, upto):
            if node.live:
                best = node
        self._tree.refresh([best])
        self._tree.touch_path(best)
        return best

    def _lock(self, node: Node, by: int) -> None:
        """Lock the KV from ``node`` up and the state of ``node`` alone; ``by`` -1 takes that back."""
        for up in path(node):
            up.full_locks += by
        node.other_locks += by
        self._tree.offer(node)

    def _insert(self, route: Route, upto: int, protected: int) -> Node:
        """Give the tree the first ``upto`` tokens, of which it has ``protected``, and the state after them.

        Slots of what it had already are freed. Returns the node at which they end.
        """
        tree = self._tree
        node = tree.root
        for node in tree.descend(route, upto):
            tree.touch(node)
            tree.full.free += max(0, node.hi - max(node.lo, protected))
        if node.hi < upto:
            node = tree.add(node, route, upto)
        if node.live:
            tree.other.free += 1
            tree.refresh([node])
        else:
            tree.revive(node)
        return node


def state_replay(trace: Trace, full_slots: int, state_slots: int, fits: Fits = always) -> HybridReplay:
    """A replay with empty pools of so many slots."""
    tree = HybridTree(full_slots, state_slots, per_token=False)
    return HybridReplay(trace, tree, StateRequests(tree).serve, fits)


class RadixMambaConfig(Schema):
    """``{kind: radix_mamba, capacity_tokens, state_slots}``: SGLang's cache of a model of full attention
    and layers that keep a state. A request needs three slots: the state it found, its own, and a copy."""

    kind: Literal["radix_mamba"]
    capacity_tokens: PositiveInt | None = None
    """Capacity of the full-attention layers in tokens; left out: without limit."""
    state_slots: Annotated[int, Field(ge=3)] | None = None
    """How many states are kept, at least 3; left out: without limit."""

    def replay(self, trace: Trace, key: str) -> HybridReplay:
        """A fresh cache."""
        full, states = self.capacity_tokens or UNLIMITED, self.state_slots or UNLIMITED
        return state_replay(trace, full, states, self.fits)

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """See `Fits`."""
        return prompt_tokens + output_tokens - 1 <= (self.capacity_tokens or UNLIMITED)
