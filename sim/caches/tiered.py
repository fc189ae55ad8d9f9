"""KV in tiers: a GPU cache over host memory over disk, with the write policies of SGLang's HiCache.

Hits in replay only; what a load costs in time is the engine's business. Ours in detail: HiCache's and
LMCache's tiers have bookkeeping of their own (chunks, back-up queues, prefetch thresholds) that is not
modelled.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from sim.caches.base import Fits, ReplayCache, Served
from sim.caches.lower import LowerTiers, Write
from sim.caches.radix_replay import RadixConfig
from sim.caches.replay import BlockConfig
from sim.caches.tiers import TierStore
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace


class TieredCache:
    """vLLM's block cache or SGLang's tree as the first tier, stores below it in order of speed.

    A request hits leading blocks wherever they are: in the GPU first, then from tier to tier, until no
    tier has the next block. What a lower tier served is promoted: the request's blocks are in the GPU
    afterwards. What is written down when: `LowerTiers`.
    """

    def __init__(
        self,
        trace: Trace,
        first: BlockConfig | RadixConfig,
        name: str,
        stores: list[TierStore],
        write: Write,
        fits: Fits,
    ) -> None:
        self._trace = trace
        self._fits = fits
        self._name = name
        self._size = first.block_size if isinstance(first, BlockConfig) else first.page_size
        self._lower = LowerTiers(trace, self._size, stores, write)
        lower = self._lower
        heard = lower.evicted if isinstance(first, BlockConfig) else lower.evicted_leaf
        self._gpu: ReplayCache = first.replay(trace, "cache", heard)

    @property
    def stores(self) -> list[TierStore]:
        """The lower tiers."""
        return self._lower.stores

    @property
    def evicted_blocks(self) -> int | None:
        return self._gpu.evicted_blocks

    @property
    def evicted_tokens(self) -> int | None:
        return self._gpu.evicted_tokens

    def serve(self, request: int, at_s: float) -> Served:
        """Find the leading blocks in any tier, serve from the GPU cache, write down. O(segments)."""
        trace, size = self._trace, self._size
        prompt, output = trace.content.end[trace.prompt[request]], trace.output_tokens[request]
        if not self._fits(prompt, output):
            return Served(0, 0, prompt // size)
        path = trace.content.path(trace.reply[request])
        gpu = self._gpu.serve(request, at_s).hit_tokens // size
        found = self._lower.below(path, gpu, (prompt - 1) // size)  # nothing was written down yet
        total = gpu + sum(found.values())
        self._lower.stored(path, (prompt + output - 1) // size)
        tiers = {self._name: gpu, **found}
        hits = tuple((name, blocks * size) for name, blocks in tiers.items() if blocks)
        return Served(total * size, total, prompt // size, hits)

    def check(self) -> None:
        """Assert the invariants of all tiers."""
        self._gpu.check()
        self._lower.check()


class Tier(Schema):
    """A tier's name and capacity in blocks or gigabytes (1e9 bytes); the last one may be unlimited.

    Gigabytes hold as many blocks as the model's KV bytes allow. ``gb_per_s`` (1e9 bytes) and ``latency_ms``
    are those of the link over which an engine loads from it.
    """

    name: str = Field(min_length=1)
    """Its name in the outputs, such as gpu, host or disk."""
    capacity_blocks: PositiveInt | None = None
    """Capacity in blocks."""
    capacity_gb: float | None = Field(default=None, gt=0, le=1e9)
    """Capacity in gigabytes (1e9 bytes); needs the system's `model`."""
    gb_per_s: float | None = Field(default=None, ge=1e-6)
    """Bandwidth at which an engine loads from it, gigabytes (1e9 bytes) per second."""
    latency_ms: float = Field(default=0.0, ge=0, le=1e9)
    """What each load takes beside that, ms."""

    @property
    def is_unlimited(self) -> bool:
        return self.capacity_blocks is None and self.capacity_gb is None


