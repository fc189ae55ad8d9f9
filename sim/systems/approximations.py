"""What is not as in an engine about replicas of it, for those who read the figures."""

from __future__ import annotations

from sim.caches import EngineCache
from sim.caches.groups.config import groups_of
from sim.caches.tiered import TieredConfig
from sim.hardware.catalogue import Model
from sim.hardware.profile import Profile
from sim.systems import drafting
from sim.systems.pool import Pool


def approximations(
    pools: list[Pool],
    profiles: list[Profile],
    model: Model | None,
    cache: EngineCache,
    *,
    travels: bool,
    fail: bool,
) -> list[str]:
    """What is not as in an engine about ``pools``, whose times come from ``profiles``.

    ``travels``: KV goes from replica to replica; ``fail``: replicas die.
    """
    engines = [pool.engine for pool in pools]
    notes = [text for engine in engines for text in engine.approximations(cache)]
    if options := drafting.common(engines, ""):
        latencies = [pool.latency.kind for pool in pools]
        notes += drafting.approximations(options, cache, latencies, travels=travels)
    if not engines[0].kv(cache, "").is_own:
        notes.append(
            f"the {cache.kind} cache stands beside the engine's memory; what it finds costs no time and no "
            "KV block is shared"
        )
    if isinstance(cache, TieredConfig) and cache.takes_time:
        notes.append("what lower tiers keep and when they are written is not an engine's detail")
    if travels:
        notes.append(
            "KV travels in one transfer per request, and the prefilling replica gives its blocks back with "
            "the first token"
        )
    if fail:
        notes.append("a replica that dies ends its iteration; its requests start anew elsewhere")
    return notes if model is None else notes + _of_model(model, pools, profiles, cache)


def _of_model(model: Model, pools: list[Pool], profiles: list[Profile], cache: EngineCache) -> list[str]:
    """What is not as in an engine about this model on these GPUs."""
    notes = []
    kinds, one_group = {group.kind for group in model.kv_groups}, groups_of(cache) == ["full"]
    if "mamba" in kinds and one_group:
        notes.append("states of linear attention are read and written in time, but take no KV blocks")
    if kinds & {"swa", "chunk"} and "full" in kinds:
        if one_group:
            notes.append("KV of layers with a window takes no blocks")
        notes.append("decodes see windows by their mean context")
    for pool, profile in zip(pools, profiles, strict=True):
        if pool.pipeline_parallel > 1:
            notes.append(
                "pipeline stages work on one step one after the other; with several steps in flight "
                f"throughput is up to {pool.pipeline_parallel} times as high"
            )
        if pool.waits_for_ranks(model):
            notes.append("a step of data parallel ranks takes as long as that of the slowest of them")
        elif pool.data_parallel > 1 and model.experts > 1:
            notes.append(
                "that data parallel ranks wait for each other in every step is not modelled: times are too "
                "short by as much as their loads differ"
            )
        if pool.parallel.gpus > 1 and profile.origin == "datasheet" and not profile.coefficients.link:
            notes.append("what GPUs send to each other takes no time")
    return notes
