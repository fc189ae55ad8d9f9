"""Tiers under the block cache, against sets of single blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import load_config, run
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig
from tests.oracles.naive_tiers import serve_naively
from workloads.errors import InputError
from workloads.generators.script import ScriptWorkload
from workloads.trace import Trace

LENGTHS = {"a": 2, "b": 3, "c": 4, "d": 6, "reply": 2}
POLICIES = ("write_through", "write_through_selective", "write_back")


def _script(prompts: list[list[str]]) -> Trace:
    requests = [{"prompt": prompt, "reply": "reply", "at_s": float(i)} for i, prompt in enumerate(prompts)]
    workload = ScriptWorkload.model_validate({"kind": "script", "messages": LENGTHS, "requests": requests})
    return workload.build(0, Path())


def _serve(trace: Trace, **config: Any) -> list[dict[str, int]]:
    tiers = [{"name": name, "capacity_blocks": n} for name, n in config.pop("tiers").items()]
    cache = TieredConfig.model_validate({"kind": "tiered", "tiers": tiers, **config}).replay(trace, "cache")
    found = []
    for at, request in trace.instant_order():
        found.append(dict(cache.serve(request, at).tiers))
        cache.check()
    return found


# Eight tokens and a reply of two: nine blocks of one token with KV. The GPU holds ten.
PAIR = [["b", "a", "b"], ["d", "a"], ["b", "a", "b"]]


def test_what_the_gpu_evicted_is_found_below() -> None:
    """The other prompt displaces all but one block of the first; the host has the rest of its seven."""
    tiers = {"gpu": 10, "host": 100}
    through = _serve(_script(PAIR), tiers=tiers, block_size=1, write="write_through")
    back = _serve(_script(PAIR), tiers=tiers, block_size=1, write="write_back")
    assert through == back == [{}, {}, {"gpu": 1, "host": 6}]


def test_selective_writes_at_the_second_use() -> None:
    """Once used, a prompt is not below; used twice, it is."""
    tiers = {"gpu": 10, "host": 100}
    once = _serve(_script(PAIR), tiers=tiers, block_size=1, write="write_through_selective")
    assert once == [{}, {}, {"gpu": 1}]
    twice = _serve(_script([PAIR[0], *PAIR]), tiers=tiers, block_size=1, write="write_through_selective")
    assert sum(twice[3].values()) == 7


def test_disk_below_a_small_host() -> None:
    """A host of two blocks keeps the shallow ones; the disk serves what follows."""
    found = _serve(
        _script(PAIR), tiers={"gpu": 10, "host": 2, "disk": None}, block_size=1, write="write_back"
    )
    assert sum(found[2].values()) == 7
    assert found[2]["disk"] > 0


@pytest.mark.parametrize("write", POLICIES)
@given(
    lists=st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), min_size=1, max_size=10),
    gpu=st.integers(20, 30),
    host=st.integers(1, 30),
    disk=st.one_of(st.none(), st.integers(1, 40)),
    size=st.integers(1, 3),
)
def test_against_single_blocks(
    lists: list[list[str]], gpu: int, host: int, disk: int | None, size: int, write: str
) -> None:
    """Every tier serves the same tokens to every request."""
    trace = _script(lists)
    tiers = {"gpu": gpu, "host": host, "disk": disk}
    expected = serve_naively(trace, gpu, {"host": host, "disk": disk}, size, write)
    assert _serve(trace, tiers=tiers, block_size=size, write=write) == expected


@pytest.mark.parametrize("write", ["write_through", "write_back"])
@given(
    lists=st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), min_size=1, max_size=10),
    cache=st.sampled_from(["block", "radix"]),
    size=st.integers(1, 3),
)
def test_endless_lower_tier_makes_an_endless_cache(
    lists: list[list[str]], cache: str, size: int, write: str
) -> None:
    """With no limit below, hits are those of an infinite cache, whatever manages the GPU."""
    trace = _script(lists)
    infinite = BlockConfig(kind="block", block_size=size).replay(trace, "cache")
    expected = [infinite.serve(request, at).hit_tokens for at, request in trace.instant_order()]
    tiers = {"gpu": 24, "host": None}
    found = _serve(trace, tiers=tiers, block_size=size, cache=cache, write=write)
    assert [sum(tiers.values()) for tiers in found] == expected


def test_capacities_in_gigabytes(tmp_path: Path) -> None:
    """As many blocks as the KV of the model allows: 8 GB are 3,814 blocks of 16 x 131,072 bytes."""
    chat = {
        "kind": "chat", "sessions": 2, "turns": 2, "think_time_s": 5, "user_tokens": 20, "reply_tokens": 30,
        "system_prompt": {"tokens": 40}, "arrival": {"process": "poisson", "rate_per_s": 0.5},
    }  # fmt: skip
    tiers = [{"name": "gpu", "capacity_blocks": 50}, {"name": "host", "capacity_gb": 8}]
    timed = [{"name": "gpu", "capacity_gb": 4}, {"name": "host", "capacity_gb": 8, "gb_per_s": 20}]
    systems: dict[str, Any] = {
        "replay": {"kind": "cache", "model": "llama-3.1-8b", "cache": {"kind": "tiered", "tiers": tiers}},
        "engine": {
            "kind": "engine", "model": "llama-3.1-8b", "hardware": "h200", "tensor_parallel": 2,
            "cache": {"kind": "tiered", "tiers": timed},
        },
    }  # fmt: skip
    path = tmp_path / "tiers.yaml"
    path.write_text(json.dumps({"name": "tiers", "workload": chat, "systems": systems}))
    config = load_config(path)
    sizes = {}
    for name, system in config.systems.items():
        cache: Any = system.cache  # type: ignore[union-attr]
        sizes[name] = [tier.capacity_blocks for tier in cache.tiers]
        assert all(tier.capacity_gb is None for tier in cache.tiers), "the resolved file says blocks"
    host = int(8e9 // (16 * 131_072))
    assert sizes == {"replay": [50, host], "engine": [int(4e9 // (16 * 131_072)), host]}
    assert run(config).runs["replay"].records.hit_blocks
    del systems["replay"]["model"]
    path.write_text(json.dumps({"name": "tiers", "workload": chat, "systems": systems}))
    with pytest.raises(
        InputError, match=r"systems.replay.cache.tiers.1.capacity_gb = 8; allowed: with model"
    ):
        load_config(path)
    tiers[1]["capacity_blocks"] = 5
    path.write_text(json.dumps({"name": "tiers", "workload": chat, "systems": systems}))
    with pytest.raises(InputError, match=r"tiers\.1 has capacity_blocks and capacity_gb"):
        load_config(path)
    tiers[1] = {"name": "host", "capacity_gb": 1e-9}
    systems["replay"]["model"] = "llama-3.1-8b"
    path.write_text(json.dumps({"name": "tiers", "workload": chat, "systems": systems}))
    with pytest.raises(InputError, match=r"capacity_gb = 1e-09; allowed: at least a block"):
        load_config(path)
