"""What is not as in an engine about a model on GPUs, for those who read the figures."""

from __future__ import annotations

from sim.caches import EngineCache
from sim.caches.groups.config import groups_of
from sim.hardware.catalogue import Model
from sim.hardware.profile import Profile
from sim.systems.pool import Pool


def approximations(
    model: Model, pools: list[Pool], profiles: list[Profile], cache: EngineCache
) -> list[str]:
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
