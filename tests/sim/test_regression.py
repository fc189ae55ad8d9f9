"""Golden outputs of two small runs. Accept a wanted change with `make goldens` and read the diff."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sim import load_config, run
from tests.sim.small import write_small_mooncake


def _steady(value: Any) -> Any:
    """A summary without what depends on the machine; floats to nine significant digits.

    The last digits of exp() and log() differ between processors.
    """
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if key != "version"}
    if isinstance(value, list):
        return [_steady(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_quickstart_small(root: Path, data_regression: Any) -> None:
    """Forty chats on one GPU with little KV memory, so that eviction and preemption happen."""
    settings = [
        "workload.sessions=40",
        "workload.arrival.rate_per_s=50",
        "workload.think_time_s=1",
        "workload.system_prompt.tokens=200",
        "workload.turns=4",
        "workload.reply_tokens=300",
        "systems.vllm-h200.memory.kv_blocks=331",
    ]
    summary: Any = run(load_config(root / "configs/quickstart.yaml", settings)).summary()
    assert summary["systems"]["vllm-h200"]["cache"]["evicted_blocks"] > 0
    assert summary["systems"]["vllm-h200"]["cache"]["num_preemptions"] > 0
    data_regression.check(_steady(summary))


def test_mooncake_small(root: Path, tmp_path: Path, data_regression: Any) -> None:
    """The systems of configs/mooncake.yaml, with smaller caches, on a trace of our own."""
    write_small_mooncake(tmp_path / "small.jsonl")
    settings = [
        f"workload.path={tmp_path / 'small.jsonl'}",
        "systems.replay-30k.cache.capacity_blocks=100",
        "systems.blocks-16.cache.capacity_blocks=3200",
        "systems.fleet.memory.kv_blocks=1201",
    ]
    summary: Any = run(load_config(root / "configs/mooncake.yaml", settings)).summary()
    assert summary["systems"]["blocks-16"]["cache"]["evicted_blocks"] > 0
    data_regression.check(_steady(summary))
