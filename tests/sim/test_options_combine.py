"""Every option of vLLM's scheduler, hardships and SGLang, on systems whose KV travels over links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sim import load_config, run

STUDIES = Path(__file__).parents[2] / "configs/studies"
ENGINE: dict[str, dict[str, Any]] = {
    "synchronous": {"async_scheduling": False},
    "priority": {"policy": "priority"},
    "threshold": {"long_prefill_token_threshold": 512},
    "watermark": {"watermark": 0.05},
    "no full reserve": {"scheduler_reserve_full_isl": False},
    "speculation": {
        "speculative": {
            "method": "draft_model",
            "model": {"parameters": 1e8, "kv_bytes_per_token": 4096},
            "num_speculative_tokens": 3,
            "acceptance_rate": 0.6,
        }
    },
    "sglang": {"kind": "sglang"},
}
SYSTEM: dict[str, dict[str, Any]] = {
    "record_steps": {"record_steps": True},
    "deadlines": {
        "deadline_s": {"distribution": "exponential", "mean": 3.0},
        "retries": {"max_retries": 1},
    },
    "failures": {"failures": [{"replica": 0, "at_s": 4.5, "back_s": 15.0}]},
}


@pytest.mark.parametrize("option", [*ENGINE, *SYSTEM])
@pytest.mark.parametrize("study", ["tiers", "disaggregation"])
def test_the_systems_of_the_studies(study: str, option: str, tmp_path: Path) -> None:
    """Each request ends once; `Records.check` holds tokens and blocks in every run."""
    config: dict[str, Any] = yaml.safe_load((STUDIES / f"{study}.yaml").read_text())
    workload = config["workload"]
    workload["sessions"], workload["arrival"]["rate_per_s"] = 20, 4.0
    workload["reply_tokens"]["mean"] = 100  # most steps decode and are alike
    for system in config["systems"].values():
        system["memory"] = {"kv_blocks": 2000}  # so few that KV is evicted, and loaded from below again
        system |= SYSTEM.get(option, {})
        for part in system.get("pools", [system]):
            part["engine"] = ENGINE.get(option, {})
        if option == "sglang":
            tiered = system.get("cache", {}).get("kind") == "tiered"
            cache = system["cache"] | {"cache": "radix"} if tiered else {"kind": "radix", "page_size": 16}
            system["cache"] = cache
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    summary: Any = run(load_config(path)).summary()
    for entry in summary["systems"].values():
        assert entry["completed"] + entry["failed"] == summary["requests"] > 30
        assert option == "deadlines" or not entry["failed"]
    if option == "failures":
        assert any(entry["retried"] for entry in summary["systems"].values())
