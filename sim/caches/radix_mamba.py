"""SGLang's radix tree for models that mix full attention with layers that keep a state, in replay, exactly.

As read from SGLang 0.5.23 (``mem_cache/unified_cache``, strategy ``no_buffer``): pages of one token, lru, a
pool of tokens for full attention and a pool of slots for states. A node of the tree may have a state, that
after its last token, and a hit ends at such a node. Example: a prompt of 1,000 tokens with a reply of 400
leaves a state after 1,000 and one after 1,399 tokens. The next turn finds 1,399; a prompt that shares only
the first 500 finds nothing, and computes 500 tokens anew that full attention still has.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from sim.caches.base import Served
from sim.caches.block import UNLIMITED
from sim.caches.radix_replay import require_fit
from workloads.content import Route
from workloads.schema import Schema
from workloads.trace import Trace


class Node:
    """The content from token ``lo`` to ``hi`` of ``route``."""

    __slots__ = ("accessed", "children", "full_locks", "hi", "lo", "parent", "route", "state_locks")

    def __init__(self, route: Route, lo: int, hi: int, parent: Node | None) -> None:
        self.route = route
        self.lo = lo
        self.hi = hi
        self.parent = parent
        self.children: dict[int, Node] = {}  # by the node of the content in which they begin
        self.accessed = 0.0
        self.full_locks = self.state_locks = 0

    @property
    def key(self) -> int:
        """The node of the content in which it begins."""
        return self.route.nodes[bisect_right(self.route.ends, self.lo)]

    @property
    def is_leaf(self) -> bool:
        """Whether it can be evicted whole."""
        return not (self.children or self.full_locks or self.state_locks)


class StateTree:
    """The tree and its two pools."""

    def __init__(self, full_tokens: int, state_slots: int) -> None:
        self.full_free = self.full_tokens = full_tokens
        self.states_free = self.state_slots = state_slots
        self.full_evicted = self.states_evicted = 0
        self.root = Node(Route([], []), 0, 0, None)
        self.states: OrderedDict[Node, None] = (
            OrderedDict()
        )  # nodes with a state, least recently used first
        self._time = 0.0
        self._heap: list[tuple[float, int, Node]] = []  # leaves by use; what changed since is passed over
        self._pushed = 0

    def _touch(self, node: Node) -> None:
        self._time += 1
        node.accessed = self._time
        self._offer(node)

    def _offer(self, node: Node) -> None:
        """Let eviction know of ``node`` if it is a leaf."""
        if node.is_leaf and node.parent is not None:
            self._pushed += 1
            heapq.heappush(self._heap, (node.accessed, self._pushed, node))

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

    def _split(self, child: Node, at: int) -> Node:
        """Cut what lies before token ``at`` off: the new upper node, without a state."""
        parent = child.parent
        assert parent is not None
        upper = Node(child.route, child.lo, at, parent)
        parent.children[child.key] = upper
        upper.full_locks = child.full_locks
        child.parent, child.lo = upper, at
        upper.children[child.key] = child
        self._touch(upper)
        self._touch(child)
        return upper

    def match(self, route: Route, upto: int) -> Node:
        """The deepest node with a state within the first ``upto`` tokens, or the root."""
        node, at = self.root, 0
        best = node
        while (found := self._child(node, route, at, upto)) is not None:
            child, at = found
            node = self._split(child, at) if at < child.hi else child
            if node in self.states:
                best = node
            if node is not child:
                break
        if best.parent is not None:
            self.states.move_to_end(best)
        self._time += 1
        time = self._time
        for up in self._path(best):
            up.accessed = time
            self._offer(up)
            time -= 0.00001
        return best

    @staticmethod
    def _path(node: Node) -> Iterator[Node]:
        """From ``node`` up, without the root."""
        while node.parent is not None:
            yield node
            node = node.parent

    def lock(self, node: Node, by: int) -> None:
        """Lock the KV from ``node`` up and the state of ``node`` alone; ``by`` -1 takes that back."""
        for up in self._path(node):
            up.full_locks += by
        node.state_locks += by
        self._offer(node)

    def insert(self, route: Route, upto: int, protected: int) -> Node:
        """Give the tree the first ``upto`` tokens, of which it has ``protected``, and the state after them.

        Slots of what it had already are freed. Returns the node at which they end.
        """
        node, at = self.root, 0
        while (found := self._child(node, route, at, upto)) is not None:
            child, same = found
            self._touch(child)
            node = self._split(child, same) if same < child.hi else child
            self.full_free += max(0, same - max(at, protected))
            at = same
        if at < upto:
            leaf = Node(route, at, upto, node)
            node.children[leaf.key] = leaf
            node = leaf
        self._touch(node)
        if node in self.states:
            self.states_free += 1
        self.states[node] = None
        self.states.move_to_end(node)
        return node

    def take_tokens(self, tokens: int) -> None:
        """Slots for KV; evicts the least recently used leaves until they are free."""
        while self.full_free < tokens:
            accessed, _, leaf = heapq.heappop(self._heap)
            there = leaf.parent is not None and leaf.parent.children.get(leaf.key) is leaf
            if there and leaf.is_leaf and leaf.accessed == accessed:
                self._delete(leaf)
        self.full_free -= tokens

    def take_state(self) -> None:
        """A slot for a state; if none is free, that of the node not used for longest; a leaf goes whole."""
        if not self.states_free:
            victim = next(node for node in self.states if not node.state_locks)
            if victim.is_leaf:
                self._delete(victim)
            else:
                self._lose_state(victim)
        self.states_free -= 1

    def _lose_state(self, node: Node) -> None:
        del self.states[node]
        self.states_free += 1
        self.states_evicted += 1

    def _delete(self, leaf: Node) -> None:
        parent = leaf.parent
        assert parent is not None
        del parent.children[leaf.key]
        if leaf in self.states:
            self._lose_state(leaf)
        self.full_free += leaf.hi - leaf.lo
        self.full_evicted += leaf.hi - leaf.lo
        self._offer(parent)


class StateReplay:
    """Serves each request as an otherwise idle engine does: match, prefill, generate, release."""

    evicted_blocks = None

    def __init__(self, trace: Trace, tree: StateTree) -> None:
        self.tree = tree
        self._trace = trace
        self._end = trace.content.end

    @property
    def evicted_tokens(self) -> int:
        """Tokens evicted from the pool of full attention."""
        return self.tree.full_evicted

    def serve(self, request: int, at_s: float) -> Served:
        """Publish the prompt with a copy of its state, then the reply without its last token (no KV)."""
        tree, trace = self.tree, self._trace
        prompt, output = self._end[trace.prompt[request]], trace.output_tokens[request]
        route = trace.chains.route(trace.reply[request])
        node = tree.match(route, prompt - 1)
        hit = protected = node.hi
        tree.lock(node, 1)
        tree.take_state()
        tree.take_tokens(prompt - hit)
        if output > 1:
            tree.take_state()
            end = tree.insert(route, prompt, hit)
            tree.lock(node, -1)
            tree.lock(end, 1)
            node, protected = end, prompt
            tree.take_tokens(output - 1)
        tree.insert(route, prompt + output - 1, protected)
        tree.lock(node, -1)
        return Served(hit, hit, prompt)

    def check(self) -> None:
        """Assert that both pools add up and that nothing is held between requests."""
        tree = self.tree
        full, waiting = 0, [*tree.root.children.values()]
        while waiting:
            node = waiting.pop()
            assert not node.full_locks and not node.state_locks and node.lo < node.hi
            assert node.parent is not None and node.parent.hi == node.lo
            full += node.hi - node.lo
            waiting += node.children.values()
        assert tree.full_free + full == tree.full_tokens
        assert tree.states_free + len(tree.states) == tree.state_slots


class RadixMambaConfig(Schema):
    """``{kind: radix_mamba, capacity_tokens, state_slots}``: SGLang's cache of a model of full attention
    and layers that keep a state. A request needs three slots: the state it found, its own, and a copy."""

    kind: Literal["radix_mamba"]
    capacity_tokens: PositiveInt | None = None
    state_slots: Annotated[int, Field(ge=3)] | None = None

    def replay(self, trace: Trace, key: str) -> StateReplay:
        """A fresh cache that holds the largest request; InputError if it cannot."""
        if self.capacity_tokens is not None:
            require_fit(trace, 1, self.capacity_tokens, f"{key}.capacity_tokens")
        return StateReplay(
            trace, StateTree(self.capacity_tokens or UNLIMITED, self.state_slots or UNLIMITED)
        )
