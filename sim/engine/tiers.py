"""Host memory and disk below one replica's KV memory, from which loads take time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.caches.block import Evicted
from sim.caches.lower import LowerTiers
from sim.caches.tiered import TieredConfig
from sim.caches.tiers import TierStore
from sim.engine.events import Clock
from sim.engine.kv import KvSetting, MemoryOf, SourceOf
from sim.engine.link import Link, LinkSpeed
from sim.engine.loads import Source
from sim.engine.sources import TierSource


def over_tiers(
    config: TieredConfig, setting: KvSetting, memory: Callable[[LowerTiers, Evicted | None], Any]
) -> tuple[MemoryOf, SourceOf]:
    """What makes one replica's memory, with ``memory``, and the source below it, in this order.

    A replica that comes back after a failure gets empty tiers too.
    """
    rest = config.tiers[1:]
    below: list[LowerTiers] = []

    def make(evicted: Evicted | None) -> Any:
        stores = [TierStore(tier.name, tier.capacity_blocks) for tier in rest]
        below[:] = [LowerTiers(setting.trace.by_message, config.block_size, stores, config.write)]
        return memory(below[0], evicted)

    def source(env: Clock) -> Source:
        assert setting.kv_bytes_per_token is not None and setting.tier_hits is not None
        links = {}
        for tier in rest:
            assert tier.gb_per_s is not None
            links[tier.name] = Link(env, LinkSpeed(gb_per_s=tier.gb_per_s, latency_ms=tier.latency_ms))
        return TierSource(below[0], links, config.block_size, setting.kv_bytes_per_token, setting.tier_hits)

    return make, source
