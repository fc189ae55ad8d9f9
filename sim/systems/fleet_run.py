"""A trace through an engine system: its fleet is started, runs, and leaves its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sim.caches import EngineCache
from sim.caches.tiered import TieredConfig
from sim.engine.events import Clock
from sim.engine.kv import SharedLink, SourceOf
from sim.engine.loads import Source
from sim.engine.sglang.config import SglangEngine
from sim.engine.sources import RemotePrefill
from sim.fleet.fleet import Fleet
from sim.fleet.live import Live
from sim.fleet.plan import Failure, Hardships, ReplicaPlan
from sim.fleet.share import Share
from sim.results.records import Records
from sim.systems import deadlines
from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.systems.engine import EngineSystem


def run_fleet(
    system: EngineSystem,
    trace: Trace,
    folder: Path,
    tick: Callable[[int], None],
    cache: EngineCache,
    share: Share | None = None,
    *,
    watched: bool = False,
) -> Records:
    """One run of ``system`` with ``cache``, which keeps its steps and samples only if it is ``watched``."""
    fleet, tier_hits = fleet_of(system, trace, folder, tick, cache, share, watched=watched)
    records = finished(system, fleet.run(), cache, tier_hits)
    if share is not None:
        numbers = np.array([*share.replicas, -1])  # the last entry is that of -1: no replica
        records.replica = numbers[records.replica]
    return records


def fleet_of(
    system: EngineSystem,
    trace: Trace,
    folder: Path,
    tick: Callable[[int], None],
    cache: EngineCache,
    share: Share | None = None,
    *,
    watched: bool = True,
    live: Live | None = None,
    deadline_s: list[float] | None = None,
) -> tuple[Fleet, dict[str, int]]:
    """The replicas of ``system`` behind their router, and where hits in lower tiers are counted.

    ``live``: who sends requests while time runs; deadlines are then those in ``deadline_s``, and steps and
    samples, of which there would be no end, are not kept.
    """
    watched = watched and live is None
    tier_hits: dict[str, int] = {}
    if isinstance(cache, TieredConfig):
        tier_hits = {tier.name: 0 for tier in cache.tiers[1:]}
    hardships = _hardships(system, trace, share)
    if live is not None:
        hardships = replace(hardships, deadline_s=deadline_s)
    fleet = Fleet(
        trace,
        _plans(system, trace, folder, cache, tier_hits),
        system.router.router,
        hardships=hardships,
        record_steps=system.record_steps and watched,
        sample_s=system.sample_s if watched else None,
        tier_hits=tier_hits,
        share=share,
        tick=tick,
        live=live,
    )
    return fleet, tier_hits


def finished(
    system: EngineSystem, records: Records, cache: EngineCache, tier_hits: dict[str, int]
) -> Records:
    """``records`` of the fleet of ``system``, with what its ``cache`` counts beside."""
    if isinstance(system.all_pools[0].engine, SglangEngine) and records.evicted_blocks is not None:
        records.evicted_tokens = records.evicted_blocks * system.block_size(cache)
    if isinstance(cache, TieredConfig) and cache.takes_time:
        total = int(records.cache_read_input_tokens.sum())
        below = {tier.name: tier_hits.get(tier.name, 0) for tier in cache.tiers[1:]}
        records.hit_tokens_by_tier = {cache.tiers[0].name: total - sum(below.values()), **below}
    return records


def _plans(
    system: EngineSystem, trace: Trace, folder: Path, cache: EngineCache, tier_hits: dict[str, int]
) -> list[ReplicaPlan]:
    """The replicas of all pools: those that do both, or those that prefill before those that decode."""
    model = system.served_model(folder)
    remote: SourceOf | None = None
    if system.kv_link is not None:
        assert model is not None
        link, kv_bytes = SharedLink(system.kv_link), model.kv_bytes_per_token
        size = system.block_size(cache)

        def remote(env: Clock) -> Source:
            return RemotePrefill(link.on(env), size, kv_bytes)

    plans: list[ReplicaPlan] = []
    for role in ("both", "prefill", "decode"):
        for pool in system.all_pools:
            if pool.role == role:
                plans += pool.plans(trace, cache, model, folder, tier_hits, remote, len(plans))
    return plans


def _hardships(system: EngineSystem, trace: Trace, share: Share | None) -> Hardships:
    """What can befall the requests of ``trace``, or of a part of it on the replicas of its ``share``."""
    deadline_s = None
    if system.deadline_s is not None:
        drawn = deadlines.drawn(system.deadline_s, trace.seed, trace.requests)
        deadline_s = (drawn if trace.part is None else drawn[np.array(trace.part.numbers)]).tolist()
    replicas = share.replicas if share else range(system.ranks_in_all)
    here = {number: place for place, number in enumerate(replicas)}
    failures = tuple(
        Failure(here[f.replica], f.at_s, f.back_s) for f in system.failures if f.replica in here
    )
    return Hardships(system.max_queued_requests, deadline_s, failures, system.retries)
