"""What a change of times, order, names, prices or sizes must do to a run, and what it must not."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.results.records import Records
from tests.metamorphic.experiments import (
    CHAT,
    ENGINE,
    HOSTED,
    REPLAY,
    SGLANG,
    SYSTEMS,
    TOKENS,
    Data,
    ran,
    summed,
)

TIMES = ("arrival_s", "scheduled_s", "first_token_s", "finished_s")
COUNTS = ("status", "cache_read_input_tokens", "replica", "preemptions", "retries")


def _same(one: Records, other: Records, rows: slice = slice(None), *, times: float = 1.0) -> None:
    """Each request went the same way; the times of ``other`` are ``times`` those of ``one``."""
    for name in COUNTS:
        assert (getattr(one, name)[rows] == getattr(other, name)[rows]).all(), name
    for name in TIMES:
        np.testing.assert_array_equal(getattr(one, name)[rows] * times, getattr(other, name)[rows], name)


def _slower(data: Data, times: float) -> Data:
    """Everything that takes time takes ``times`` as long."""
    factors = {"rate_per_s": 1 / times, "mean": times, "token_s": times, "step_s": times}
    return {
        key: _slower(value, times) if isinstance(value, dict) else value * factors.get(key, 1)
        if isinstance(value, float | int) and not isinstance(value, bool) else value
        for key, value in data.items()
    }  # fmt: skip


@pytest.mark.parametrize("name", ["vllm", "sglang", "two"])
def test_times_scale(tmp_path: Path, name: str) -> None:
    """A client and a GPU eight times as slow: every time is eight times as long, all else as it was."""
    one = ran(tmp_path, {"one": SYSTEMS[name]})
    other = ran(tmp_path, {"one": _slower(SYSTEMS[name], 8)}, _slower(CHAT, 8))
    _same(one.runs["one"].records, other.runs["one"].records, times=8)
    _same(one.runs["one"].twin, other.runs["one"].twin, times=8)
    entries: list[Any] = [result.summary()["systems"]["one"] for result in (one, other)]
    before, after = entries
    for figure in ("p50_ttft_ms", "p99_e2el_ms", "mean_queue_time_ms", "duration", "gpu_busy_seconds"):
        assert after[figure] == pytest.approx(8 * before[figure], rel=1e-12), figure
    assert after["cache"] == before["cache"]


def test_order_and_company_of_systems(tmp_path: Path) -> None:
    """Each system has the same figures alone, among others, and in another order."""
    together = summed(tmp_path, SYSTEMS)
    reverse = summed(tmp_path, dict(reversed(SYSTEMS.items())))
    for part in ("systems", "no_cache", "savings"):
        assert together[part] == reverse[part]
    for name, system in SYSTEMS.items():
        alone = summed(tmp_path, {name: system})
        for part in ("systems", "no_cache", "savings"):
            assert alone[part][name] == together[part][name], name


def test_names_change_nothing(tmp_path: Path) -> None:
    """Of the experiment and of its systems."""
    one, other = (
        summed(tmp_path, {name: system}, name=experiment)["systems"][name]
        for name, system, experiment in (("a", ENGINE, "first"), ("zz-9", ENGINE, "second"))
    )
    assert one == other


@pytest.mark.parametrize(
    ("system", "price"),
    [
        (ENGINE, {"gpu_hour_usd": 3.5}),
        (REPLAY, TOKENS),
        (HOSTED, {"multiply": 1.5}),
    ],
)
def test_prices_doubled(tmp_path: Path, system: Data, price: dict[str, float]) -> None:
    """Costs double, shares stay, and nothing else moves."""
    twice = {key: 2 * value for key, value in price.items()}
    one, two = (summed(tmp_path, {"one": {**system, "price": paid}}) for paid in (price, twice))
    before, after = (summary["systems"]["one"]["cost"] for summary in (one, two))
    for key in ("cost_usd_total", "cost_usd_per_request", "saved_usd_by_cache", "cost_usd_busy"):
        assert (before[key] is None) == (after[key] is None), key
        if before[key] is not None:
            assert after[key] == pytest.approx(2 * before[key], rel=1e-12), key
    ratios = [summary["savings"]["one"]["cost_usd_total"]["saved_ratio"] for summary in (one, two)]
    assert ratios[1] == pytest.approx(ratios[0], rel=1e-12)
    assert before["cost_usd_total"] > 0
    for summary in (one, two):
        summary["systems"]["one"].pop("cost")
        summary["systems"]["one"].pop("regret", None)
    assert one["systems"] == two["systems"]


def test_a_cache_that_saves_no_money(tmp_path: Path) -> None:
    """Cached tokens at the price of others: with the cache and without it costs the same."""
    price = {**TOKENS, "cached_input_usd_per_1m": TOKENS["input_usd_per_1m"]}
    saved = summed(tmp_path, {"one": {**REPLAY, "price": price}})["savings"]["one"]["cost_usd_total"]
    assert saved["saved"] == pytest.approx(0, abs=1e-15) and saved["without"] > 0


@pytest.mark.parametrize("kind", ["vllm", "sglang", "two", "hosted"])
def test_the_twin_is_a_run_without_a_cache(tmp_path: Path, kind: str) -> None:
    """Request by request that of the same system configured without one."""
    off = {"caching": {"mode": "off"}} if kind == "hosted" else {"cache": {"kind": "none"}}
    without = {**SYSTEMS[kind], **off}
    done = ran(tmp_path, {"cached": SYSTEMS[kind], "without": without})
    _same(done.runs["cached"].twin, done.runs["without"].records)
    assert done.runs["cached"].twin.cache_read_input_tokens.sum() == 0
    assert done.runs["cached"].records.cache_read_input_tokens.sum() > 0


def test_what_comes_later_changes_nothing_before(tmp_path: Path) -> None:
    """Requests after the others have ended: the rows of the others are as they were."""
    messages = {"a": 400, "b": 90, "c": 300, "r": 20}
    first = [
        {"prompt": ["a"], "reply": "r", "session": 0},
        {"prompt": ["a", "r", "b"], "reply": "r", "at_s": 0.01, "session": 0},
        {"prompt": ["c"], "reply": "r", "at_s": 0.02, "session": 1},
    ]
    late = [{"prompt": ["a", "c"], "reply": "r", "at_s": 5000.0, "session": 2}]
    for system in SYSTEMS.values():
        short, long = (
            ran(tmp_path, {"one": system}, {"kind": "script", "messages": messages, "requests": requests})
            for requests in (first, first + late)
        )
        _same(short.runs["one"].records, long.runs["one"].records, slice(3))


@pytest.mark.parametrize("system", [ENGINE, SGLANG])
def test_limits_that_nobody_meets(tmp_path: Path, system: Data) -> None:
    """Endless patience, endless queues, one priority for all: the same run."""
    plain = ran(tmp_path, {"one": system}).runs["one"].records
    for lax in ({"deadline_s": 1e6}, {"max_queued_requests": 10**6}, {"deadline_s": 1e6, "retries": {}}):
        _same(plain, ran(tmp_path, {"one": {**system, **lax}}).runs["one"].records)


@pytest.mark.parametrize("system", [ENGINE, SGLANG, {**ENGINE, "replicas": 2}])
def test_looking_changes_nothing(tmp_path: Path, system: Data) -> None:
    """Every step recorded (the scheduler that decides each), and samples taken: the same figures."""
    plain = summed(tmp_path, {"one": system})["systems"]["one"]
    for looking in ({"record_steps": True}, {"sample_s": 0.01}):
        looked = summed(tmp_path, {"one": {**system, **looking}})["systems"]["one"]
        assert _rounded(looked) == _rounded(plain), looking


def _rounded(value: Any) -> Any:
    """Up to the last digits: times of single steps are summed in another order."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items() if key != "notes"}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.mark.parametrize(
    "cache",
    [
        {"kind": "block", "block_size": 16, "capacity_blocks": 48},
        {"kind": "block", "block_size": 16, "eviction": "belady", "capacity_blocks": 48},
        {"kind": "message", "match": "prefix", "capacity_tokens": 800},
    ],
)
def test_a_larger_cache_finds_no_less(tmp_path: Path, cache: Data) -> None:
    """Policies that keep at a larger size all that they keep at a smaller one; endless finds most."""
    key = next(key for key in cache if key.startswith("capacity"))
    sizes = [cache[key] * 2**i for i in range(7)]
    systems = {f"c{size}": {"kind": "cache", "cache": {**cache, key: size}} for size in sizes}
    endless = {name: value for name, value in cache.items() if name != key}
    systems["endless"] = {"kind": "cache", "cache": endless}
    found = summed(tmp_path, systems)["systems"]
    hits = [found[name]["cache"]["prefix_cache_hits_tokens"] for name in systems]
    assert all(after >= before for before, after in pairwise(hits)), hits
    assert 0 < hits[0] < hits[-1]


