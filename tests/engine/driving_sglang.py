"""Running a trace through replicas with SGLang's scheduler in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.caches.block import Evicted
from sim.engine.latency import IterationTime
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.replica import SglangReplica
from sim.engine.step_records import StepRecord
from sim.fleet.fleet import Fleet
from sim.fleet.plan import NO_HARDSHIPS, Hardships, ReplicaPlan
from sim.fleet.routers import Router, RouterSetting
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware.coefficients import Coefficients
from tests.engine.driving import ONE_SECOND
from workloads.trace import Trace


def sglang_fleet(
    trace: Trace,
    *,
    pages: int,
    page_size: int = 1,
    eviction: str = "lru",
    caching: bool = True,
    chunked_prefill_size: int = 8192,
    max_running_requests: int = 1024,
    disable_overlap_schedule: bool = True,
    fast_forward: bool = True,
    replicas: int = 1,
    record_steps: bool = False,
    coefficients: Coefficients = ONE_SECOND,
    evicted: Evicted | None = None,
    hardships: Hardships = NO_HARDSHIPS,
    router: Callable[[RouterSetting], Router] = RoundRobin,
    **options: Any,
) -> Fleet:
    """A fleet with ``pages`` KV pages on each replica; ``options`` as in ``engine: {kind: sglang}``."""
    engine = SglangEngine(
        kind="sglang",
        chunked_prefill_size=chunked_prefill_size,
        max_running_requests=max_running_requests,
        disable_overlap_schedule=disable_overlap_schedule,
        **options,
    )
    plan = ReplicaPlan(
        memory=lambda recorded: SglangMemory(
            trace.chains, page_size, pages, eviction=eviction, caching=caching, evicted=recorded or evicted
        ),
        latency=IterationTime(coefficients),
        options=engine,
        fast_forward=fast_forward,
    )
    return Fleet(trace, [plan] * replicas, router, hardships=hardships, record_steps=record_steps)


def steps_of(fleet: Fleet) -> list[StepRecord]:
    """What the first replica recorded."""
    replica = fleet.replicas[0]
    assert isinstance(replica, SglangReplica) and replica.recorder is not None
    return replica.recorder.records
