"""SGLang's radix tree with windows in replay: one request at a time, prompt and reply, no service time."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from sim.caches.base import Served
from sim.caches.block import UNLIMITED
from sim.caches.radix_replay import require_fit
from sim.caches.radix_swa import INTERVAL, Holder, WindowTree
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace


class WindowReplay:
    """Serves each request as an otherwise idle engine does: match, prefill, generate, release."""

    evicted_blocks = None

    def __init__(self, trace: Trace, tree: WindowTree) -> None:
        self.tree = tree
        self._trace = trace
        self._end = trace.content.end

    @property
    def evicted_tokens(self) -> int:
        """Tokens evicted from the pool of full attention."""
        return self.tree.full_evicted

    def serve(self, request: int, at_s: float) -> Served:
        """Allocate and publish the prompt, then the reply without its last token (which has no KV)."""
        tree, trace = self.tree, self._trace
        prompt, output = self._end[trace.prompt[request]], trace.output_tokens[request]
        route = trace.chains.route(trace.reply[request])
        node, branch = tree.match(route, prompt - 1)
        hit = node.hi
        held = Holder(route, tree.lock(node), hit, branch)
        self._take(held, prompt - hit)
        if output > 1:
            self._checkpoint(held, done=False)
            self._decode(held, prompt, prompt + output - 1)
        self._checkpoint(held, done=True)
        rest = held.tokens - held.protected
        tree.full_free += rest
        tree.swa_free += min(rest, held.tokens - held.gone)
        tree.unlock(held.lock)
        return Served(hit, hit, prompt)

    def _take(self, held: Holder, tokens: int) -> None:
        tree = self.tree
        tree.make_room(tokens)
        tree.full_free -= tokens
        tree.swa_free -= tokens
        held.tokens += tokens

    def _decode(self, held: Holder, prompt: int, total: int) -> None:
        """All decode steps up to ``total`` tokens: at once until something leaves the window or a pool is
        full."""
        tree = self.tree
        while held.tokens < total:
            computed, due = held.tokens, held.gone + tree.window + tree.interval
            if computed > prompt and computed >= due:
                self._leave_window(held, computed)
                due = held.gone + tree.window + tree.interval
            upto = min(total, max(due, computed + 1))  # the first step gives nothing back
            free = max(1, min(tree.full_free, tree.swa_free))
            self._take(held, min(upto - computed, free))

    def _leave_window(self, held: Holder, computed: int) -> None:
        """Give back what no token after the first ``computed`` looks at."""
        tree = self.tree
        if computed - tree.window > held.gone:
            held.gone = max(held.gone, held.protected)
            upto = max(held.gone, computed - tree.window)
            tree.swa_free += upto - held.gone
            held.gone = upto

    def _checkpoint(self, held: Holder, *, done: bool) -> None:
        """Publish what is computed; no more than the place where only full attention went on, if any."""
        tree, upto = self.tree, held.tokens
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

    def check(self) -> None:
        """Assert that both pools add up and that nothing is held between requests."""
        tree = self.tree
        full = swa = 0
        for node in tree.nodes():
            assert not node.full_locks and not node.window_locks and node.lo < node.hi
            assert node.parent is not None and node.parent.hi == node.lo
            full += node.hi - node.lo
            swa += node.hi - node.lo if node.live else 0
        assert tree.full_free + full == tree.full_tokens and tree.swa_free + swa == tree.swa_tokens


class RadixSwaConfig(Schema):
    """``{kind: radix_swa, window, capacity_tokens, window_capacity_tokens}``: SGLang's cache of a model of
    full attention and windows of ``window`` tokens, with a pool for each."""

    kind: Literal["radix_swa"]
    window: PositiveInt
    capacity_tokens: PositiveInt | None = None
    window_capacity_tokens: PositiveInt | None = None

    def replay(self, trace: Trace, key: str) -> WindowReplay:
        """A fresh cache that holds the largest request in either pool; InputError if it cannot."""
        if self.capacity_tokens is not None:
            require_fit(trace, 1, self.capacity_tokens, f"{key}.capacity_tokens")
        if self.window_capacity_tokens is not None:
            self._require_window_fit(trace, self.window_capacity_tokens, f"{key}.window_capacity_tokens")
        full, swa = self.capacity_tokens or UNLIMITED, self.window_capacity_tokens or UNLIMITED
        return WindowReplay(trace, WindowTree(full, swa, self.window))

    def _require_window_fit(self, trace: Trace, capacity: int, key: str) -> None:
        """InputError unless every request alone fits: its prompt, and then what it holds while it decodes.

        That is what left the window and is not yet given back, the window, and the nodes of the tree that
        it locks: a window, and a node that reaches beyond it.
        """
        decoding = 2 * self.window + max(self.window, INTERVAL + 1) + INTERVAL + 1
        if max(trace.largest_tokens, decoding) <= capacity:
            return
        for i, (prompt, output) in enumerate(zip(trace.input_tokens, trace.output_tokens, strict=True)):
            needed = max(prompt, min(prompt + output - 1, decoding))
            if needed > capacity:
                raise InputError(
                    f"{trace.where(i)}: a prompt of {prompt} tokens with a reply of {output} needs up to "
                    f"{needed} slots of a window of {self.window}; allowed: at most {capacity} ({key})"
                )
