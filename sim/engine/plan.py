"""What a fleet is made of and what may happen to it: replicas, limits, deadlines, failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sim.caches.block import BlockCache, Evicted
from sim.engine.latency import IterationTime
from sim.engine.options import SchedulerOptions
from sim.engine.sglang_memory import SglangMemory
from sim.engine.sglang_options import SglangEngine


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """One replica before it runs.

    ``memory`` makes its KV memory, at the start and after every failure; where steps are recorded it is
    given the callback that hears of evictions.
    """

    memory: Callable[[Evicted | None], BlockCache | SglangMemory]
    latency: IterationTime
    options: SchedulerOptions | SglangEngine = field(default_factory=SchedulerOptions)
    fast_forward: bool = True


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
