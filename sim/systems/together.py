"""Which options of an engine system do not go with each other, across its pools, cache and links."""

from __future__ import annotations

from collections.abc import Sequence

from sim.caches import EngineCache
from sim.caches.groups.config import groups_of
from sim.caches.tiered import TieredConfig
from sim.hardware.model import Model
from sim.systems.layer_groups import keeps_groups
from sim.systems.pool import Pool
from workloads.errors import InputError


def require_sense(
    pools: Sequence[Pool], cache: EngineCache, model: Model | None, key: str, *, listed: bool, travels: bool
) -> None:
    """InputError for parts that do not go together.

    ``listed``: the configuration has a list of pools; ``travels``: it has a ``kv_link`` between replicas.
    """

    def refuse(what: str, allowed: str) -> None:
        raise InputError(f"{key}.{what}; allowed: {allowed}")

    roles = {pool.role for pool in pools}
    if listed and not all(pool.engine.kv(cache, key).is_own for pool in pools):
        refuse(f"pools with a cache beside the memory (kind {cache.kind})", "a cache of the engine's own")
    if roles != {"both"} and roles != {"prefill", "decode"}:
        refuse(f"pools with roles {', '.join(sorted(roles))}", "all both, or some prefill and some decode")
    if ("decode" in roles) != travels:
        refuse("kv_link goes with pools of role prefill and decode", "both or none")
    groups = groups_of(cache)
    if groups != ["full"] and not keeps_groups([pool.engine for pool in pools], travels=travels):
        refuse(
            f"cache.groups = {groups}: SGLang has none, and what of a window travels is not modelled",
            "[full], or engines of kind vllm with pools of role both",
        )
    timed = isinstance(cache, TieredConfig) and cache.takes_time
    if (timed or travels) and model is None:
        refuse("model is missing, and KV travels", "a model, whose KV has a size")
