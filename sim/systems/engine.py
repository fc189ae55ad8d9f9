"""``kind: engine``: replicas of a serving engine on GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from calibration import catalogue
from calibration.catalogue import Gpu, Model
from calibration.profile import Profile
from sim.caches import CacheConfig
from sim.caches.block import BlockCache, Evicted
from sim.caches.radix import RadixConfig
from sim.caches.replay import BlockConfig, require_fit
from sim.engine.beside import CacheBeside
from sim.engine.fleet import Fleet
from sim.engine.latency import IterationTime
from sim.engine.latency_config import Latency, Roofline
from sim.engine.memory import Memory, batch_defaults
from sim.engine.options import SchedulerOptions
from sim.engine.plan import ReplicaPlan
from sim.engine.routers import ROUTERS
from sim.engine.sglang_memory import SglangMemory
from sim.engine.sglang_options import SglangEngine
from sim.pricing import Price
from sim.records import Records
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.tenants import salted
from workloads.trace import Trace


class NoCache(Schema):
    """Prefix caching off: every block goes back to the pool's head when it is released."""

    kind: Literal["none"]
    block_size: PositiveInt = 16
    capacity_blocks: PositiveInt | None = None


class VllmEngine(Schema):
    """vLLM's V1 scheduler; names and defaults are vLLM's, but for ``async_scheduling`` (off here).

    ``fast_forward: false`` takes every iteration as an event of its own: slower, same records. Options
    other than the batch limits, and recorded steps, always do.
    """

    kind: Literal["vllm"] = "vllm"
    max_num_batched_tokens: PositiveInt | None = None
    max_num_seqs: PositiveInt | None = None
    policy: Literal["fcfs", "priority"] = "fcfs"
    long_prefill_token_threshold: int = Field(default=0, ge=0)
    watermark: float = Field(default=0.0, ge=0, lt=1)
    scheduler_reserve_full_isl: bool = True
    async_scheduling: bool = False
    fast_forward: bool = True

    @model_validator(mode="after")
    def _budget_holds_the_batch(self) -> VllmEngine:
        tokens, seqs = self.max_num_batched_tokens, self.max_num_seqs
        if tokens is not None and seqs is not None and tokens < seqs:
            raise ValueError(f"max_num_batched_tokens ({tokens}) must be at least max_num_seqs ({seqs})")
        return self

    def resolved(self, gpu: Gpu | None) -> VllmEngine:
        """Fill in vLLM's defaults for ``gpu``."""
        tokens, seqs = batch_defaults(gpu)
        if self.max_num_batched_tokens is not None:
            tokens = self.max_num_batched_tokens
        if self.max_num_seqs is not None:
            seqs = self.max_num_seqs
            if self.max_num_batched_tokens is None:
                tokens = max(tokens, seqs)
        return self.model_copy(update={"max_num_batched_tokens": tokens, "max_num_seqs": min(seqs, tokens)})

    def options(self) -> SchedulerOptions:
        """The scheduler's options; limits must be resolved."""
        assert self.max_num_batched_tokens is not None and self.max_num_seqs is not None
        return SchedulerOptions(**self.model_dump(exclude={"kind", "fast_forward"}))


def _fill_kind(value: Any) -> Any:
    return {"kind": "vllm", **value} if isinstance(value, dict) else value


Engine = Annotated[
    Annotated[VllmEngine | SglangEngine, Field(discriminator="kind")], BeforeValidator(_fill_kind)
]
"""Whose scheduler a replica runs; without a kind vLLM's."""


