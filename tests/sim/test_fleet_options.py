"""Pools, roles, tiers, hardships, warm-up and time series, from a configuration to files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from reports import files
from sim import Result, load_config, run
from sim.hardware import catalogue
from sim.hardware.memory import Memory
from sim.hardware.parallel import Parallel
from sim.hardware.roofline import roofline
from sim.hardware.vllm_memory import budget
from sim.results.step_log import StepLog
from sim.results.window import Window
from tests.refusing import Cli

CHAT: dict[str, Any] = {
    "kind": "chat",
    "sessions": 40,
    "arrival": {"process": "poisson", "rate_per_s": 4.0},
    "turns": 3,
    "think_time_s": 2,
    "system_prompt": {"tokens": 500},
    "user_tokens": {"distribution": "lognormal", "mean": 80, "sigma": 1},
    "reply_tokens": 60,
}
OWN: dict[str, Any] = {"kind": "engine", "model": "llama-3-8b", "hardware": "h200"}


def _plain(tmp_path: Path, system: dict[str, Any], **more: Any) -> Result:
    """A run of which every request is measured, unless ``more`` says otherwise."""
    config: dict[str, Any] = {"name": "fleet", "workload": CHAT, "systems": {"one": OWN | system}}
    config |= {"warmup_s": 0, "until_s": "end"} | more
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(config))
    return run(load_config(tmp_path / "fleet.yaml"))


def _run(tmp_path: Path, system: dict[str, Any], **more: Any) -> Result:
    """The same with all its files, report included."""
    result = _plain(tmp_path, system, **more)
    files.write(result, result.summary(), tmp_path / "out")
    # What is written as the resolved configuration gives the same run again.
    again = run(load_config(tmp_path / "out" / "config.yaml"))
    for name in ("finished_s", "cache_read_input_tokens", "replica"):
        one, other = (getattr(r.runs["one"].records, name) for r in (result, again))
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return result


def test_pools_of_unlike_gpus(tmp_path: Path) -> None:
    """Each pool has its own KV blocks, batch limits and times; what it does not say is the system's."""
    pools = [{"replicas": 2}, {"hardware": "l4", "memory": {"kv_blocks": 900}}]
    system = {"pools": pools, "router": "least_loaded", "price": {"gpu_hour_usd": 2.0}}
    result = _run(tmp_path, system)
    resolved: Any = result.config.systems["one"]
    big, small = resolved.pools
    assert (big.hardware, big.replicas, small.hardware, small.replicas) == ("h200", 2, "l4", 1)
    assert big.engine.max_num_batched_tokens == 8192 and small.engine.max_num_batched_tokens == 2048
    assert big.memory.kv_blocks > 10_000 and small.memory.kv_blocks == 900
    records = result.runs["one"].records
    assert records.gpus == [1, 1, 1]
    assert set(records.replica) == {0, 1, 2}
    log = records.work
    first_s = [np.array(steps.first_s) for steps in log]
    assert min(first_s[2]) > 5 * min(first_s[0]), "an L4 reads its weights 16 times as slowly as an H200"


def test_tensor_parallel(tmp_path: Path) -> None:
    """Two GPUs: half the weights each, so more KV; half the time per iteration; twice the GPU-hours."""
    one = _plain(tmp_path, {}).runs["one"].records
    result = _run(tmp_path, {"tensor_parallel": 2})
    two = result.runs["one"].records
    assert one.engine is not None and two.engine is not None
    model, gpu = catalogue.model("llama-3-8b", tmp_path), catalogue.gpu("h200")
    limits: dict[str, Any] = {"max_num_batched_tokens": 8192, "max_num_seqs": 1024}
    for records, gpus in ((one, 1), (two, 2)):
        pool = budget(model, gpu, Memory(), **limits, parallel=Parallel(gpus)).blocks(16)
        assert records.engine is not None
        assert records.engine.capacity_blocks == pool - 1, "less the null block"
    single, double = (
        roofline(model, gpu).coefficients,
        roofline(model, gpu, parallel=Parallel(2)).coefficients,
    )
    assert double.floor == single.floor / 2 and double.token == single.token / 2
    assert double.decode_kv == single.decode_kv / 2
    many = roofline(model, gpu, parallel=Parallel(16)).coefficients  # twice as many GPUs as KV heads
    assert many.decode_kv == single.decode_kv / 8
    entry: Any = result.summary()["systems"]["one"]
    assert entry["cost"]["gpu_seconds"] == 2 * entry["duration"]
    assert entry["gpu_busy_seconds"] == pytest.approx(2 * two.engine.busy_s)


