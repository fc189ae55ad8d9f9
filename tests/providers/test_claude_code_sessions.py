"""The Claude Code sessions under lifetimes, by the definition of the published statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.config import Config, load_config
from sim.experiment import load_trace, run
from sim.providers import bills

# Lifetime in s: hit tokens of 2,746,444,487, token ratio, price at w = 1.25 and at w = 2 (README, 6).
PUBLISHED = {
    60: (2_144_298_176, 0.780754, 0.3521, 0.5166),
    300: (2_510_702_912, 0.914165, 0.1987, 0.2631),
    600: (2_561_977_152, 0.932834, 0.1772, 0.2276),
    3600: (2_636_500_096, 0.959968, 0.1460, 0.1761),
}


@pytest.fixture(scope="module")
def sessions(shared_data: Path) -> dict[str, object]:
    file = shared_data / "claude_code_sessions" / "sessions.jsonl.gz"
    return {"kind": "trace", "format": "claude_code_compact", "path": str(file), "subagents": "exclude"}


def test_hit_rates_and_input_price_by_lifetime(sessions: dict[str, object]) -> None:
    """Every block used at most so long ago is read at 0.1, the rest is written: equal to the integer."""
    systems = {
        f"{seconds}-{percent}": {
            "kind": "provider",
            "provider": "custom",
            "model": "any",
            "rules": {
                "kind": "grid",
                "granularity": 64,
                "lifetimes": [{"name": "x", "seconds": seconds, "write_mult": percent / 100}],
                "visible_at": "request_start",
                "at_ttl": "hit",
                "read_mult": 0.1,
            },
            "price": {"input_usd_per_1m": 1},
            "regret": False,
        }
        for seconds in PUBLISHED
        for percent in (125, 200)
    }
    config = Config.model_validate({"name": "x", "workload": sessions, "systems": systems}).resolved()
    trace = load_trace(config)
    assert sum(trace.input_tokens) == 2_746_444_487
    for name, system in config.systems.items():
        records = system.run(trace, name, config.folder, lambda done: None)
        seconds, percent = map(int, name.split("-"))
        hits, ratio, *prices = PUBLISHED[seconds]
        assert int(records.cache_read_input_tokens.sum()) == hits
        assert hits / 2_746_444_487 == pytest.approx(ratio, abs=1e-6)
        relative = float(bills.exact(records).input_usd) * 1e6 / 2_746_444_487  # at 1 USD per million
        assert relative == pytest.approx(prices[percent == 200], abs=5e-5)


def test_both_worlds(root: Path, shared_data: Path) -> None:
    """Every provider and own GPUs on some sessions: one table, nothing found that was not sent before."""
    file = shared_data / "claude_code_sessions" / "sessions.jsonl.gz"
    settings = [f"workload.path={file}", "workload.sessions=4", "systems.own-qwen-7b.replicas=1"]
    result = run(load_config(root / "configs/studies/both_worlds.yaml", settings))
    summary: Any = result.summary()
    assert [row["system"] for row in summary["side_by_side"]] == list(result.runs)
    assert len(result.runs) > 15
    rates = {name: entry["cache"]["prefix_cache_hit_rate"] for name, entry in summary["systems"].items()}
    assert rates["anthropic-5m"] <= rates["anthropic-1h"]
    assert rates["bedrock-5m"] == rates["anthropic-5m"]
    costs = {row["system"]: row["usd_per_1000_sessions"] for row in summary["side_by_side"]}
    assert costs["bedrock-5m"] == pytest.approx(1.1 * costs["anthropic-5m"])  # regional endpoints: +10 %
    assert costs["deepseek"] < costs["anthropic-5m"]
