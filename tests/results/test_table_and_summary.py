"""The figures of a summary follow from the request table that is written beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sim import load_config, run

CHAT = {
    "kind": "chat", "duration_s": 60, "arrival": {"rate_per_s": 4}, "turns": 3, "think_time_s": 2,
    "system_prompt": {"tokens": 1500}, "user_tokens": 200, "reply_tokens": 60,
}  # fmt: skip
TOKENS = {"input_usd_per_1m": 1.0, "cached_input_usd_per_1m": 0.1, "output_usd_per_1m": 4.0}
ENGINE: dict[str, Any] = {
    "kind": "engine", "model": "llama-3.1-8b", "hardware": "l40s", "memory": {"kv_blocks": 2500},
    "engine": {"max_num_seqs": 8}, "deadline_s": 4, "max_queued_requests": 6, "price": TOKENS,
}  # fmt: skip
REPLAY = {"kind": "cache", "cache": {"kind": "block", "capacity_blocks": 2500}, "price": TOKENS}
HOSTED = {
    "kind": "provider", "provider": "openai", "model": "gpt-5", "latency": {}, "deadline_s": 2,
    "caching": {"key": "session"},
}  # fmt: skip


@pytest.mark.parametrize("system", [ENGINE, REPLAY, HOSTED], ids=lambda system: system["kind"])
@pytest.mark.parametrize("window", [{}, {"warmup_s": 20, "until_s": 50}, {"until_s": "end"}], ids=str)
def test_from_the_table(system: dict[str, Any], window: dict[str, Any]) -> None:
    """Counts, hits, percentiles and dollars, of the system and of its twin, with pandas alone."""
    config = {"name": "x", "workload": CHAT, "systems": {"a": system}, "slo": {"ttft_ms": 300}, **window}
    result = run(load_config(config))
    summary, table = result.summary(), result.requests()
    start_s, end_s = summary["window"]["start_s"], summary["window"]["end_s"] or np.inf
    arrives = (table.arrival_s >= start_s) & (table.arrival_s < end_s)
    for name, entry in (("a", summary["systems"]["a"]), ("a/no-cache", summary["no_cache"]["a"])):
        inside = table[arrives & (table.system == name)]
        done = inside[inside.status == "completed"]
        first_s = table[table.system == name].groupby("session_id").arrival_s.min()
        assert entry["sessions"] == ((first_s >= start_s) & (first_s < end_s)).sum()
        if "bill" in entry["cost"]:
            (row,) = summary["side_by_side"]
            split = summary["systems"]["a"]["cost"]["bill"]
            assert row["usd_per_1000_sessions"] == pytest.approx(split["usd_per_1000_sessions"], rel=1e-12)
        _agrees(entry, inside, done)


def _agrees(entry: Any, inside: pd.DataFrame, done: pd.DataFrame) -> None:
    cache, cost = entry["cache"], entry["cost"]
    assert (entry["completed"], entry["failed"]) == (len(done), len(inside) - len(done))
    for status in ("rejected", "timed_out", "aborted"):
        assert entry[status] == (inside.status == status).sum()
    assert cache["prefix_cache_queries_tokens"] == entry["total_input_tokens"] == done.input_tokens.sum()
    assert cache["prefix_cache_hits_tokens"] == done.cache_read_input_tokens.sum()
    assert cache["request_hit_rate"] == pytest.approx((done.cache_read_input_tokens > 0).mean())
    for name in ("ttft", "tpot", "e2el", "queue_time"):
        times = done[f"{name}_ms"].dropna()
        for p in (50, 90, 95, 99):
            expected = pytest.approx(times.quantile(p / 100), rel=1e-9) if len(times) else None
            assert entry[f"p{p}_{name}_ms"] == expected
    if entry["request_goodput"] is not None:
        assert entry["request_goodput"] * entry["duration"] == pytest.approx((done.ttft_ms <= 300).sum())
    assert cost["cost_usd_total"] == pytest.approx(inside.cost_usd.sum(), rel=1e-12)
