"""Which caches vLLM has in its KV memory. A new one is a record here, or a file with one and a line
below."""

from __future__ import annotations

from typing import Any

from sim.caches.block import BlockCache, Evicted
from sim.caches.groups.cache import EngineMemory, GroupedCache
from sim.caches.lower import LowerTiers
from sim.caches.off import NoCache
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig
from sim.engine.beside import CacheBeside
from sim.engine.kv import KvKind, KvSetting, MemoryOf, SourceOf, both
from sim.engine.tiers import over_tiers

BLOCK_TOKENS = 16
"""vLLM's default block, where the cache is not its own."""


def _off(cache: NoCache, setting: KvSetting) -> tuple[MemoryOf, None]:
    content, size, groups = setting.trace.chains, cache.block_size, cache.groups
    if groups is None or groups == ["full"]:
        return lambda evicted: BlockCache(content, size, setting.blocks, caching=False), None
    return lambda evicted: GroupedCache(content, size, setting.blocks, groups, caching=False), None


def _blocks(cache: BlockConfig, setting: KvSetting) -> tuple[MemoryOf, None]:
    def make(evicted: Evicted | None) -> EngineMemory:
        if cache.grouped:
            return cache.grouped_cache(setting.trace, setting.blocks, evicted)
        return BlockCache(
            cache.content(setting.trace),
            cache.block_size,
            setting.blocks,
            cache_reply=cache.cache_reply,
            queue=cache.queue(setting.trace, setting.blocks),
            evicted=evicted,
        )

    return make, None


def _tiered(cache: TieredConfig, setting: KvSetting) -> tuple[MemoryOf, SourceOf | None]:
    def plain(evicted: Evicted | None) -> BlockCache:
        return BlockCache(setting.trace.chains, cache.block_size, setting.blocks, evicted=evicted)

    def make(lower: LowerTiers, evicted: Evicted | None) -> BlockCache:
        return plain(both(evicted, lower.evicted))

    if not setting.tiers:
        return plain, None
    return over_tiers(cache, setting, make)


def _beside(cache: Any, setting: KvSetting) -> tuple[MemoryOf, None]:
    def make(evicted: Evicted | None) -> CacheBeside:
        replay = cache.replay(setting.trace, "cache")
        return CacheBeside(setting.trace.chains, BLOCK_TOKENS, setting.blocks, replay)

    return make, None


OFF = KvKind(lambda cache: cache.block_size, lambda cache, key: cache.capacity_blocks, _off)
BLOCKS = KvKind(lambda cache: cache.block_size, lambda cache, key: cache.capacity_blocks, _blocks)
TIERED = KvKind(lambda cache: cache.block_size, lambda cache, key: cache.tiers[0].capacity_blocks, _tiered)
BESIDE = KvKind(lambda cache: BLOCK_TOKENS, lambda cache, key: None, _beside, is_own=False)
"""Any other cache: see `CacheBeside`."""
KINDS = {"none": OFF, "block": BLOCKS, "tiered": TIERED}


def kind_of(cache: Any) -> KvKind:
    """What ``cache`` is to vLLM; tiers whose loads take no time stand beside its memory too."""
    if isinstance(cache, TieredConfig) and not (cache.takes_time and cache.cache == "block"):
        return BESIDE
    return KINDS.get(cache.kind, BESIDE)