class TieredConfig(Schema):
    """``{kind: tiered, cache, block_size, tiers: [{name, capacity_blocks or capacity_gb}, ...], write}``.

    Fastest tier first; ``cache`` is what manages it: ``block`` (vLLM) or ``radix`` (SGLang, with pages of
    ``block_size``). With ``gb_per_s`` for every tier but the first, loads take time in an engine; a replay
    has no times.
    """

    kind: Literal["tiered"]
    cache: Literal["block", "radix"] = "block"
    """What manages the fastest tier: `block` (vLLM's cache) or `radix` (SGLang's)."""
    block_size: PositiveInt = 16
    """Tokens of a block or page."""
    tiers: list[Tier] = Field(min_length=2)
    """The tiers, the fastest first; the last one may be without limit."""
    write: Write = "write_through"
    """When blocks go down: `write_through` (when stored), `write_through_selective` (at the second use) or
    `write_back` (when evicted)."""

    @model_validator(mode="after")
    def _all_links_or_none(self) -> TieredConfig:
        first, *rest = self.tiers
        if first.gb_per_s is not None:
            raise ValueError("tiers.0.gb_per_s: nothing is loaded from the first tier; allowed: none")
        if len({tier.gb_per_s is None for tier in rest}) > 1:
            raise ValueError("gb_per_s is given for some tiers only; allowed: all but the first, or none")
        if len({tier.name for tier in self.tiers}) < len(self.tiers):
            raise ValueError("two tiers have the same name; allowed: a name each")
        for i, tier in enumerate(self.tiers):
            if tier.capacity_blocks is not None and tier.capacity_gb is not None:
                raise ValueError(f"tiers.{i} has capacity_blocks and capacity_gb; allowed: one of them")
            if tier.latency_ms and tier.gb_per_s is None:
                raise ValueError(f"tiers.{i}.latency_ms goes with gb_per_s; allowed: both or none")
        for i, tier in enumerate(rest[:-1], start=1):
            if tier.is_unlimited:
                raise ValueError(
                    f"tiers.{i}.capacity_blocks is missing: what lies below would never be used; allowed: "
                    "unlimited in the last tier only"
                )
        return self

    @property
    def takes_time(self) -> bool:
        """Whether loads from lower tiers have a duration."""
        return self.tiers[1].gb_per_s is not None

    def sized(self, kv_bytes_per_token: int | None, key: str) -> Self:
        """The same with capacities in blocks alone; InputError if one has no size in them."""
        return self.model_copy(
            update={"tiers": [self._sized(i, kv_bytes_per_token, key) for i in range(len(self.tiers))]}
        )

    def _sized(self, i: int, kv_bytes_per_token: int | None, key: str) -> Tier:
        tier = self.tiers[i]
        if tier.capacity_gb is None:
            return tier
        what = f"{key}.tiers.{i}.capacity_gb = {tier.capacity_gb:g}"
        if kv_bytes_per_token is None:
            raise InputError(f"{what}; allowed: with model, whose KV has a size")
        block_bytes = kv_bytes_per_token * self.block_size
        blocks = int(tier.capacity_gb * 1e9 // block_bytes)
        if blocks < 1:
            raise InputError(f"{what}; allowed: at least a block ({block_bytes / 1e9:g} GB)")
        return tier.model_copy(update={"capacity_blocks": blocks, "capacity_gb": None})

    def replay(self, trace: Trace, key: str) -> TieredCache:
        """Fresh tiers. A request that does not fit into the first one is served from none."""
        first, *rest = self.tiers
        blocks, size = first.capacity_blocks, self.block_size
        if blocks is None:
            raise InputError(
                f"{key}.tiers.0.capacity_blocks is missing: what lies below would never be used; allowed: "
                "a number of blocks"
            )
        top: BlockConfig | RadixConfig
        if self.cache == "block":
            top = BlockConfig(kind="block", block_size=size, capacity_blocks=blocks)
        else:
            top = RadixConfig(kind="radix", page_size=size, capacity_tokens=blocks * size)
        stores = [TierStore(tier.name, tier.capacity_blocks) for tier in rest]
        return TieredCache(trace.by_message, top, first.name, stores, self.write, self.fits)

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """See `Fits`: into the first tier, in which a request is computed."""
        blocks = self.tiers[0].capacity_blocks
        return blocks is None or -(-(prompt_tokens + output_tokens - 1) // self.block_size) <= blocks
