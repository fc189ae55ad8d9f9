"""Isolation of tenants: shared, salted, partitioned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import Result, load_config, run
from workloads.checking import check
from workloads.errors import InputError
from workloads.generators.chat import ChatWorkload
from workloads.tenants import salted
from workloads.trace import Trace


def _chat(sessions: int, tenants: int, shared_by: str = "all", seed: int = 0) -> Trace:
    return ChatWorkload.model_validate(
        {
            "kind": "chat",
            "sessions": sessions,
            "arrival": {"process": "poisson", "rate_per_s": 1},
            "turns": {"distribution": "geometric", "mean": 3},
            "think_time_s": 10,
            "system_prompt": {"tokens": 100, "shared_by": shared_by},
            "user_tokens": 20,
            "reply_tokens": 20,
            "tenants": tenants,
        }
    ).build(seed, Path())


def test_salted_prompts_share_only_within_a_tenant() -> None:
    """Same lengths and times; one copy of the system message per tenant."""
    trace = _chat(30, 3)
    apart = salted(trace)
    check(apart)
    assert apart.input_tokens == trace.input_tokens
    assert (apart.arrival_s, apart.follower, apart.think_s) == (
        trace.arrival_s,
        trace.follower,
        trace.think_s,
    )
    heads = {(t, apart.content.path(p)[0]) for t, p in zip(apart.tenant, apart.prompt, strict=True)}
    assert len(heads) == len(apart.system_messages) == 3
    assert len(trace.system_messages) == 1


def _run(tmp_path: Path, cache: dict[str, Any], tenants: int = 3) -> Result:
    import yaml

    config = {
        "name": "tenants",
        "workload": {
            "kind": "chat", "sessions": 40, "arrival": {"process": "poisson", "rate_per_s": 1}, "turns": 3,
            "think_time_s": 10, "system_prompt": {"tokens": 100}, "user_tokens": 20, "reply_tokens": 20,
            "tenants": tenants,
        },
        "systems": {
            kind: {"kind": "cache", "tenants": kind, "cache": cache}
            for kind in ("shared", "salted", "partitioned")
        },
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    return run(load_config(tmp_path / "c.yaml"))


def test_hits_lost_to_isolation(tmp_path: Path) -> None:
    """What salting and partitioning lose is counted, and is the difference of the hits."""
    systems = _run(tmp_path, {"kind": "block", "capacity_blocks": 90}).summary()["systems"]
    hits = {name: entry["cache"]["prefix_cache_hits_tokens"] for name, entry in systems.items()}
    lost = {name: entry["cache"]["hits_lost_to_isolation_tokens"] for name, entry in systems.items()}
    assert lost["shared"] is None
    assert hits["shared"] > hits["salted"]
    assert lost["salted"] == hits["shared"] - hits["salted"]
    assert lost["partitioned"] == hits["shared"] - hits["partitioned"]


@pytest.mark.parametrize(
    "cache", [{"kind": "message", "capacity_tokens": 900}, {"kind": "block", "capacity_blocks": 60}]
)
def test_one_tenant_loses_nothing(tmp_path: Path, cache: dict[str, Any]) -> None:
    """With a single tenant all three are the same cache."""
    runs = _run(tmp_path, cache, tenants=1).runs
    shared = runs["shared"].records.cache_read_input_tokens.tolist()
    assert runs["salted"].records.cache_read_input_tokens.tolist() == shared
    assert runs["partitioned"].records.cache_read_input_tokens.tolist() == shared


def test_partition_needs_a_capacity(tmp_path: Path) -> None:
    """An infinite cache cannot be divided, nor fewer blocks than tenants."""
    with pytest.raises(InputError, match="divides capacity_blocks or capacity_tokens among 3 tenants"):
        _run(tmp_path, {"kind": "block"})


@settings(max_examples=30)
@given(st.integers(1, 4), st.sampled_from(["all", "tenant", "session"]), st.integers(0, 5))
def test_salted_hits_never_exceed_shared_hits_in_an_infinite_cache(
    tenants: int, shared_by: str, seed: int
) -> None:
    """Infinite memory: each salted request finds at most what it finds shared."""
    from sim.caches.ideal import IdealConfig

    trace = _chat(15, tenants, shared_by, seed)
    order = trace.instant_order()
    caches = [IdealConfig(kind="ideal").replay(t, "cache") for t in (trace, salted(trace))]
    for at, request in order:
        shared, apart = (cache.serve(request, at).hit_tokens for cache in caches)
        assert apart <= shared
