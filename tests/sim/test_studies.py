"""Every study of generated chats runs as it stands, smaller; what it is meant to show holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sim import load_config, run

STUDIES = Path(__file__).parents[2] / "configs" / "studies"
CHATS = sorted(
    path.stem
    for path in STUDIES.glob("*.yaml")
    if yaml.safe_load(path.read_text())["workload"]["kind"] == "chat"
)


def _summary(name: str, *settings: str) -> dict[str, Any]:
    return run(load_config(STUDIES / f"{name}.yaml", settings)).summary()["systems"]


@pytest.mark.parametrize("name", CHATS)
def test_study_runs(name: str) -> None:
    """Twenty sessions, or the one about a book: every system ends every request."""
    sessions = 1 if name == "claims-book" else 20
    systems = _summary(name, f"workload.sessions={sessions}", "warmup_s=0", "until_s=end")
    assert len(systems) > 1 or name in ("capacity", "sizing")
    for entry in systems.values():
        assert entry["completed"] + entry["failed"] >= 20
        assert entry["cache"]["prefix_cache_hit_rate"] >= 0


@pytest.mark.parametrize("name", ["pauses", "mixed"])
def test_other_workloads_run(name: str) -> None:
    """An hour of agents, or of all kinds together, whose clients have policies: a note tells of each."""
    summary = run(load_config(STUDIES / f"{name}.yaml", ["workload.duration_s=3600"])).summary()
    systems = list(summary["systems"].values())
    assert len({entry["completed"] for entry in systems}) == 1 and systems[0]["completed"] > 100
    told = {"pauses": "keep-warm pings", "mixed": "histories were replaced by summaries"}[name]
    assert all(any(told in note for note in entry["notes"]) for entry in systems)


def test_tiers_add_hits() -> None:
    """Each tier adds hits, and the host's are worth their loads."""
    systems = _summary("tiers", "workload.sessions=300")
    rates = [systems[name]["cache"]["prefix_cache_hit_rate"] for name in ("gpu", "host", "host-and-disk")]
    assert rates == sorted(rates) and rates[2] > rates[0] + 0.1
    assert systems["host"]["mean_ttft_ms"] < systems["gpu"]["mean_ttft_ms"]


def test_prefill_and_decode_apart() -> None:
    """A slow link is paid for in time per token, half the prefilling GPUs in time to first token.

    With asynchronous scheduling a prompt waits a step longer at a GPU that decodes: together is no faster.
    """
    systems = _summary("disaggregation", "workload.sessions=300", "workload.arrival.rate_per_s=12")
    tpot_ms = {name: entry["mean_tpot_ms"] for name, entry in systems.items()}
    ttft_ms = {name: entry["mean_ttft_ms"] for name, entry in systems.items()}
    assert tpot_ms["slow-link"] > 1.05 * tpot_ms["two-and-two"]
    assert ttft_ms["one-and-three"] > ttft_ms["together"] > ttft_ms["two-and-two"]


def test_isolation_loses_hits() -> None:
    """A salt per tenant loses the shared system prompt; a part of the cache each loses no less."""
    systems = _summary("isolation", "workload.sessions=200")
    hits = {name: entry["cache"]["prefix_cache_hits_tokens"] for name, entry in systems.items()}
    assert hits["shared"] > hits["salted"] > 0
    assert hits["replay-shared"] > hits["replay-salted"] > 0
    lost = systems["salted"]["cache"]["hits_lost_to_isolation_tokens"]
    assert lost == hits["shared"] - hits["salted"]
