"""Which cache is an engine's own memory, and how that memory is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from sim.caches import CacheConfig
from sim.caches.block import BlockCache, Evicted
from sim.caches.radix import RadixConfig
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig
from sim.engine.beside import CacheBeside
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.engine.vllm.config import VllmEngine
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace


class NoCache(Schema):
    """Prefix caching off: every block goes back to the pool's head when it is released."""

    kind: Literal["none"]
    block_size: PositiveInt = 16
    capacity_blocks: PositiveInt | None = None


def _fill_kind(value: Any) -> Any:
    return {"kind": "vllm", **value} if isinstance(value, dict) else value


Engine = Annotated[
    Annotated[VllmEngine | SglangEngine, Field(discriminator="kind")], BeforeValidator(_fill_kind)
]
"""Whose scheduler a replica runs; without a kind vLLM's."""
EngineCache = CacheConfig | NoCache


def is_own(cache: EngineCache, engine: Engine) -> bool:
    """Whether ``cache`` is the engine's own memory, not one beside it."""
    if isinstance(engine, SglangEngine):
        return isinstance(cache, RadixConfig | NoCache)
    if isinstance(cache, TieredConfig):
        return cache.takes_time
    return isinstance(cache, BlockConfig | NoCache)


def block_size(cache: EngineCache, engine: Engine) -> int:
    """Tokens of a KV block of the engine: vLLM's default where the cache is not its own."""
    if not is_own(cache, engine):
        return 16
    if isinstance(cache, RadixConfig):
        return cache.page_size
    assert isinstance(cache, BlockConfig | NoCache | TieredConfig)
    return cache.block_size


def stated_blocks(cache: EngineCache, engine: Engine, key: str) -> int | None:
    """KV blocks as the engine's own cache states them; None if it does not."""
    if not is_own(cache, engine):
        return None
    if isinstance(cache, BlockConfig | NoCache):
        return cache.capacity_blocks
    if isinstance(cache, TieredConfig):
        return cache.tiers[0].capacity_blocks
    assert isinstance(cache, RadixConfig)
    if cache.capacity_tokens is None:
        return None
    if cache.capacity_tokens < cache.page_size:
        raise InputError(
            f"{key}.cache.capacity_tokens = {cache.capacity_tokens}; allowed: at least a page "
            f"({cache.page_size})"
        )
    return cache.capacity_tokens // cache.page_size


def make_memory(
    trace: Trace, cache: EngineCache, engine: Engine, blocks: int, evicted: Evicted | None
) -> BlockCache | SglangMemory:
    """One replica's memory of ``blocks`` KV blocks with ``cache`` in or beside it."""
    size = block_size(cache, engine)
    if isinstance(engine, SglangEngine):
        if isinstance(cache, NoCache):
            return SglangMemory(trace.chains, size, blocks, caching=False)
        assert isinstance(cache, RadixConfig)
        return SglangMemory(
            trace.chains, size, blocks, eviction=cache.eviction, tree=cache.tree, evicted=evicted
        )
    if isinstance(cache, NoCache):
        return BlockCache(trace.chains, size, blocks, caching=False)
    if isinstance(cache, BlockConfig):
        queue = cache.queue(trace, blocks)
        return BlockCache(
            cache.content(trace), size, blocks, cache_reply=cache.cache_reply, queue=queue, evicted=evicted
        )
    if is_own(cache, engine):
        return BlockCache(trace.message_tree, size, blocks, evicted=evicted)
    return CacheBeside(trace.chains, size, blocks, cache.replay(trace, "cache"))
