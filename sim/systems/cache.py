"""``kind: cache``: requests one after the other through a cache, no service time, hits only."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np

from sim.caches import CacheConfig, NoCache
from sim.caches.base import ReplayCache, too_long, too_long_note
from sim.caches.partitioned import part_of, partitioned
from sim.caches.tiered import TieredConfig
from sim.fleet.garbage import no_garbage_collection
from sim.hardware import catalogue
from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.request_log import COMPLETED, TICK_REQUESTS, RequestLog
from sim.results.window import Checkpoint
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.tenants import salted
from workloads.trace import Trace


class CacheSystem(Schema):
    """A cache in replay. Requests come in order of arrival as if every reply took no time.

    ``tenants``: ``shared`` (who sends equal content shares it), ``salted`` (one pool, but no tenant
    hits what another one sent), ``partitioned`` (a cache per tenant with an equal part of the
    capacity). For the latter two the cache is also replayed shared, to tell the hits that are lost.
    ``model`` is needed only for tiers whose capacity is in gigabytes: its KV has a size.
    """

    kind: Literal["cache"]
    model: str | None = None
    """The model whose KV gives tiers in gigabytes a number of blocks; left out where nothing needs it."""
    cache: CacheConfig
    """The cache that is replayed."""
    tenants: Literal["shared", "salted", "partitioned"] = "shared"
    """What tenants share: `shared` (everything), `salted` (the pool, no content), `partitioned` (nothing).
    """
    price: Price | None = None
    """Token prices, so that hits become dollars."""

    def resolved(self, key: str, folder: Path) -> CacheSystem:
        """Capacities of tiers in blocks; a replay holds no GPU, so it has no price by the hour."""
        if self.price is not None and self.price.pricing == "gpu_hours":
            raise InputError(
                f"{key}.price.gpu_hour_usd = {self.price.gpu_hour_usd}: a replay holds no GPU; "
                "allowed: input_usd_per_1m and the other token prices"
            )
        model = catalogue.model(self.model, folder, f"{key}.model") if self.model else None
        if isinstance(self.cache, TieredConfig):
            sized = self.cache.sized(None if model is None else model.kv_bytes_per_token, f"{key}.cache")
            return self.model_copy(update={"cache": sized})
        return self

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if ``trace`` cannot run here."""
        self._fresh(trace, key)

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What the reader has to know about this system's figures."""
        cache = self.cache
        if self.tenants == "partitioned":
            cache = part_of(cache, trace, "cache")
        over = too_long_note(too_long(cache, trace), trace.requests)
        return [*over, "replay without service times: hits only"]

    def calibrated(self, folder: Path) -> bool | None:
        """None: a replay has no times."""
        return None

    def run(self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]) -> Records:
        """Serve every request; the records have arrival times but no others."""
        isolated = trace if self.tenants == "shared" else salted(trace)
        records = _replay(isolated, self._fresh(isolated, key), tick)
        records.bounded = self._bounded
        if self.tenants != "shared":
            shared = _replay(trace, self.cache.replay(trace, f"{key}.cache"), tick)
            lost = shared.cache_read_input_tokens - records.cache_read_input_tokens
            records.hits_lost_to_isolation_tokens = lost
        return records

    def run_without_cache(
        self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]
    ) -> Records:
        """The twin: the same requests, every prompt token computed."""
        log = RequestLog(trace)
        for at, request in trace.instant_order():
            log.arrival_s[request] = at
            log.end(request, COMPLETED)
        records = Records.of(log)
        assert not np.any(records.cache_read_input_tokens)
        return records

    @property
    def _bounded(self) -> bool:
        """Whether the cache, or its lowest tier, has a capacity."""
        lowest = self.cache.tiers[-1] if isinstance(self.cache, TieredConfig) else self.cache
        sizes = (getattr(lowest, key, None) for key in ("capacity_blocks", "capacity_tokens"))
        return not isinstance(lowest, NoCache) and any(size is not None for size in sizes)

    def _fresh(self, trace: Trace, key: str) -> ReplayCache:
        if self.tenants == "partitioned":
            return partitioned(self.cache, trace, f"{key}.cache")
        return self.cache.replay(trace, f"{key}.cache")


def _replay(trace: Trace, cache: ReplayCache, tick: Callable[[int], None]) -> Records:
    log = RequestLog(trace)
    query_blocks = hit_blocks = 0
    tiers: dict[str, int] = {}
    checkpoints: list[Checkpoint] = []
    times_s = [*trace.checkpoints_s, inf]

    def note(at_s: float) -> None:
        evicted = cache.evicted_blocks, cache.evicted_tokens
        counted = Checkpoint(at_s, None, *evicted, query_blocks, hit_blocks, dict(tiers))
        counted.full = any(evicted)
        checkpoints.append(counted)

    with no_garbage_collection():
        for done, (at, request) in enumerate(trace.instant_order()):
            if done % TICK_REQUESTS == 0:
                tick(done)
            while at >= times_s[len(checkpoints)]:
                note(times_s[len(checkpoints)])
            served = cache.serve(request, at)
            log.arrival_s[request] = at
            log.end(request, COMPLETED)
            log.hit_tokens[request] = served.hit_tokens
            hit_blocks += served.hit_blocks
            query_blocks += served.query_blocks
            for tier, tokens in served.tiers:
                tiers[tier] = tiers.get(tier, 0) + tokens
                log.tier[request] = tier  # the slowest one comes last
    cache.check()
    tick(len(trace))
    records = Records.of(log)
    if query_blocks:
        records.query_blocks, records.hit_blocks = query_blocks, hit_blocks
    records.evicted_blocks = cache.evicted_blocks
    records.evicted_tokens = cache.evicted_tokens
    records.hit_tokens_by_tier = tiers
    note(max(at, checkpoints[-1].at_s if checkpoints else at))
    records.checkpoints = checkpoints
    records.check()
    return records
