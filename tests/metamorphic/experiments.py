"""Small experiments that relations are held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sim import load_config, run
from sim.result import Result

Data = dict[str, Any]
CHAT: Data = {
    "kind": "chat",
    "sessions": 12,
    "arrival": {"process": "poisson", "rate_per_s": 2.0},
    "turns": 3,
    "think_time_s": {"distribution": "exponential", "mean": 2},
    "system_prompt": {"tokens": 100},
    "user_tokens": {"distribution": "uniform", "low": 10, "high": 200},
    "reply_tokens": {"distribution": "uniform", "low": 2, "high": 60},
}
WHOLE: Data = {"warmup_s": 0, "until_s": "end"}
TOKENS = {"input_usd_per_1m": 3.0, "cached_input_usd_per_1m": 0.25, "output_usd_per_1m": 15.0}
ENGINE: Data = {
    "kind": "engine",
    "memory": {"kv_blocks": 400},
    "latency": {"kind": "linear", "token_s": 0.0001, "step_s": 0.005},
}
"""A GPU of little memory: caches evict, requests wait."""
SGLANG: Data = {
    **ENGINE,
    "engine": {"kind": "sglang"},
    "cache": {"kind": "radix"},
    "memory": {"kv_blocks": 6400},
}
REPLAY: Data = {"kind": "cache", "cache": {"kind": "block", "block_size": 16, "capacity_blocks": 100}}
HOSTED: Data = {"kind": "provider", "provider": "anthropic", "model": "claude-opus-5"}
SYSTEMS: Data = {
    "vllm": ENGINE,
    "sglang": SGLANG,
    "two": {**ENGINE, "replicas": 2, "router": "prefix"},
    "block": REPLAY,
    "radix": {"kind": "cache", "cache": {"kind": "radix", "capacity_tokens": 1500}},
    "hosted": HOSTED,
}
"""One of every sort."""


def ran(folder: Path, systems: Data, workload: Data = CHAT, **other: Any) -> Result:
    """A run of these systems."""
    path = folder / "c.yaml"
    data = {"name": "relation", "seed": 5, "workload": workload, "systems": systems, **WHOLE, **other}
    path.write_text(json.dumps(data))
    return run(load_config(path))


def summed(folder: Path, systems: Data, workload: Data = CHAT, **other: Any) -> Any:
    """The summary of that."""
    return ran(folder, systems, workload, **other).summary()
