"""Routers: one contract for all, each one's rule, and the published order on a real trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim import load_config
from sim.caches.block import BlockCache
from sim.engine.latency import IterationTime
from sim.engine.vllm.config import SchedulerOptions
from sim.experiment import load_trace
from sim.fleet.fleet import Fleet
from sim.fleet.plan import ReplicaPlan
from sim.fleet.routers import ROUTERS, AnyRouter, RouterSetting
from sim.fleet.routers.kv_aware import KvAwareConfig
from sim.fleet.routers.prefix import PrefixConfig
from sim.fleet.routers.session import SessionConfig
from sim.hardware.coefficients import Coefficients
from sim.results.records import Records
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

PROFILE = Coefficients(step=0.002, token=2e-5, decode_kv=3e-8)


CHAT: dict[str, Any] = {
    "kind": "chat",
    "sessions": 60,
    "arrival": {"process": "poisson", "rate_per_s": 20.0},
    "turns": {"distribution": "geometric", "mean": 4},
    "think_time_s": {"distribution": "exponential", "mean": 2},
    "system_prompt": {"tokens": 200},
    "user_tokens": {"distribution": "lognormal", "mean": 80, "sigma": 1},
    "reply_tokens": 60,
}


def _chat(sessions: int = 60, rate_per_s: float = 20.0) -> Trace:
    arrival = {"process": "poisson", "rate_per_s": rate_per_s}
    return ChatWorkload.model_validate({**CHAT, "sessions": sessions, "arrival": arrival}).build(3, Path())


def _run(trace: Trace, router: str | AnyRouter, *, replicas: int = 4, fast_forward: bool = True) -> Records:
    plan = ReplicaPlan(
        memory=lambda _: BlockCache(trace.content, 16, 2000),
        latency=IterationTime(PROFILE),
        options=SchedulerOptions(2048, 128),
        fast_forward=fast_forward,
    )
    config = ROUTERS[router]() if isinstance(router, str) else router
    return Fleet(trace, [plan] * replicas, config.router).run()


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
    router = SessionConfig().router(RouterSetting(trace, 4, 0))

    class Stub:
        def __init__(self, number: int) -> None:
            self.number = number

    replicas: list[Any] = [Stub(number) for number in range(4)]
    homes: dict[int, int] = {}
    for request in range(len(trace)):
        number = router.choose(request, replicas)
        assert homes.setdefault(trace.session[request], number) == number
    shares = [list(homes.values()).count(number) / 4000 for number in range(4)]
    assert all(0.15 < share < 0.35 for share in shares)
    # Without replica 2 only its sessions move.
    for request in range(len(trace)):
        home = homes[trace.session[request]]
        moved = router.choose(request, [r for r in replicas if r.number != 2])
        assert moved == home if home != 2 else moved != 2


def test_parameters_have_a_say() -> None:
    """With thresholds that never match, or a cost that ignores prompts, routers find less."""

    def hits(router: AnyRouter) -> int:
        return int(_run(_chat(200), router).cache_read_input_tokens.sum())

    for router, blind in (
        (PrefixConfig(), PrefixConfig(cache_threshold=1.0)),
        (PrefixConfig(), PrefixConfig(max_tree_tokens=1)),
        (PrefixConfig(), PrefixConfig(balance_abs_threshold=0, balance_rel_threshold=0.0)),
        (KvAwareConfig(), KvAwareConfig(prefill_load_scale=0.0)),
        (KvAwareConfig(), KvAwareConfig(overlap_score_credit=0.0)),
    ):
        assert hits(router) > 1.15 * hits(blind), blind


def test_a_resolved_router_is_a_name_unless_more_is_set(tmp_path: Path) -> None:
    """What is written loads to the same router again."""
    for router, written in (
        ("kv_aware", "kv_aware"),
        ({"kind": "session", "points": 100}, "session"),
        ({"kind": "session", "points": 7}, {"kind": "session", "points": 7}),
    ):
        system = {"kind": "engine", "model": "llama-3-8b", "hardware": "h200", "router": router}
        config = {"name": "one", "workload": CHAT, "systems": {"one": system}}
        (tmp_path / "one.yaml").write_text(json.dumps(config))
        resolved = load_config(tmp_path / "one.yaml").resolved()
        (tmp_path / "two.yaml").write_text(resolved.to_yaml())
        assert yaml.safe_load(resolved.to_yaml())["systems"]["one"]["router"] == written
        assert load_config(tmp_path / "two.yaml").systems == resolved.systems


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