def test_prefill_and_decode_pools(tmp_path: Path) -> None:
    """Every reply of more than a token comes from a decoding replica, every hit from a prefilling one."""
    pools = [{"role": "prefill"}, {"role": "decode", "replicas": 2}]
    system = {"pools": pools, "kv_link": {"gb_per_s": 25, "latency_ms": 1}}
    result = _run(tmp_path, system)
    records = result.runs["one"].records
    assert set(records.replica) == {1, 2}
    assert records.completed.all()
    assert records.engine is not None and records.engine.loaded_tokens > 0
    notes = result.summary()["systems"]["one"]["notes"]
    assert any("one transfer per request" in note for note in notes)


def test_tiers_with_links(tmp_path: Path) -> None:
    """A GPU too small for the chats and a host that holds them: hits below cost time, and are counted."""
    tiers = [{"name": "gpu"}, {"name": "host", "capacity_blocks": 100_000, "gb_per_s": 20}]
    system = {"memory": {"kv_blocks": 400}, "cache": {"kind": "tiered", "tiers": tiers}}
    result = _run(tmp_path, system)
    records = result.runs["one"].records
    by_tier = records.hit_tokens_by_tier
    assert by_tier["host"] > 0 and by_tier["gpu"] > 0
    assert sum(by_tier.values()) == records.cache_read_input_tokens.sum()
    alone = _plain(tmp_path, {"memory": {"kv_blocks": 400}}).runs["one"].records
    assert records.cache_read_input_tokens.sum() > alone.cache_read_input_tokens.sum()
    table = result.requests()
    assert set(table[table["system"] == "one"]["tier"].dropna()) == {"gpu", "host"}


def test_who_does_not_complete_is_counted_apart(tmp_path: Path) -> None:
    """Figures are those of the completed requests; the others are counted by how they ended."""
    system = {
        "engine": {"max_num_seqs": 2},
        "max_queued_requests": 1,
        "deadline_s": {"distribution": "uniform", "low": 0.1, "high": 2.0},
        "failures": [{"replica": 0, "at_s": 3, "back_s": 4}],
        "replicas": 2,
    }
    result = _run(tmp_path, system, slo={"ttft_ms": 1000})
    records = result.runs["one"].records
    entry: Any = result.summary()["systems"]["one"]
    ended = {status: int((records.status == status).sum()) for status in set(records.status)}
    assert ended["rejected"] > 0 and ended["timed_out"] > 0 and entry["retried"] > 0
    assert entry["completed"] == ended["completed"] == np.isfinite(records.finished_s).sum()
    assert (entry["rejected"], entry["timed_out"]) == (ended["rejected"], ended["timed_out"])
    assert entry["failed"] == len(records) - entry["completed"]
    assert entry["total_input_tokens"] == records.input_tokens[records.completed].sum()
    table = result.requests()
    assert table[table["system"] == "one"]["status"].tolist() == records.status.tolist()


@pytest.mark.parametrize(
    ("reason", "most"),
    [
        ({"max_queued_requests": 1}, 2),
        ({"deadline_s": 0.1}, 2),
        ({"failures": [{"replica": 0, "at_s": 3}]}, 3),  # what the replica loses begins anew once more
    ],
    ids=["full queue", "deadline", "no replica left"],
)
def test_what_is_turned_away_is_sent_again(reason: dict[str, Any], most: int, tmp_path: Path) -> None:
    """Retries are allowed with each of the three, and happen."""
    records = _run(tmp_path, {**reason, "engine": {"max_num_seqs": 1}, "retries": {}}).runs["one"].records
    assert records.retries.max() == most


def test_warm_up_is_left_out(tmp_path: Path) -> None:
    """Requests that arrive before it are served and not counted; iterations count from then on."""
    whole, warm = _plain(tmp_path, {}), _run(tmp_path, {}, warmup_s=5.0)
    records = whole.runs["one"].records
    assert (records.finished_s == warm.runs["one"].records.finished_s).all()
    late = records.arrival_s >= 5.0
    assert 0 < late.sum() < len(records)
    before: Any = whole.summary()["systems"]["one"]
    after: Any = warm.summary()["systems"]["one"]
    assert after["completed"] == late.sum()
    ttft_s = (records.first_token_s - records.arrival_s)[late]
    assert after["mean_ttft_ms"] == pytest.approx(ttft_s.mean() * 1e3)
    assert after["duration"] == records.finished_s.max() - 5.0
    assert after["gpu_busy_seconds"] < before["gpu_busy_seconds"]
    assert after["cache"]["prefix_cache_hits_tokens"] == records.cache_read_input_tokens[late].sum()
    assert 0 < after["engine_iterations"] < before["engine_iterations"]


