"""What a fleet is made of and what may happen to it: replicas, limits, deadlines, failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import simpy

from sim.caches.block import BlockCache, Evicted
from sim.engine.latency import IterationTime
from sim.engine.loading import Source
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.engine.vllm.config import SchedulerOptions
from sim.results.records import RequestLog

MemoryOf = Callable[[Evicted | None], BlockCache | SglangMemory]
SourceOf = Callable[[simpy.Environment, RequestLog, int], Source]
"""Makes the source of a replica, from its clock, the table it fills and its block size."""


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """One replica before it runs.

    ``memory`` makes its KV memory, at the start and after every failure; where steps are recorded it is
    given the callback that hears of evictions.
    """

    memory: MemoryOf
    latency: IterationTime
    options: SchedulerOptions | SglangEngine = field(default_factory=SchedulerOptions)
    fast_forward: bool = True
    source: SourceOf | None = None
    """What brings in KV from lower tiers; it and ``memory`` are made for the same replica, memory first."""
    gpus: int = 1
    """GPUs that work together as this replica."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Replica ``replica`` dies at ``at_s`` and comes back without content at ``back_s`` (None: never)."""

    replica: int
    at_s: float
    back_s: float | None


@dataclass(frozen=True, slots=True)
class Hardships:
    """What can keep a request from being served."""

    max_queued_requests: int | None = None
    """Waiting requests of a replica; one more is rejected. None: no bound."""
    deadline_s: list[float] | None = None
    """Seconds after its arrival at which a request's client gives up, one per request of the trace."""
    failures: tuple[Failure, ...] = ()


NO_HARDSHIPS = Hardships()
