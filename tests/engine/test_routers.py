"""Routers: one contract for all, each one's rule, and the published order on a real trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import load_config
from sim.caches.block import BlockCache
from sim.engine.latency import IterationTime
from sim.engine.vllm.config import SchedulerOptions
from sim.experiment import load_trace
from sim.fleet.fleet import Fleet
from sim.fleet.plan import ReplicaPlan
from sim.fleet.routers import ROUTERS, RouterSetting
from sim.fleet.routers.session import Session
from sim.hardware.profile import Coefficients
from sim.results.records import Records
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

PROFILE = Coefficients(step=0.002, token=2e-5, decode_kv=3e-8)


def _chat(sessions: int = 60, rate_per_s: float = 20.0) -> Trace:
    return ChatWorkload.model_validate(
        {
            "kind": "chat",
            "sessions": sessions,
            "arrival": {"process": "poisson", "rate_per_s": rate_per_s},
            "turns": {"distribution": "geometric", "mean": 4},
            "think_time_s": {"distribution": "exponential", "mean": 2},
            "system_prompt": {"tokens": 200},
            "user_tokens": {"distribution": "lognormal", "mean": 80, "sigma": 1},
            "reply_tokens": 60,
        }
    ).build(3, Path())


def _run(trace: Trace, router: str, *, replicas: int = 4, fast_forward: bool = True) -> Records:
    plan = ReplicaPlan(
        memory=lambda _: BlockCache(trace.content, 16, 2000),
        latency=IterationTime(PROFILE),
        options=SchedulerOptions(2048, 128),
        fast_forward=fast_forward,
    )
    return Fleet(trace, [plan] * replicas, ROUTERS[router]).run()


@pytest.mark.parametrize("router", ROUTERS)
def test_every_router_serves_everything(router: str) -> None:
    """Each request ends once, on an existing replica; the same run twice gives the same records."""
    trace = _chat()
    one, two = _run(trace, router), _run(trace, router)
    assert ((one.replica >= 0) & (one.replica < 4)).all()
    assert (one.finished_s == two.finished_s).all()
    assert (one.replica == two.replica).all()


@pytest.mark.parametrize("router", ROUTERS)
def test_one_replica_is_one_replica(router: str) -> None:
    """With nothing to choose all routers give the same run."""
    trace = _chat(20)
    assert (
        _run(trace, router, replicas=1).finished_s == _run(trace, "round_robin", replicas=1).finished_s
    ).all()


@pytest.mark.parametrize("router", ROUTERS)
def test_fast_forward_shows_routers_the_same_replicas(router: str) -> None:
    """Load, held blocks and residency in the middle of a run of iterations are what single steps give."""
    trace = _chat()
    fast, slow = _run(trace, router), _run(trace, router, fast_forward=False)
    assert (fast.replica == slow.replica).all()
    assert fast.finished_s == pytest.approx(slow.finished_s, abs=1e-9)


def test_sessions_stay_and_spread() -> None:
    """Consistent hashing: one replica per session, every replica near a quarter of 4,000 sessions."""
    trace = _chat(4000, rate_per_s=1000.0)
    router = Session(RouterSetting(trace, 4, 0))

    class Stub:
        def __init__(self, number: int) -> None:
            self.number = number

    replicas = [Stub(number) for number in range(4)]
    homes: dict[int, int] = {}
    for request in range(len(trace)):
        number = router.choose(request, replicas)  # type: ignore[arg-type]
        assert homes.setdefault(trace.session[request], number) == number
    shares = [list(homes.values()).count(number) / 4000 for number in range(4)]
    assert all(0.15 < share < 0.35 for share in shares)
    # Without replica 2 only its sessions move.
    for request in range(len(trace)):
        home = homes[trace.session[request]]
        moved = router.choose(request, [r for r in replicas if r.number != 2])  # type: ignore[arg-type]
        assert moved == home if home != 2 else moved != 2


def test_cache_aware_routers_find_more() -> None:
    """Sessions whose turns meet their own history: session, prefix and kv_aware hit more than random."""
    trace = _chat(200)
    hits = {name: int(_run(trace, name).cache_read_input_tokens.sum()) for name in ROUTERS}
    assert min(hits["session"], hits["prefix"], hits["kv_aware"]) > 1.2 * hits["random"]


def test_published_order(root: Path, mooncake_file: Path) -> None:
    """Mean TTFT on the conversation trace: cache-aware < least loaded < random (Mooncake, Figure 5)."""
    config = load_config(root / "configs/studies/routing.yaml", [f"workload.path={mooncake_file}"])
    trace = load_trace(config)

    def ttft(name: str) -> float:
        records = config.systems[name].run(trace, f"systems.{name}", config.folder, lambda done: None)
        return float((records.first_token_s - records.arrival_s).mean())

    assert ttft("kv-aware") < ttft("prefix") < ttft("least-loaded") < ttft("random")