@pytest.mark.parametrize(
    "system",
    [
        {"deadline_s": 0, "price": {"gpu_hour_usd": 2.0}},
        {"failures": [{"replica": 0, "at_s": 0}], "price": {"gpu_hour_usd": 2.0}, "sample_s": 1},
    ],
)
def test_nothing_completes(tmp_path: Path, system: dict[str, Any]) -> None:
    """Figures are null, claims undecided, and the report says what became of the requests."""
    claim = {"quantity": "computed_tokens", "saved": 0.5, "system": "one", "source": "nobody"}
    result = _run(tmp_path, system, slo={"ttft_ms": 100}, claims=[claim])
    summary = result.summary()
    entry = summary["systems"]["one"]
    assert entry["completed"] == 0 and entry["failed"] == len(result.trace)
    assert entry["duration"] is None and entry["mean_ttft_ms"] is None
    assert entry["cost"]["cost_usd_total"] is None
    assert summary["claims"][0]["derived_saved"] is None and summary["claims"][0]["holds"] is None
    assert "requests" in (tmp_path / "out" / "report.html").read_text()


def test_a_warm_up_beyond_the_trace(tmp_path: Path) -> None:
    """Nothing is left to count, and the report still renders."""
    entry = _run(tmp_path, {"price": {"gpu_hour_usd": 2.0}}, warmup_s=1e6).summary()["systems"]["one"]
    assert entry["completed"] == 0 and entry["duration"] is None


def test_files_beside_the_configuration(tmp_path: Path) -> None:
    """A profile named relative to the configuration is found from the resolved one too."""
    shipped = Path(__file__).parents[2] / "calibration/profiles/epyc-1-thread.tiny-40m.float32.yaml"
    (tmp_path / "p.yaml").write_text(shipped.read_text())
    system = {"model": "tiny-40m", "latency": {"profile": "p.yaml"}}
    assert _run(tmp_path, system).summary()["systems"]["one"]["calibrated"] is True


def test_iterations_of_a_window() -> None:
    """Of a run of 3, 4, 5 s that ends at 20, the part after 12 is the iterations of 4 and 5 s."""
    log = StepLog()
    log.add(8.0, 8.0, 0.0, 1, 2, 0)
    log.add(20.0, 3.0, 1.0, 3, 2, 1)
    log.add_gap(7.0, 1.0)
    log.add_gap(13.0, 2.0)
    late = log.within(Window(12.0))
    assert (list(late.first_s), list(late.iterations), list(late.first_tokens)) == ([4.0], [2], [1])
    assert (late.busy_s, log.busy_s) == (9.0, 20.0)
    assert late.gaps_s == [2.0]
    # What ends at that very time is over.
    at_its_end = log.within(Window(15.0))
    assert (list(at_its_end.first_s), list(at_its_end.iterations)) == ([5.0], [1])
    assert list(log.within(Window(8.0)).first_s) == [3.0] and not log.within(Window(20.0)).iterations
    assert log.within(Window(13.0)).gaps_s == []
    # Cut at both ends: the iteration of 4 s, which ends at 15; the prompts complete with the one after it.
    middle = log.within(Window(11.0, 19.9))
    assert (list(middle.end_s), list(middle.first_s)) == ([15.0], [4.0])
    assert (list(middle.iterations), list(middle.first_tokens)) == ([1], [0])


def test_time_series(cli_here: Cli, tmp_path: Path) -> None:
    """One row per interval and replica; what was asked for and hit adds up to the records."""
    config = {
        "name": "series",
        "workload": CHAT,
        "systems": {"one": OWN | {"replicas": 2, "sample_s": 0.5}, "plain": OWN},
    }
    (tmp_path / "series.yaml").write_text(json.dumps(config))
    assert cli_here("run", "series.yaml", "--out", "out", "--quiet").returncode == 0
    series = pd.read_parquet(tmp_path / "out" / "timeseries.parquet")
    requests = pd.read_parquet(tmp_path / "out" / "requests.parquet")
    mine = requests[requests["system"] == "one"]
    assert set(series["system"]) == {"one"} and set(series["replica"]) == {0, 1}
    times = series[series["replica"] == 0]["time_s"].to_numpy()
    assert times[:3].tolist() == [0.0, 0.5, 1.0]
    assert times[-1] >= mine["finished_s"].max() - 0.5
    assert series["prefix_cache_queries_tokens"].sum() == mine["input_tokens"].sum()
    assert series["prefix_cache_hits_tokens"].sum() == mine["cache_read_input_tokens"].sum()
    assert series["kv_cache_usage_perc"].between(0, 1).all() and series["kv_cache_usage_perc"].max() > 0
    at = series[series["time_s"] == 4.0]
    present = mine[(mine["scheduled_s"] <= 4.0) & (mine["finished_s"] > 4.0)]
    assert at["num_requests_running"].sum() == len(present) > 0
    # Looking changes nothing.
    one = run(load_config(tmp_path / "series.yaml", ["systems.one.sample_s=null"]))
    assert (one.runs["one"].records.finished_s == mine["finished_s"].to_numpy()).all()