class EngineSystem(Schema):
    """``replicas`` of one model, each on one GPU, behind a router.

    Model and hardware may be left out where nothing depends on them: ``memory.kv_blocks`` and a
    ``latency`` other than the roofline given. vLLM's own cache is of kind ``block``; any other kind stands
    beside its memory (``sim/engine/beside.py``). SGLang's is of kind ``radix``, and no other goes with it;
    its KV blocks are pages of ``page_size`` tokens. With ``tenants: salted`` every
    tenant's prompts carry a salt of their own; what that loses is counted by a shared run.
    ``record_steps`` keeps what every step scheduled, for steps.parquet (slower: no runs of steps).
    """

    kind: Literal["engine"]
    model: str | None = None
    hardware: str | None = None
    replicas: PositiveInt = 1
    router: str = "round_robin"
    cache: Annotated[CacheConfig | NoCache, Field(discriminator="kind")] = BlockConfig(kind="block")
    tenants: Literal["shared", "salted"] = "shared"
    engine: Engine = VllmEngine()
    memory: Memory = Memory()
    latency: Latency = Roofline()
    price: Price | None = None
    record_steps: bool = False

    @model_validator(mode="before")
    @classmethod
    def _radix_for_sglang(cls, data: Any) -> Any:
        """An engine of kind sglang has a radix cache where none is named."""
        engine = data.get("engine") if isinstance(data, dict) else None
        if isinstance(engine, dict) and engine.get("kind") == "sglang" and "cache" not in data:
            return {**data, "cache": {"kind": "radix"}}
        return data

    @field_validator("router")
    @classmethod
    def _known_router(cls, router: str) -> str:
        if router not in ROUTERS:
            raise ValueError(f"allowed: {', '.join(ROUTERS)}")
        return router

    def resolved(self, key: str, folder: Path) -> EngineSystem:
        """Fill in KV blocks and batch limits; InputError if a name or the memory does not work."""
        model, gpu = self._parts(key, folder)
        self.latency.profile(model, gpu, key, folder)
        if isinstance(self.engine, SglangEngine) and not isinstance(self.cache, RadixConfig | NoCache):
            raise InputError(
                f"{key}.cache.kind = {self.cache.kind!r} does not go with engine.kind sglang, whose memory "
                "is its radix cache; allowed: radix, none"
            )
        if isinstance(self.cache, BlockConfig):
            self.cache.require_online(f"{key}.cache")
        blocks = self.memory.kv_blocks
        if blocks is None:
            blocks = self._stated_blocks(key)
        if blocks is None:
            if model is None or gpu is None:
                raise InputError(
                    f"{key}.memory.kv_blocks is missing; allowed: a number of blocks, or both model "
                    "and hardware to compute it from"
                )
            blocks = self.memory.blocks(model, gpu, self._block_size, key)
        cache, engine = self.cache, self.engine
        if isinstance(engine, SglangEngine):
            engine = engine.resolved(gpu, model, blocks, self._block_size, f"{key}.engine")
            if isinstance(cache, RadixConfig):
                cache = cache.model_copy(update={"capacity_tokens": blocks * self._block_size})
        else:
            if not engine.scheduler_reserve_full_isl and not self._own_cache:
                raise InputError(  # what it finds is known only after admission: the chunk might not fit
                    f"{key}.engine.scheduler_reserve_full_isl = False does not go with a cache beside the "
                    f"engine's memory (kind {cache.kind}); allowed: true, or a cache of kind block or none"
                )
            engine = engine.resolved(gpu)
            if isinstance(cache, RadixConfig) and cache.capacity_tokens is None:
                cache = cache.model_copy(update={"capacity_tokens": blocks * self._block_size})
        return self.model_copy(
            update={
                "cache": cache,
                "memory": self.memory.model_copy(update={"kv_blocks": blocks}),
                "engine": engine,
            }
        )

    def _stated_blocks(self, key: str) -> int | None:
        """KV blocks as the engine's own cache states them; None if it does not."""
        cache = self.cache
        if isinstance(cache, BlockConfig | NoCache):
            return cache.capacity_blocks
        if not isinstance(cache, RadixConfig) or not self._own_cache or cache.capacity_tokens is None:
            return None
        if cache.capacity_tokens < cache.page_size:
            raise InputError(
                f"{key}.cache.capacity_tokens = {cache.capacity_tokens}; allowed: at least a page "
                f"({cache.page_size})"
            )
        return cache.capacity_tokens // cache.page_size

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if a request is larger than a replica's KV memory."""
        blocks = self.memory.kv_blocks
        assert blocks is not None, "resolved() first"
        if isinstance(self.engine, SglangEngine):
            self.engine.require_fit(trace, blocks, self._block_size, key)
            return
        require_fit(trace, self._block_size, blocks, f"KV memory of {key}")
        if not self._own_cache:
            assert not isinstance(self.cache, NoCache)
            self.cache.replay(trace, f"{key}.cache")

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What the reader has to know about this system's figures."""
        model, _ = self._parts("", folder)
        profile = self._profile(folder)
        notes = []
        if isinstance(self.engine, SglangEngine):
            notes.append(f"approximate: {self.engine.approximations}")
        if not self._own_cache:
            notes.append(
                f"approximate: the {self.cache.kind} cache stands beside the engine's memory; what it "
                "finds costs no time and no KV block is shared"
            )
        if not profile.calibrated:
            notes.append(f"uncalibrated: times are not measured but computed ({profile.id})")
        if model is not None:
            longest = model.max_position_embeddings
            totals = zip(trace.input_tokens, trace.output_tokens, strict=True)
            over = sum(prompt + output > longest for prompt, output in totals)
            if over:
                notes.append(
                    f"{over:,} of {len(trace):,} requests exceed the {longest:,} positions of "
                    f"{model.name}; they are served as if it could"
                )
        return notes

    def calibrated(self, folder: Path) -> bool:
        """Whether the times come from a measurement of this device."""
        return self._profile(folder).calibrated

    def run(self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]) -> Records:
        """Serve the trace in simulated time; ``tick`` hears how many requests are finished."""
        if self.tenants == "shared":
            return self._run(trace, folder, tick, self.cache, record_steps=self.record_steps)
        records = self._run(salted(trace), folder, tick, self.cache, record_steps=self.record_steps)
        shared = self._run(trace, folder, tick, self.cache)
        lost = shared.cache_read_input_tokens - records.cache_read_input_tokens
        records.hits_lost_to_isolation_tokens = int(lost.sum())
        return records

    def run_without_cache(
        self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]
    ) -> Records:
        """The twin: the same requests on the same replicas with prefix caching off."""
        return self._run(trace, folder, tick, NoCache(kind="none", block_size=self._block_size))

    @property
    def _own_cache(self) -> bool:
        """Whether the cache is the engine's own memory, not one beside it."""
        own = RadixConfig if isinstance(self.engine, SglangEngine) else BlockConfig
        return isinstance(self.cache, own | NoCache)

    @property
    def _block_size(self) -> int:
        """Tokens of a KV block of the engine: vLLM's default where the cache is not its own."""
        if isinstance(self.cache, RadixConfig) and self._own_cache:
            return self.cache.page_size
        return self.cache.block_size if isinstance(self.cache, BlockConfig | NoCache) else 16

    def _memory(
        self, trace: Trace, cache: CacheConfig | NoCache, evicted: Evicted | None
    ) -> BlockCache | SglangMemory:
        """One replica's KV memory with ``cache`` in or beside it."""
        blocks, size = self.memory.kv_blocks, self._block_size
        assert blocks is not None, "resolved() first"
        if isinstance(self.engine, SglangEngine):
            if isinstance(cache, NoCache):
                return SglangMemory(trace.content, size, blocks, caching=False)
            assert isinstance(cache, RadixConfig)
            return SglangMemory(
                trace.content, size, blocks, eviction=cache.eviction, tree=cache.tree, evicted=evicted
            )
        if isinstance(cache, NoCache):
            return BlockCache(trace.content, size, blocks, caching=False)
        if isinstance(cache, BlockConfig):
            queue = cache.queue(trace, blocks)
            return BlockCache(
                trace.content,
                size,
                blocks,
                cache_reply=cache.cache_reply,
                queue=queue,
                evicted=evicted,
            )
        return CacheBeside(trace.content, size, blocks, cache.replay(trace, "cache"))

    def _run(
        self,
        trace: Trace,
        folder: Path,
        tick: Callable[[int], None],
        cache: CacheConfig | NoCache,
        *,
        record_steps: bool = False,
    ) -> Records:
        plan = ReplicaPlan(
            memory=lambda evicted: self._memory(trace, cache, evicted),
            latency=IterationTime(self._profile(folder).coefficients),
            options=self.engine if isinstance(self.engine, SglangEngine) else self.engine.options(),
            fast_forward=self.engine.fast_forward,
        )
        plans = [plan] * self.replicas
        fleet = Fleet(trace, plans, ROUTERS[self.router], record_steps=record_steps, tick=tick)
        records = fleet.run()
        if isinstance(self.engine, SglangEngine) and records.evicted_blocks is not None:
            records.evicted_tokens = records.evicted_blocks * self._block_size
        return records

    def _profile(self, folder: Path) -> Profile:
        return self.latency.profile(*self._parts("", folder), "", folder)

    def _parts(self, key: str, folder: Path) -> tuple[Model | None, Gpu | None]:
        model = catalogue.model(self.model, folder, f"{key}.model") if self.model else None
        gpu = catalogue.gpu(self.hardware, f"{key}.hardware") if self.hardware else None
        return model, gpu
