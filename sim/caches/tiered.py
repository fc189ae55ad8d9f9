"""KV in tiers: a GPU cache over host memory over disk, with the write policies of SGLang's HiCache.

Hits in replay only; what a load costs in time is the engine's business. Ours in detail: HiCache's and
LMCache's tiers have bookkeeping of their own (chunks, back-up queues, prefetch thresholds) that is not
modelled.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from sim.caches.base import ReplayCache, Served
from sim.caches.radix import RadixConfig
from sim.caches.replay import BlockConfig, require_fit
from sim.caches.tiers import Span, TierStore
from workloads.schema import Schema
from workloads.trace import Trace

Write = Literal["write_through", "write_through_selective", "write_back"]


class TieredCache:
    """vLLM's block cache or SGLang's tree as the first tier, stores below it in order of speed.

    A request hits leading blocks wherever they are: in the GPU first, then from tier to tier, until no
    tier has the next block. What a lower tier served is promoted (the request's blocks are in the GPU
    afterwards) and keeps its copy. Blocks go down

    * ``write_through``: to every lower tier when they are stored in the GPU;
    * ``write_through_selective``: likewise, once a second request uses their segment;
    * ``write_back``: to the next tier when the tier above evicts them.
    """

    def __init__(
        self,
        trace: Trace,
        first: BlockConfig | RadixConfig,
        name: str,
        stores: list[TierStore],
        write: Write,
    ) -> None:
        self.stores = stores
        self._trace = trace
        self._name = name
        self._write = write
        self._demoted: list[Span] = []
        self._uses: dict[int, int] = {}
        self._gpu: ReplayCache
        if isinstance(first, BlockConfig):
            self._size = first.block_size
            self._gpu = first.replay(trace, "cache", self._note_blocks)
        else:
            self._size = first.page_size
            self._gpu = first.replay(trace, "cache", self._note_tokens)

    @property
    def evicted_blocks(self) -> int | None:
        return self._gpu.evicted_blocks

    @property
    def evicted_tokens(self) -> int | None:
        return self._gpu.evicted_tokens

    def serve(self, request: int, at_s: float) -> Served:
        """Find the leading blocks in any tier, serve from the GPU cache, write down. O(segments)."""
        trace, size = self._trace, self._size
        path = trace.content.path(trace.reply[request])
        prompt = trace.content.end[trace.prompt[request]]
        gpu = self._gpu.serve(request, at_s).hit_tokens // size
        found = self._below(path, gpu, (prompt - 1) // size)  # nothing was written down yet
        total = gpu + sum(found.values())
        tokens_kept = prompt + trace.output_tokens[request] - 1
        if self._write == "write_back":
            self._write_demoted()
        else:
            self._write_path(path, tokens_kept // size)
        tiers = {self._name: gpu, **found}
        hits = tuple((name, blocks * size) for name, blocks in tiers.items() if blocks)
        return Served(total * size, total, prompt // size, hits)

    def _below(self, path: list[int], pos: int, cap: int) -> dict[str, int]:
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

    def _write_demoted(self) -> None:
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
        for segment in content.path(self._trace.reply[owner]):
            end = content.end[segment] // self._size
            if max(lo, begin) < min(hi, end):
                spans.append((segment, max(lo, begin), min(hi, end)))
            begin = end
        self._demoted += reversed(spans)

    def check(self) -> None:
        """Assert the invariants of all tiers."""
        self._gpu.check()
        for store in self.stores:
            store.check()


class Tier(Schema):
    """A tier's name and capacity in blocks; the last one may be unlimited."""

    name: str
    capacity_blocks: PositiveInt | None = None


class TieredConfig(Schema):
    """``{kind: tiered, cache, block_size, tiers: [{name, capacity_blocks}, ...], write}``.

    Fastest tier first; ``cache`` is what manages it: ``block`` (vLLM) or ``radix`` (SGLang, with pages of
    ``block_size``).
    """

    kind: Literal["tiered"]
    cache: Literal["block", "radix"] = "block"
    block_size: PositiveInt = 16
    tiers: list[Tier] = Field(min_length=2)
    write: Write = "write_through"

    def replay(self, trace: Trace, key: str) -> TieredCache:
        """Fresh tiers; the first one must hold the largest request."""
        first, *rest = self.tiers
        blocks, size = first.capacity_blocks, self.block_size
        if blocks is not None:
            require_fit(trace, size, blocks, f"{key}.tiers.0.capacity_blocks")
        top: BlockConfig | RadixConfig
        if self.cache == "block":
            top = BlockConfig(kind="block", block_size=size, capacity_blocks=blocks)
        else:
            tokens = None if blocks is None else blocks * size
            top = RadixConfig(kind="radix", page_size=size, capacity_tokens=tokens)
        stores = [TierStore(tier.name, tier.capacity_blocks) for tier in rest]
        return TieredCache(trace, top, first.name, stores, self.write)
