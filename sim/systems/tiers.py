"""KV memory of an engine over host memory and disk, from which loads take time."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from sim.caches.block import BlockCache, Evicted
from sim.caches.lower import LowerTiers
from sim.caches.tiered import TieredConfig
from sim.caches.tiers import TierStore
from sim.engine.link import Link, LinkSpeed
from sim.engine.loading import Source, TierSource
from sim.fleet.plan import SourceOf
from sim.results.records import RequestLog
from workloads.trace import Trace


def tiered_memory(
    trace: Trace,
    cache: TieredConfig,
    blocks: int,
    kv_bytes: int,
    tier_hits: dict[str, int],
) -> tuple[Callable[[Evicted | None], BlockCache], SourceOf]:
    """What makes one replica's memory of ``blocks`` KV blocks, and the source below it, in this order.

    A token's KV takes ``kv_bytes``. Hit tokens of lower tiers are added to ``tier_hits``.
    """
    rest = cache.tiers[1:]
    stores = [TierStore(tier.name, tier.capacity_blocks) for tier in rest]
    lower = LowerTiers(trace.by_message, cache.block_size, stores, cache.write)

    def memory(evicted: Evicted | None) -> BlockCache:
        assert evicted is None, "steps are not recorded here"
        return BlockCache(trace.message_tree, cache.block_size, blocks, evicted=lower.evicted)

    def source(env: simpy.Environment, log: RequestLog, block_size: int) -> Source:
        links = {}
        for tier in rest:
            assert tier.gb_per_s is not None
            links[tier.name] = Link(env, LinkSpeed(gb_per_s=tier.gb_per_s, latency_ms=tier.latency_ms))
        return TierSource(lower, links, block_size, kv_bytes, log, tier_hits)

    return memory, source
