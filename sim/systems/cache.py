"""``kind: cache``: requests one after the other through a cache, no service time, hits only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from sim.caches import CacheConfig
from sim.pricing import Price
from sim.records import TICK_REQUESTS, Records, RequestLog
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace


class CacheSystem(Schema):
    """A cache in replay. Requests come in order of arrival as if every reply took no time."""

    kind: Literal["cache"]
    cache: CacheConfig
    price: Price | None = None

    def resolved(self, key: str, folder: Path) -> CacheSystem:
        """Nothing to fill in; a replay holds no GPU, so it has no price by the hour."""
        if self.price is not None and self.price.pricing == "gpu_hours":
            raise InputError(
                f"{key}.price.gpu_hour_usd = {self.price.gpu_hour_usd}: a replay holds no GPU; "
                "allowed: input_usd_per_1m and the other token prices"
            )
        return self

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if ``trace`` cannot run here."""
        self.cache.replay(trace, f"{key}.cache")

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What the reader has to know about this system's figures."""
        return ["replay without service times: hits only"]

    def calibrated(self, folder: Path) -> bool | None:
        """None: a replay has no times."""
        return None

    def run(self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]) -> Records:
        """Serve every request; the records have arrival times but no others."""
        cache = self.cache.replay(trace, f"{key}.cache")
        log = RequestLog(trace)
        query_blocks = hit_blocks = 0
        for done, (at, request) in enumerate(trace.instant_order()):
            if done % TICK_REQUESTS == 0:
                tick(done)
            served = cache.serve(request, at)
            log.arrival_s[request] = at
            log.hit_tokens[request] = served.hit_tokens
            hit_blocks += served.hit_blocks
            query_blocks += served.query_blocks
        cache.check()
        tick(len(trace))
        records = Records.of(log)
        if query_blocks:
            records.query_blocks, records.hit_blocks = query_blocks, hit_blocks
        records.evicted_blocks = cache.evicted_blocks
        records.evicted_tokens = cache.evicted_tokens
        records.check()
        return records

    def run_without_cache(
        self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]
    ) -> Records:
        """The twin: the same requests, every prompt token computed."""
        log = RequestLog(trace)
        for at, request in trace.instant_order():
            log.arrival_s[request] = at
        records = Records.of(log)
        assert not np.any(records.cache_read_input_tokens)
        return records
