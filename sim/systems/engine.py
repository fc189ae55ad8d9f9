"""``kind: engine``: replicas of a serving engine on GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

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
from sim.engine.routers import ROUTERS
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


class EngineSystem(Schema):
    """``replicas`` of one model, each on one GPU, behind a router.

    Model and hardware may be left out where nothing depends on them: ``memory.kv_blocks`` and a
    ``latency`` other than the roofline given. A cache of kind ``block`` is the engine's own; any other
    kind stands beside the engine's memory (``sim/engine/beside.py``). With ``tenants: salted`` every
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
    engine: VllmEngine = VllmEngine()
    memory: Memory = Memory()
    latency: Latency = Roofline()
    price: Price | None = None
    record_steps: bool = False

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
        if isinstance(self.cache, BlockConfig):
            self.cache.require_online(f"{key}.cache")
        blocks = self.memory.kv_blocks
        if blocks is None and isinstance(self.cache, BlockConfig | NoCache):
            blocks = self.cache.capacity_blocks
        if blocks is None:
            if model is None or gpu is None:
                raise InputError(
                    f"{key}.memory.kv_blocks is missing; allowed: a number of blocks, or both model "
                    "and hardware to compute it from"
                )
            blocks = self.memory.blocks(model, gpu, self._block_size, key)
        cache = self.cache
        if not self.engine.scheduler_reserve_full_isl and not isinstance(cache, BlockConfig | NoCache):
            raise InputError(  # what it finds is known only after admission: the chunk might not fit
                f"{key}.engine.scheduler_reserve_full_isl = False does not go with a cache beside the "
                f"engine's memory (kind {cache.kind}); allowed: true, or a cache of kind block or none"
            )
        if isinstance(cache, RadixConfig) and cache.capacity_tokens is None:
            cache = cache.model_copy(update={"capacity_tokens": blocks * self._block_size})
        return self.model_copy(
            update={
                "cache": cache,
                "memory": self.memory.model_copy(update={"kv_blocks": blocks}),
                "engine": self.engine.resolved(gpu),
            }
        )

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if a request is larger than a replica's KV memory."""
        assert self.memory.kv_blocks is not None, "resolved() first"
        require_fit(trace, self._block_size, self.memory.kv_blocks, f"KV memory of {key}")
        if not isinstance(self.cache, BlockConfig | NoCache):
            self.cache.replay(trace, f"{key}.cache")

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What the reader has to know about this system's figures."""
        model, _ = self._parts("", folder)
        profile = self._profile(folder)
        notes = []
        if not isinstance(self.cache, BlockConfig | NoCache):
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
    def _block_size(self) -> int:
        """Tokens of a KV block of the engine: vLLM's default where the cache is not its own."""
        return self.cache.block_size if isinstance(self.cache, BlockConfig | NoCache) else 16

    def _memory(self, trace: Trace, cache: CacheConfig | NoCache, evicted: Evicted | None) -> BlockCache:
        """One replica's KV memory with ``cache`` in or beside it."""
        blocks, size = self.memory.kv_blocks, self._block_size
        assert blocks is not None, "resolved() first"
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
        profile = self._profile(folder)
        return Fleet(
            trace,
            replicas=self.replicas,
            router=ROUTERS[self.router],
            memory=lambda evicted: self._memory(trace, cache, evicted),
            latency=IterationTime(profile.coefficients, profile.domain),
            options=self.engine.options(),
            fast_forward=self.engine.fast_forward,
            record_steps=record_steps,
            tick=tick,
        ).run()

    def _profile(self, folder: Path) -> Profile:
        return self.latency.profile(*self._parts("", folder), "", folder)

    def _parts(self, key: str, folder: Path) -> tuple[Model | None, Gpu | None]:
        model = catalogue.model(self.model, folder, f"{key}.model") if self.model else None
        gpu = catalogue.gpu(self.hardware, f"{key}.hardware") if self.hardware else None
        return model, gpu
