"""One cache per tenant, each with its share of the capacity."""

from __future__ import annotations

from typing import Any

from sim.caches.base import ReplayCache, Served
from sim.caches.replay import BlockConfig
from workloads.errors import InputError
from workloads.trace import Trace

CAPACITIES = ("capacity_blocks", "capacity_tokens")


class PartitionedCache:
    """Routes every request to its tenant's own cache."""

    def __init__(self, trace: Trace, caches: dict[int, ReplayCache]) -> None:
        self._tenant = trace.tenant
        self._caches = caches

    @property
    def evicted_blocks(self) -> int | None:
        return _total([cache.evicted_blocks for cache in self._caches.values()])

    @property
    def evicted_tokens(self) -> int | None:
        return _total([cache.evicted_tokens for cache in self._caches.values()])

    def serve(self, request: int, at_s: float) -> Served:
        """Serve from the tenant's cache."""
        return self._caches[self._tenant[request]].serve(request, at_s)

    def check(self) -> None:
        """Assert every partition's invariants."""
        for cache in self._caches.values():
            cache.check()


def partitioned(config: Any, trace: Trace, key: str) -> PartitionedCache:
    """A cache like ``config`` per tenant of ``trace``, its capacity divided equally (rounded down).

    Raises InputError if the cache has no capacity of its own to divide.
    """
    part = part_of(config, trace, key)
    shared = {"future": part.future(trace)} if isinstance(part, BlockConfig) else {}
    caches = {tenant: part.replay(trace, key, **shared) for tenant in sorted(set(trace.tenant))}
    return PartitionedCache(trace, caches)


def part_of(config: Any, trace: Trace, key: str) -> Any:
    """``config`` with the capacity of one tenant; InputError if there is none to divide."""
    tenants = set(trace.tenant)
    shares = {
        name: value // len(tenants)
        for name in CAPACITIES
        if (value := getattr(config, name, None)) is not None
    }
    if not shares or not all(shares.values()):
        raise InputError(
            f"{key}: tenants: partitioned divides capacity_blocks or capacity_tokens among "
            f"{len(tenants)} tenants; allowed: a cache with a capacity of at least that many"
        )
    return config.model_copy(update=shares)


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
