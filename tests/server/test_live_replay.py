"""What a live system did, the ordinary simulation does with its traffic: hits, order, evictions."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.config import Config
from tests.server.live import Chats, engine, hosted, replay, same, serve

SEEDS = st.integers(0, 10**6)
GB = {"gb_per_s": 1.0, "latency_ms": 1.0}


def tiers(cache: str, write: str) -> dict[str, Any]:
    """Two small tiers below a small memory."""
    below = [{"name": "host", "capacity_blocks": 12, **GB}, {"name": "disk", "capacity_blocks": 30, **GB}]
    return {
        "kind": "tiered",
        "cache": cache,
        "block_size": 4,
        "write": write,
        "tiers": [{"name": "gpu", "capacity_blocks": 60}, *below],
    }


EAGLE = {"method": "eagle", "model": "llama-3-8b", "num_speculative_tokens": 2, "acceptance_rate": 0.6}
SGLANG = {"engine": {"kind": "sglang"}}
MEMORIES: dict[str, dict[str, Any]] = {
    "blocks of 4": {"cache": {"kind": "block", "block_size": 4}},
    "blocks of 16": {"cache": {"kind": "block", "block_size": 16}, "memory": {"kv_blocks": 22}},
    "ttl": {"cache": {"kind": "block", "block_size": 4, "eviction": "ttl", "ttl_s": 0.4}},
    "replies not cached": {"cache": {"kind": "block", "block_size": 4, "cache_reply": False}},
    "groups": {
        "cache": {"kind": "block", "block_size": 4, "groups": ["full", "swa:12"]},
        "memory": {"kv_blocks": 130},
    },
    "states": {
        "cache": {"kind": "block", "block_size": 4, "groups": ["full", "mamba:align"]},
        "memory": {"kv_blocks": 130},
    },
    "off": {"cache": {"kind": "none", "block_size": 4}},
    "ideal": {"cache": {"kind": "ideal"}},
    "messages": {"cache": {"kind": "message", "capacity_tokens": 400}},
    "layers": {"cache": {"kind": "layered"}},
    "tiers": {"cache": tiers("block", "write_through"), "model": "llama-3-8b", "memory": {}},
    "selective tiers": {
        "cache": tiers("block", "write_through_selective"),
        "model": "llama-3-8b",
        "memory": {},
    },
    "drafts": {
        "cache": {"kind": "block", "block_size": 4},
        "engine": {
            "kind": "vllm",
            "speculative": {"method": "ngram", "num_speculative_tokens": 3, "acceptance_rate": 0.6},
        },
    },
    "hashes that look ahead": {
        "cache": {"kind": "block", "block_size": 4},
        "engine": {"kind": "vllm", "speculative": EAGLE},
    },
    "a hit loses its last block": {
        "cache": {"kind": "block", "block_size": 4},
        "engine": {"kind": "vllm", "speculative": {**EAGLE, "disable_lookahead_block_hashes": True}},
    },
    "synchronous": {
        "cache": {"kind": "block", "block_size": 4},
        "engine": {"kind": "vllm", "async_scheduling": False, "max_num_batched_tokens": 64},
    },
    "ranks that step together": {
        "cache": {"kind": "block", "block_size": 4, "groups": ["full"]},
        "model": "gpt-oss-20b",
        "data_parallel": 2,
    },
    "radix": {**SGLANG, "memory": {"kv_blocks": 240}},
    "radix pages of 4": {**SGLANG, "cache": {"kind": "radix", "page_size": 4}},
    "radix tiers": {
        **SGLANG,
        "cache": tiers("radix", "write_through"),
        "model": "llama-3-8b",
        "memory": {},
    },
}
ROUTERS: list[Any] = [
    "round_robin", "random", "least_loaded", "power_of_two", "session", "kv_aware",
    {"kind": "prefix", "max_tree_tokens": 150, "cache_threshold": 0.1},
]  # fmt: skip
GRID = {"granularity": 4, "first_tokens": 8}
ROUTED = {"routing": {"prefix_tokens": 24, "rpm": 6}}
PROVIDERS: dict[str, dict[str, Any]] = {
    "anthropic": {"provider": "anthropic", "model": "claude-opus-4-6"},
    "anthropic 1h": {
        "provider": "anthropic", "model": "claude-opus-4-6", "caching": {"mode": "explicit", "ttl": "1h"},
    },
    "openai old": {"provider": "openai", "model": "gpt-5.4", "rules": {**GRID, **ROUTED}},
    "openai new": {"provider": "openai", "model": "gpt-5.6", "rules": ROUTED},
    "openai explicit": {
        "provider": "openai", "model": "gpt-5.6", "caching": {"mode": "explicit"}, "rules": ROUTED,
    },
    "deepseek": {"provider": "deepseek", "model": "deepseek-v4-flash"},
    "gemini": {"provider": "gemini", "model": "gemini-3.1-pro-preview"},
    "gemini objects": {
        "provider": "gemini", "model": "gemini-3.1-pro-preview", "caching": {"mode": "explicit"},
    },
    "a part is not stored": {
        "provider": "custom", "model": "x", "price": {"input_usd_per_1m": 1, "output_usd_per_1m": 1},
        "rules": {"kind": "grid", "lifetimes": [{"name": "5m", "seconds": 1.5}], "unstored_tokens": 7},
    },
    "off": {"provider": "anthropic", "model": "claude-opus-4-6", "caching": {"mode": "off"}},
}  # fmt: skip
quickly = settings(max_examples=6, derandomize=True)


def live_is_replay(config: Config, seed: int, **chats: Any) -> None:
    """Chats of ``seed``, live and again."""
    with TemporaryDirectory() as folder:
        live, records = serve(config, Chats(seed, **chats))
        _, again = replay(live, Path(folder))
        same(records, again)


@pytest.mark.parametrize("memory", MEMORIES)
@given(seed=SEEDS)
@quickly
def test_every_memory(memory: str, seed: int) -> None:
    """Small memories that evict: an online run is the static run of the same requests."""
    live_is_replay(engine(**MEMORIES[memory]), seed)


@pytest.mark.parametrize("router", ROUTERS, ids=str)
@given(seed=SEEDS)
@quickly
def test_every_router(router: Any, seed: int) -> None:
    """Routers that keep what they sent where are told of cuts."""
    live_is_replay(engine(router=router, replicas=3, cache={"kind": "block", "block_size": 4}), seed)


@pytest.mark.parametrize("provider", PROVIDERS)
@given(seed=SEEDS)
@quickly
def test_every_kind_of_provider(provider: str, seed: int) -> None:
    """Stores and machines are told of cuts; marks and keys are those of the requests. Minimums are low,
    because prompts are short."""
    parts = PROVIDERS[provider]
    live_is_replay(hosted(**parts | {"rules": {"min_tokens": 8} | parts.get("rules", {})}), seed, chats=8)
