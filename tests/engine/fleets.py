"""Fleets of every kind for tests: tiers, prefill and decode apart, any option of either engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.caches.off import NoCache
from sim.caches.radix_replay import RadixConfig
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig
from sim.engine.kv import KvSetting, SharedLink
from sim.engine.latency import IterationTime
from sim.engine.link import LinkSpeed
from sim.engine.sglang.config import SglangEngine
from sim.engine.sources import RemotePrefill
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.memory import kind_of
from sim.fleet.fleet import Fleet
from sim.fleet.plan import NO_HARDSHIPS, Hardships, ReplicaPlan
from sim.fleet.routers import Router, RouterSetting
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware.coefficients import Coefficients
from tests.engine.driving import ONE_SECOND
from workloads.trace import Trace

GB = 10**9
"""Bytes of a token here, so that a link of 1 GB/s carries one a second."""


def tiers_of(
    host: int | None,
    disk: int | None = None,
    *,
    block_size: int = 1,
    write: str = "write_through",
    gb_per_s: float = 1.0,
    latency_ms: float = 0.0,
) -> TieredConfig:
    """A GPU over ``host`` blocks and, if given, ``disk`` blocks, behind links of one speed."""
    speed = {"gb_per_s": gb_per_s, "latency_ms": latency_ms}
    tiers: list[dict[str, Any]] = [{"name": "gpu"}, {"name": "host", "capacity_blocks": host, **speed}]
    if disk is not None:
        tiers.append({"name": "disk", "capacity_blocks": disk, **speed})
    return TieredConfig.model_validate(
        {"kind": "tiered", "block_size": block_size, "tiers": tiers, "write": write}
    )


def any_fleet(
    trace: Trace,
    blocks: int,
    options: SchedulerOptions | SglangEngine,
    *,
    block_size: int = 1,
    caching: bool = True,
    tiers: TieredConfig | None = None,
    hits: dict[str, int] | None = None,
    link: LinkSpeed | None = None,
    replicas: int = 1,
    decoders: int = 1,
    fast_forward: bool = True,
    record_steps: bool = False,
    coefficients: Coefficients = ONE_SECOND,
    decode_coefficients: Coefficients | None = None,
    hardships: Hardships = NO_HARDSHIPS,
    router: Callable[[RouterSetting], Router] = RoundRobin,
    sample_s: float | None = None,
) -> Fleet:
    """``replicas`` replicas, over ``tiers`` or not; with a ``link`` they prefill for ``decoders`` more."""
    sglang = isinstance(options, SglangEngine)
    cache: Any = BlockConfig(kind="block", block_size=block_size)
    if sglang:
        cache = RadixConfig(kind="radix", page_size=block_size)
    if tiers is not None:
        cache = tiers.model_copy(update={"cache": "radix" if sglang else "block"})
    if not caching:
        cache = NoCache(kind="none", block_size=block_size)

    def plans(count: int, role: Any, times: Coefficients, source: Any = None) -> list[ReplicaPlan]:
        setting = KvSetting(trace, blocks, GB, {} if hits is None else hits, tiers=role != "decode")
        made = []
        for _ in range(count):
            kind = options.kv(cache, "") if isinstance(options, SglangEngine) else kind_of(cache)
            memory, own = kind.parts(cache, setting)
            plan = ReplicaPlan(
                memory, IterationTime(times), options, fast_forward, source or own, role=role
            )
            made.append(plan)
        return made

    if link is None:
        found = plans(replicas, "both", coefficients)
    else:
        shared = SharedLink(link)
        found = plans(replicas, "prefill", coefficients)
        found += plans(
            decoders,
            "decode",
            decode_coefficients or coefficients,
            lambda env: RemotePrefill(shared.on(env), block_size, GB),
        )
    return Fleet(trace, found, router, hardships=hardships, record_steps=record_steps, sample_s=sample_s)
