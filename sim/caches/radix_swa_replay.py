"""SGLang's radix tree with windows in replay: one request at a time, prompt and reply, no service time."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from sim.caches.base import Fits, always
from sim.caches.block import UNLIMITED
from sim.caches.radix_hybrid import HybridReplay, HybridTree
from sim.caches.radix_swa import Holder, WindowTree
from workloads.content import Route
from workloads.schema import Schema
from workloads.trace import Trace

INTERVAL = 128
"""A request gives back what left its window once it is so many tokens more (SGLang's default)."""


class WindowRequests:
    """Requests one after another, each alone in an engine, in a tree with a window."""

    def __init__(self, tree: WindowTree, interval: int = INTERVAL) -> None:
        self._tree = tree
        self._pools = tree.tree
        self._interval = interval

    def serve(self, route: Route, prompt: int, output: int) -> int:
        """Allocate and publish the prompt, then the reply without its last token (which has no KV); the
        tokens of the hit."""
        tree, pools = self._tree, self._pools
        node, branch = tree.match(route, prompt - 1)
        hit = node.hi
        held = Holder(route, tree.lock(node), hit, branch)
        self._take(held, prompt - hit)
        if output > 1:
            self._checkpoint(held, done=False)
            self._decode(held, prompt, prompt + output - 1)
        self._checkpoint(held, done=True)
        rest = held.tokens - held.protected
        pools.full.free += rest
        pools.other.free += min(rest, held.tokens - held.gone)
        tree.unlock(held.lock)
        return hit

    def _take(self, held: Holder, tokens: int) -> None:
        self._pools.take(tokens, tokens)
        held.tokens += tokens

    def _decode(self, held: Holder, prompt: int, total: int) -> None:
        """All decode steps up to ``total`` tokens: at once until something leaves the window or a pool is
        full."""
        pools, every = self._pools, self._tree.window + self._interval
        while held.tokens < total:
            computed, due = held.tokens, held.gone + every
            if computed > prompt and computed >= due:
                self._leave_window(held, computed)
                due = held.gone + every
            upto = min(total, max(due, computed + 1))  # the first step gives nothing back
            free = max(1, min(pools.full.free, pools.other.free))
            self._take(held, min(upto - computed, free))

    def _leave_window(self, held: Holder, computed: int) -> None:
        """Give back what no token after the first ``computed`` looks at."""
        left = computed - self._tree.window
        if left > held.gone:
            held.gone = max(held.gone, held.protected)
            upto = max(held.gone, left)
            self._pools.other.free += upto - held.gone
            held.gone = upto

    def _checkpoint(self, held: Holder, *, done: bool) -> None:
        """Publish what is computed; no more than the place where only full attention went on, if any."""
        tree, upto = self._tree, held.tokens
        branches = held.branch is not None and held.protected < held.branch <= upto
        if branches:
            assert held.branch is not None
            upto, held.branch = held.branch, None
        if not done:
            self._leave_window(held, upto - 1)
        node = tree.insert(held, upto)
        tree.unlock(held.lock)
        held.lock = tree.lock(node)
        held.protected = upto
        if branches and not done:
            self._leave_window(held, held.tokens - 1)


def window_replay(
    trace: Trace,
    full_slots: int,
    window_slots: int,
    window: int,
    interval: int = INTERVAL,
    fits: Fits = always,
) -> HybridReplay:
    """A replay with empty pools of so many slots."""
    tree = HybridTree(full_slots, window_slots, per_token=True)
    return HybridReplay(trace, tree, WindowRequests(WindowTree(tree, window), interval).serve, fits)


class RadixSwaConfig(Schema):
    """``{kind: radix_swa, window, capacity_tokens, window_capacity_tokens}``: SGLang's cache of a model of
    full attention and windows of ``window`` tokens, with a pool for each."""

    kind: Literal["radix_swa"]
    window: PositiveInt
    """Tokens that a layer with a window looks back."""
    capacity_tokens: PositiveInt | None = None
    """Capacity of the full-attention layers in tokens; left out: without limit."""
    window_capacity_tokens: PositiveInt | None = None
    """Capacity of the layers with a window in tokens; left out: without limit."""

    def replay(self, trace: Trace, key: str) -> HybridReplay:
        """A fresh cache."""
        full, swa = self.capacity_tokens or UNLIMITED, self.window_capacity_tokens or UNLIMITED
        return window_replay(trace, full, swa, self.window, fits=self.fits)

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """See `Fits`, in either pool: in that of the windows the prompt, and then what is held by decoding.

        That is what left the window and is not yet given back, the window, and the nodes of the tree that
        it locks: a window, and a node that reaches beyond it.
        """
        total = prompt_tokens + output_tokens - 1
        decoding = 2 * self.window + max(self.window, INTERVAL + 1) + INTERVAL + 1
        in_window = max(prompt_tokens, min(total, decoding))
        return total <= (self.capacity_tokens or UNLIMITED) and in_window <= (
            self.window_capacity_tokens or UNLIMITED
        )
