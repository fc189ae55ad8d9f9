"""Running a trace through replicas in tests, and looking at them while time passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sim.caches.block import BlockCache, Evicted
from sim.caches.groups.cache import EngineMemory, GroupedCache
from sim.engine.latency import IterationTime
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.fleet import Fleet
from sim.fleet.plan import NO_HARDSHIPS, Hardships, ReplicaPlan
from sim.fleet.routers import Router, RouterSetting
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware.coefficients import Coefficients, Domain
from workloads.content import Tree
from workloads.trace import Trace

ONE_SECOND = Coefficients(step=1.0)
"""Every iteration takes one second, so that times are step numbers."""
LAST = 1 << 30


def memory_of(
    content: Tree,
    block_size: int,
    blocks: int,
    *,
    caching: bool,
    groups: Sequence[str] | None,
    eagle: bool,
    evicted: Any,
) -> EngineMemory:
    """A replica's KV memory, of several groups of layers or of one."""
    if groups is None:
        return BlockCache(content, block_size, blocks, caching=caching, evicted=evicted)
    return GroupedCache(content, block_size, blocks, groups, eagle=eagle, caching=caching, evicted=evicted)


def fleet_of(
    trace: Trace,
    *,
    blocks: int,
    block_size: int = 16,
    max_num_batched_tokens: int = 8192,
    max_num_seqs: int = 1024,
    fast_forward: bool = True,
    asynchronous: bool = False,
    replicas: int = 1,
    coefficients: Coefficients = ONE_SECOND,
    domain: Domain | None = None,
    caching: bool = True,
    groups: Sequence[str] | None = None,
    eagle: bool = False,
    evicted: Evicted | None = None,
    hardships: Hardships = NO_HARDSHIPS,
    router: Callable[[RouterSetting], Router] = RoundRobin,
    record_steps: bool = False,
    sample_s: float | None = None,
) -> Fleet:
    """A fleet with ``blocks`` KV blocks on each replica."""
    plan = ReplicaPlan(
        memory=lambda own: memory_of(
            trace.chains,
            block_size,
            blocks,
            caching=caching,
            groups=groups,
            eagle=eagle,
            evicted=evicted or own,
        ),
        latency=IterationTime(coefficients, domain),
        options=SchedulerOptions(
            max_num_batched_tokens,
            min(max_num_seqs, max_num_batched_tokens),
            async_scheduling=asynchronous,
        ),
        fast_forward=fast_forward,
    )
    return Fleet(
        trace,
        [plan] * replicas,
        router,
        hardships=hardships,
        record_steps=record_steps,
        sample_s=sample_s,
    )


def watch(fleet: Fleet, look: Callable[[float], None]) -> None:
    """Have ``look(now)`` called after everything that happens at one instant, at every instant."""
    env = fleet.env

    def after(_: None) -> None:
        look(env.now_s)
        if env.peek() < float("inf"):
            env.at(env.peek(), LAST, after)

    env.at(env.now_s, LAST, after)


def check_always(fleet: Fleet) -> Fleet:
    """Have every replica's invariants checked at every instant."""

    def look(now: float) -> None:
        for replica in fleet.replicas:
            replica.check()

    watch(fleet, look)
    return fleet
