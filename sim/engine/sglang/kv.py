"""Which caches SGLang has in its KV memory: its radix tree, over lower tiers or not, or none."""

from __future__ import annotations

from typing import Any

from sim.caches.block import Evicted
from sim.caches.lower import LowerTiers
from sim.caches.off import NoCache
from sim.caches.radix_replay import RadixConfig
from sim.caches.tiered import TieredConfig
from sim.engine.kv import KvKind, KvSetting, MemoryOf, SourceOf, both
from sim.engine.sglang.memory import SglangMemory
from sim.engine.tiers import over_tiers
from workloads.errors import InputError


def _off(cache: NoCache, setting: KvSetting) -> tuple[MemoryOf, None]:
    content = setting.trace.chains
    return lambda evicted: SglangMemory(content, cache.block_size, setting.blocks, caching=False), None


def _radix(cache: RadixConfig, setting: KvSetting) -> tuple[MemoryOf, None]:
    def make(evicted: Evicted | None) -> SglangMemory:
        return SglangMemory(
            setting.trace.chains,
            cache.page_size,
            setting.blocks,
            eviction=cache.eviction,
            tree=cache.tree,
            evicted=evicted,
        )

    return make, None


def _tiered(cache: TieredConfig, setting: KvSetting) -> tuple[MemoryOf, SourceOf | None]:
    def plain(evicted: Evicted | None) -> SglangMemory:
        return SglangMemory(setting.trace.chains, cache.block_size, setting.blocks, evicted=evicted)

    def make(lower: LowerTiers, evicted: Evicted | None) -> SglangMemory:
        return plain(both(evicted, lower.evicted))

    if not setting.tiers:
        return plain, None
    return over_tiers(cache, setting, make)


def _pages(cache: RadixConfig, key: str) -> int | None:
    if cache.capacity_tokens is None:
        return None
    if cache.capacity_tokens < cache.page_size:
        raise InputError(
            f"{key}.cache.capacity_tokens = {cache.capacity_tokens}; allowed: at least a page "
            f"({cache.page_size})"
        )
    return cache.capacity_tokens // cache.page_size


OFF = KvKind(lambda cache: cache.block_size, lambda cache, key: cache.capacity_blocks, _off)
RADIX = KvKind(lambda cache: cache.page_size, _pages, _radix)
TIERED = KvKind(lambda cache: cache.block_size, lambda cache, key: cache.tiers[0].capacity_blocks, _tiered)
KINDS = {"none": OFF, "radix": RADIX, "tiered": TIERED}


def kind_of(cache: Any) -> KvKind | None:
    """What ``cache`` is to SGLang; None: it does not go with it."""
    if isinstance(cache, TieredConfig) and not (cache.takes_time and cache.cache == "radix"):
        return None
    return KINDS.get(cache.kind)
