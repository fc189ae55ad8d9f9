"""Speculative decoding from YAML to summary.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reports.rows import compare
from sim import hardware
from sim.config import load_config
from sim.experiment import run
from sim.hardware.roofline import MBU
from workloads.trace import Trace

CHATS = {
    "kind": "chat", "sessions": 60, "arrival": {"process": "poisson", "rate_per_s": 4},
    "turns": {"distribution": "geometric", "mean": 3},
    "think_time_s": {"distribution": "exponential", "mean": 2},
    "system_prompt": {"tokens": 333}, "user_tokens": {"distribution": "uniform", "low": 5, "high": 90},
    "reply_tokens": {"distribution": "uniform", "low": 20, "high": 200},
}  # fmt: skip
NGRAM = {"method": "ngram", "num_speculative_tokens": 3, "synthetic_acceptance_rates": [0.7, 0.5, 0.2]}
MTP = {"method": "mtp", "num_speculative_tokens": 2, "acceptance_rate": 0.8}


def _summary(folder: Path, **systems: Any) -> Any:
    path = folder / "c.yaml"
    engines = {
        name: {"kind": "engine", "model": "qwen3.5-27b", "hardware": "h200", "engine": options}
        for name, options in systems.items()
    }
    path.write_text(
        yaml.safe_dump(
            {"name": "c", "warmup_s": 0, "until_s": "end", "workload": CHATS, "systems": engines}
        )
    )
    return run(load_config(path)).summary()


def test_figures(tmp_path: Path) -> None:
    """vLLM's counters, the same with and without the cache, whatever other systems there are."""
    both = _summary(tmp_path, plain={}, ngram={"speculative": NGRAM}, mtp={"speculative": MTP})
    plain, ngram, mtp = (both["systems"][name] for name in ("plain", "ngram", "mtp"))
    assert "spec_decode_num_drafts" not in plain
    for entry, length in ((ngram, 2.4), (mtp, 1 + 0.8 + 0.64)):
        drafts, accepted = entry["spec_decode_num_drafts"], entry["spec_decode_num_accepted_tokens"]
        assert entry["spec_decode_mean_acceptance_length"] == 1 + accepted / drafts
        assert entry["spec_decode_mean_acceptance_length"] == pytest.approx(length, rel=0.03)
        assert entry["mean_tpot_ms"] < plain["mean_tpot_ms"]
    assert ngram["spec_decode_num_draft_tokens"] == 3 * ngram["spec_decode_num_drafts"]
    twin = both["no_cache"]["ngram"]
    assert twin["spec_decode_num_accepted_tokens"] == ngram["spec_decode_num_accepted_tokens"]
    padded = ngram["spec_decode_num_drafts"] - twin["spec_decode_num_drafts"]  # all but a token cached
    assert 0 <= padded < 0.1 * both["requests"]
    # A prefix that is shared up to the end of a block is found one block shorter, all else as without.
    lost = plain["cache"]["prefix_cache_hits_tokens"] - mtp["cache"]["prefix_cache_hits_tokens"]
    assert 0 <= lost < 0.02 * plain["cache"]["prefix_cache_hits_tokens"]
    assert ngram["cache"]["prefix_cache_hits_tokens"] == plain["cache"]["prefix_cache_hits_tokens"]
    alone = _summary(tmp_path, ngram={"speculative": NGRAM})["systems"]["ngram"]
    for key in ("spec_decode_num_accepted_tokens", "mean_tpot_ms", "p99_ttft_ms"):
        assert alone[key] == ngram[key]


def test_a_hit_loses_its_last_block(tmp_path: Path) -> None:
    """Without hashes that cover the next token; each request that hits loses 16 tokens."""
    drop = {"speculative": {**MTP, "disable_lookahead_block_hashes": True}}
    found = _summary(tmp_path, none={"speculative": {**MTP, "disable_eagle_block_drop": True}}, drop=drop)
    none, drops = (found["systems"][name]["cache"] for name in ("none", "drop"))
    hits = round(none["request_hit_rate"] * found["requests"])
    assert none["prefix_cache_hits_tokens"] - drops["prefix_cache_hits_tokens"] == 16 * hits


def test_it_is_said(tmp_path: Path) -> None:
    """What is drawn at random, and what is not as in an engine, stands in the notes."""
    found = _summary(tmp_path, mtp={"speculative": MTP})
    notes = " ".join(found["systems"]["mtp"]["notes"])
    assert "2.44 tokens per step on average as given" in notes
    lengths = [found[part]["mtp"]["spec_decode_mean_acceptance_length"] for part in ("no_cache", "systems")]
    (row,) = [row for row in compare(found, "mtp") if row.label == "tokens per verification"]
    assert [row.without, row.with_cache] == [f"{length:.2f}" for length in lengths]


@pytest.mark.parametrize(
    ("latency", "said"),
    [
        ({"kind": "constant", "iteration_s": 0.01}, "drafts take no time"),
        ({"profile": "h200.llama-3.1-8b.tp1.yaml"}, "drafts take the time of a roofline"),
        ({"kind": "auto"}, "drafts take the time of a roofline"),
        ({"mbu": 0.5}, None),
    ],
)
def test_time_of_drafts(tmp_path: Path, latency: dict[str, Any], said: str | None) -> None:
    """By the roofline of the draft, also beside a profile; a step that is given has none for them."""
    shipped = Path(hardware.__file__).parent / "profiles"
    if "profile" in latency:
        latency = {"profile": str(shipped / latency["profile"])}
    figures = {"parameters": 1e9, "kv_bytes_per_token": 4096}
    eagle = {"method": "eagle", "model": figures, "num_speculative_tokens": 4, "acceptance_rate": 0.7}
    system = {
        "kind": "engine", "model": "llama-3.1-8b", "hardware": "h200", "latency": latency,
        "engine": {"speculative": eagle},
    }  # fmt: skip
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"name": "c", "workload": CHATS, "systems": {"e": system}}))
    found: Any = load_config(path).systems["e"]
    drafter = found._drafter(found.served_model(tmp_path), "", tmp_path)
    bandwidth = 4.8e12 * latency.get("mbu", MBU)
    if latency.get("kind") == "constant":
        assert drafter is None
    else:
        assert drafter.passes == 4
        assert drafter.latency.decodes_s(1, 0) == pytest.approx((2e9 + 4096) / bandwidth, rel=1e-3)
    notes = " ".join(found.notes(found_trace(path), tmp_path))
    assert (said in notes) if said else ("drafts take" not in notes)


def found_trace(path: Path) -> Trace:
    """The trace of the configuration at ``path``."""
    config = load_config(path)
    return config.workload.build(config.seed, path.parent)