def test_policies_agree_where_nothing_is_evicted(tmp_path: Path) -> None:
    """A policy is a matter of what goes."""
    names = ("lru", "fifo", "lfu", "s3-fifo", "sieve", "arc", "gdsf", "session-aware", "belady")
    cache = {"kind": "block", "block_size": 16, "capacity_blocks": 100_000}
    systems = {name: {"kind": "cache", "cache": {**cache, "eviction": name}} for name in names}
    done = ran(tmp_path, systems)
    first = done.runs["lru"].records
    for name in names:
        _same(first, done.runs[name].records)


def test_a_tenant_doubled(tmp_path: Path) -> None:
    """A second tenant who sends the same as the first: nothing is shared, so everything doubles."""
    rows = [
        {"tokens": list(range(n)), "output_tokens": [9000 + n], "arrival": float(at), "cache_salt": "a"}
        for at, n in enumerate([200, 260, 90, 300, 200, 64])
    ]
    both = [{**row, "cache_salt": salt} for row in rows for salt in "ab"]
    found = []
    for name, lines in (("one.jsonl", rows), ("two.jsonl", both)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        workload = {"kind": "trace", "format": "tokens", "path": name}
        systems = {
            kind: {"kind": "cache", "cache": {"kind": kind}, "tenants": "salted"}
            for kind in ("block", "radix")
        }
        found.append(summed(tmp_path, systems, workload)["systems"])
    for kind in ("block", "radix"):
        one, two = (part[kind] for part in found)
        for figure in ("prefix_cache_queries_tokens", "prefix_cache_hits_tokens"):
            assert two["cache"][figure] == 2 * one["cache"][figure] > 0
        assert two["computed_prompt_tokens"] == 2 * one["computed_prompt_tokens"]


@pytest.mark.parametrize("form", ["parquet", "tokens"])
def test_a_workload_written_and_read_again(tmp_path: Path, form: str) -> None:
    """The requests of a generator in a file: replays find the same as from the generator itself."""
    from sim.config import load_config
    from sim.experiment import load_trace
    from workloads.writing import WRITERS

    open_loop = {**CHAT, "turns": 1, "think_time_s": 0, "tenants": 1}
    made = ran(tmp_path, {"block": REPLAY, "radix": SYSTEMS["radix"]}, open_loop)
    path = tmp_path / f"t.{'parquet' if form == 'parquet' else 'jsonl'}"
    WRITERS[form](load_trace(load_config(tmp_path / "c.yaml")), path, None)
    name = {"parquet": "prefixsim", "tokens": "tokens"}[form]
    workload = {"kind": "trace", "format": name, "path": path.name}
    read = ran(tmp_path, {"block": REPLAY, "radix": SYSTEMS["radix"]}, workload)
    for system in ("block", "radix"):
        one, other = (done.runs[system].records for done in (made, read))
        for column in ("input_tokens", "output_tokens", "cache_read_input_tokens"):
            assert (getattr(one, column) == getattr(other, column)).all(), column


def test_a_recording_played_faster(tmp_path: Path) -> None:
    """At twice the speed, or written with half the times: the same run."""
    rows: list[Data] = [
        {"timestamp": 1000 * at, "input_length": 600 + at, "output_length": 9, "hash_ids": [at % 3, at]}
        for at in range(0, 20, 2)
    ]
    done: list[Records] = []
    for name, divisor, speed in (("full.jsonl", 1, 2.0), ("half.jsonl", 2, 1.0)):
        lines = [{**row, "timestamp": row["timestamp"] // divisor} for row in rows]
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        workload = {"kind": "trace", "format": "mooncake", "path": name, "arrival": {"speed": speed}}
        done.append(ran(tmp_path, {"one": ENGINE}, workload).runs["one"].records)
    _same(done[0], done[1])


def test_a_longer_lifetime_reads_no_less(tmp_path: Path) -> None:
    """Of a hosted API: an hour finds all that five minutes find, and writes are dearer."""
    slow = {**CHAT, "think_time_s": 400, "user_tokens": 3000}
    systems = {
        ttl: {**HOSTED, "regret": False, "caching": {"mode": "automatic", "ttl": ttl}}
        for ttl in ("5m", "1h")
    }
    done = ran(tmp_path, systems, slow)
    short, long = (done.runs[ttl].records.cache_read_input_tokens for ttl in ("5m", "1h"))
    assert (long >= short).all() and long.sum() > short.sum()


def test_a_bill_is_that_of_its_sessions(tmp_path: Path) -> None:
    """Sessions that share nothing: all together cost what they cost one by one, to the last digit."""
    from sim.providers import bills

    def bill(sessions: list[int]) -> Any:
        messages = {
            f"{name}{s}": tokens for s in range(3) for name, tokens in (("u", 2000 + s), ("r", 300))
        }
        requests = [
            {
                "prompt": [f"u{s}", *([f"r{s}", f"u{s}"] * turn)],
                "reply": f"r{s}",
                "at_s": 40.0 * turn + s,
                "session": s,
            }
            for turn in range(3)
            for s in range(3)
            if s in sessions
        ]
        workload = {"kind": "script", "messages": messages, "requests": requests}
        records = ran(tmp_path, {"one": {**HOSTED, "regret": False}}, workload).runs["one"].records
        assert records.cache_read_input_tokens.sum() > 0
        return bills.exact(records).total_usd

    assert bill([0, 1, 2]) == bill([0]) + bill([1]) + bill([2]) > 0
