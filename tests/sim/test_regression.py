"""Golden outputs of two small runs. Accept a wanted change with `make goldens` and read the diff."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim import load_config, run
from tests.sim.small import write_small_mooncake

TIMING = {"load_s", "simulation_s", "simulated_requests_per_s", "python", "version"}


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    """Every leaf of a summary by dotted key, what depends on the machine left out."""
    if isinstance(value, dict):
        items = [(k, v) for k, v in value.items() if k not in TIMING]
        return {key: leaf for k, v in items for key, leaf in _flat(v, f"{at}.{k}" if at else k).items()}
    return {at: value}


def _check(summary: dict[str, Any], data_regression: Any, num_regression: Any) -> None:
    leaves = _flat(summary)
    numbers = {k: v for k, v in leaves.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    others = {k: v for k, v in leaves.items() if k not in numbers}
    tolerance = {"rtol": 1e-9, "atol": 0}  # the last digits of exp() differ between processors
    num_regression.check({k: [float(v)] for k, v in numbers.items()}, default_tolerance=tolerance)
    data_regression.check(others)


def test_quickstart_small(root: Path, data_regression: Any, num_regression: Any) -> None:
    """Forty chats on one GPU with little KV memory, so that eviction and preemption happen."""
    settings = [
        "workload.sessions=40",
        "workload.arrival.rate_per_s=50",
        "systems.vllm-h200.memory.kv_blocks=600",
    ]
    summary = run(load_config(root / "configs/quickstart.yaml", settings)).summary()
    assert summary["systems"]["vllm-h200"]["cache"]["evicted_blocks"] > 0
    assert summary["systems"]["vllm-h200"]["cache"]["num_preemptions"] > 0
    _check(summary, data_regression, num_regression)


def test_mooncake_small(root: Path, tmp_path: Path, data_regression: Any, num_regression: Any) -> None:
    """The systems of configs/mooncake.yaml, with smaller caches, on a trace of our own."""
    write_small_mooncake(tmp_path / "small.jsonl")
    settings = [
        f"workload.path={tmp_path / 'small.jsonl'}",
        "systems.replay-30k.cache.capacity_blocks=100",
        "systems.blocks-16.cache.capacity_blocks=3200",
        "systems.fleet.memory.kv_blocks=1200",
    ]
    summary = run(load_config(root / "configs/mooncake.yaml", settings)).summary()
    assert summary["systems"]["blocks-16"]["cache"]["evicted_blocks"] > 0
    _check(summary, data_regression, num_regression)


@pytest.mark.parametrize("config", ["quickstart", "mooncake"])
def test_configs_of_the_issue_are_those_in_the_folder(root: Path, config: str) -> None:
    """The two promised configurations stand in configs/ and name what they promise."""
    text = (root / "configs" / f"{config}.yaml").read_text()
    assert f"name: {config}" in text
