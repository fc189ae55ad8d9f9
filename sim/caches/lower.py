"""The tiers below the GPU: what they hold, what is found in them, and what is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sim.caches.tiers import Span, TierStore
from workloads.trace import Trace

Write = Literal["write_through", "write_through_selective", "write_back"]


class LowerTiers:
    """Stores in order of speed, fed with blocks of ``size`` tokens by the cache above them.

    What a lower tier serves keeps its copy. Blocks go down

    * ``write_through``: to every lower tier when a request has stored them in the GPU;
    * ``write_through_selective``: likewise, once a second request uses their segment;
    * ``write_back``: to the next tier when the tier above evicts them.
    """

    def __init__(self, trace: Trace, size: int, stores: list[TierStore], write: Write) -> None:
        self.stores = stores
        self._trace = trace
        self._size = size
        self._write = write
        self._demoted: list[Span] = []
        self._uses: dict[int, int] = {}
        trace.content.watch(self._split)

    @property
    def evicted(self) -> Callable[[int, int, int], None] | None:
        """What a block cache above has to call when it evicts; None if nothing is to be called."""
        return self._note_blocks if self._write == "write_back" else None

    @property
    def evicted_leaf(self) -> Callable[[int, int, int], None] | None:
        """The same for a tree above, which tells tokens."""
        return self._note_tokens if self._write == "write_back" else None

    def path(self, request: int) -> list[int]:
        """The segments of the request's prompt and reply."""
        return self._trace.content.path(self._trace.reply[request])

    def _split(self, upper: int, lower: int) -> None:
        """A segment of a tree that grows was cut.

        With ``write_back`` one part may have been written or evicted later than the other: then the order
        in which they go is a guess.
        """
        if lower in self._uses:
            self._uses[upper] = self._uses[lower]
        for store in self.stores:
            store.split(upper, lower, self._trace.content.end[upper] // self._size)

    def stored(self, path: list[int], blocks: int) -> None:
        """The first ``blocks`` blocks of ``path`` are in the GPU's cache; write down what is due."""
        if self._write == "write_back":
            self.write_demoted()
        else:
            self._write_path(path, blocks)

    def below(self, path: list[int], pos: int, cap: int) -> dict[str, int]:
        """Blocks from ``pos`` on that the lower tiers have, per tier; marks what is found as used."""
        found = {store.name: 0 for store in self.stores}
        end, size = self._trace.content.end, self._size
        for segment in path:
            stop = min(end[segment] // size, cap)
            while pos < stop:
                store = next((s for s in self.stores if s.upto(segment, pos) > pos), None)
                if store is None:
                    return found
                upto = min(store.upto(segment, pos), stop)
                store.use(segment)
                found[store.name] += upto - pos
                pos = upto
        return found

    def _write_path(self, path: list[int], blocks: int) -> None:
        """Write the request's full blocks to all lower tiers, the deepest segment first."""
        content, size = self._trace.content, self._size
        for segment in reversed(path):
            uses = self._uses[segment] = self._uses.get(segment, 0) + 1
            if self._write == "write_through_selective" and uses < 2:
                continue
            lo = content.end[content.parent[segment]] // size
            hi = min(content.end[segment] // size, blocks)
            if lo < hi:
                for store in self.stores:
                    store.put(segment, lo, hi)
        for store in self.stores:
            for _ in store.evict():
                pass  # the tiers below have their own copy

    def write_demoted(self) -> None:
        spans, self._demoted = self._demoted, []
        for store in self.stores:
            for segment, lo, hi in spans:
                store.put(segment, lo, hi)
            spans = list(store.evict())

    def _note_blocks(self, owner: int, first: int, last: int) -> None:
        """The block cache evicts blocks ``first`` down to ``last`` of request ``owner``."""
        self._demote(owner, last, first + 1)

    def _note_tokens(self, owner: int, start: int, stop: int) -> None:
        """The tree evicts the whole pages from token ``start`` to ``stop`` of request ``owner``."""
        self._demote(owner, start // self._size, stop // self._size)

    def _demote(self, owner: int, lo: int, hi: int) -> None:
        content, begin = self._trace.content, 0
        spans = []
        for segment in self.path(owner):
            end = content.end[segment] // self._size
            if max(lo, begin) < min(hi, end):
                spans.append((segment, max(lo, begin), min(hi, end)))
            begin = end
        self._demoted += reversed(spans)

    def check(self) -> None:
        """Assert the invariants of all stores."""
        for store in self.stores:
            store.check()
