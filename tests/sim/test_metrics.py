"""Definitions of the figures, on records small enough to check by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from sim import load_config, run
from sim.results import metrics
from sim.results.pricing import Price
from sim.results.records import EngineTotals, Records
from sim.results.slo import Slo
from sim.results.spread import Buckets, Spread
from sim.results.step_log import StepLog
from sim.results.summary import SavedFigure
from sim.results.tally import summarise
from sim.results.window import Window

NAN = math.nan


def _records(**columns: list[float]) -> Records:
    n = len(next(iter(columns.values())))
    base = {
        "session": range(n),
        "turn": [1] * n,
        "tenant": [0] * n,
        "arrival_s": [0.0] * n,
        **dict.fromkeys(("scheduled_s", "first_token_s", "finished_s"), [NAN] * n),
        "input_tokens": [10] * n,
        "cache_read_input_tokens": [0] * n,
        "output_tokens": [1] * n,
        "replica": [-1] * n,
        "preemptions": [0] * n,
        "retries": [0] * n,
        "status": np.array(["completed"] * n, dtype=object),
    }
    table: dict[str, Any] = {key: np.array(value) for key, value in {**base, **columns}.items()}
    return Records(**table)


def test_times_of_a_request() -> None:
    """TTFT from arrival; TPOT over the tokens after the first, none for one-token replies."""
    records = _records(
        arrival_s=[1.0, 2.0],
        scheduled_s=[1.5, 2.0],
        first_token_s=[3.0, 2.5],
        finished_s=[7.0, 2.5],
        output_tokens=[5, 1],
    )
    assert metrics.ttft_s(records).tolist() == [2.0, 0.5]
    assert metrics.e2el_s(records).tolist() == [6.0, 0.5]
    assert metrics.queue_time_s(records).tolist() == [0.5, 0.0]
    tpot = metrics.tpot_s(records)
    assert tpot[0] == 1.0
    assert math.isnan(tpot[1])


def test_distribution_is_numpys_and_ignores_what_is_missing() -> None:
    """Population standard deviation, linear percentiles, milliseconds; null where nothing is."""
    values = np.array([1.0, 2.0, 4.0])
    got = _distribution([1.0, 2.0, NAN, 4.0])
    assert got["mean_ttft_ms"] == pytest.approx(7 / 3)
    assert got["std_ttft_ms"] == pytest.approx(values.std())
    assert got["p90_ttft_ms"] == pytest.approx(np.percentile(values, 90))
    assert set(_distribution([NAN]).values()) == {None}


def _distribution(values_ms: list[float]) -> dict[str, float | None]:
    spread = Spread(metrics.PERCENTILES)
    spread.add(np.array(values_ms))
    spread.settle()
    spread.look(np.array(values_ms))
    return metrics.spread_figures(spread, "ttft")


def test_peak_output_tokens_per_s() -> None:
    """Two runs: 4 iterations of 0.4 s with 3 decodes, then one at 2.0 s that completes 5 prefills."""
    log = StepLog()
    log.add(1.6, 0.4, 0.0, 4, 3, 0)  # tokens at 0.4, 0.8 | 1.2, 1.6
    log.add(2.0, 0.4, 0.0, 1, 3, 5)  # 8 tokens at 2.0
    for logs, most in (([log], 8), ([log, log], 16), ([], None)):
        tokens = Buckets()
        metrics.output_tokens_by_second(tokens, logs, 0.0)
        assert tokens.highest == most


def test_peak_concurrent_requests() -> None:
    """A request counts in every second that it touches."""
    ended = _records(arrival_s=[0.0, 0.9, 2.5], finished_s=[1.1, 1.0, 2.6])
    for records, most in ((ended, 2), (_records(arrival_s=[0.0]), None)):
        changes = Buckets()
        metrics.requests_by_second(changes, records, 0.0)
        assert changes.highest_sum == most


def test_cost_by_gpu_hours() -> None:
    """Two replicas held for 1,800 s at 3.50 USD an hour cost 3.50 USD; busy half the time, half."""
    records = _records(arrival_s=[0.0], finished_s=[1800.0], output_tokens=[7])
    records.engine, records.gpus = EngineTotals(capacity_blocks=1), [1, 1]
    records.work = [StepLog(), StepLog()]
    records.work[1].add(1800.0, 600.0, 0.0, 3, 1, 0)
    cost = summarise(records, Price(gpu_hour_usd=3.5))["cost"]
    assert cost["gpu_seconds"] == 3600.0
    assert cost["cost_usd_total"] == 3.5
    assert cost["cost_usd_busy"] == 1.75
    assert cost["cost_usd_per_1m_input_tokens"] == pytest.approx(350_000)


def test_cost_by_tokens() -> None:
    """1,000 tokens at 2 USD, of which 600 cached at 0.5, and 100 output at 8, per million each."""
    records = _records(input_tokens=[1000], cache_read_input_tokens=[600], output_tokens=[100])
    price = Price(input_usd_per_1m=2, cached_input_usd_per_1m=0.5, output_usd_per_1m=8)
    cost = summarise(records, price)["cost"]
    assert cost["cost_usd_total"] == pytest.approx((400 * 2 + 600 * 0.5 + 100 * 8) / 1e6)
    assert cost["saved_usd_by_cache"] == pytest.approx(600 * 1.5 / 1e6)
    plain = summarise(records, Price(input_usd_per_1m=2))["cost"]
    assert plain["saved_usd_by_cache"] == 0.0


def test_totals_of_a_fleet() -> None:
    """Counters add up; the highest usage is that of the fullest replica, not of the largest."""
    small, large = (
        EngineTotals(max_used_blocks=5, capacity_blocks=10, iterations=1),
        EngineTotals(max_used_blocks=8, capacity_blocks=100, iterations=2),
    )
    for replicas in ((small, large), (large, small)):
        total = EngineTotals()
        for replica in replicas:
            total.add(replica)
        assert (total.max_used_blocks, total.capacity_blocks, total.iterations) == (5, 10, 3)


def test_what_is_measured_after_a_warm_up() -> None:
    """What arrives at its end counts; preemptions are then those of the counted requests."""
    records = _records(arrival_s=[0.0, 1.0, 2.0], preemptions=[3, 1, 0])
    records.engine, records.query_blocks, records.hit_blocks = EngineTotals(num_preemptions=4), 9, 3
    records.evicted_blocks = 2
    assert records.measured() is records
    late = records.measured(Window(1.0))
    assert late.engine is not None and late.engine.num_preemptions == 1
    assert (len(late), late.query_blocks, late.hit_blocks, late.evicted_blocks) == (2, None, None, None)
    records.status[0] = "rejected"
    done = records.measured()
    assert (len(done), done.query_blocks, done.evicted_blocks) == (2, None, 2)
    assert done.engine is not None and done.engine.num_preemptions == 4


def test_savings() -> None:
    """Difference and share; null where a side is missing, no share of nothing."""
    before = dict.fromkeys(get_args(SavedFigure))
    without: Any = before | {"computed_prompt_tokens": 10, "mean_ttft_ms": 0.0}
    without["cost"] = {"gpu_seconds": 4.0, "cost_usd_total": None, "cost_usd_busy": None}
    with_cache = without | {"computed_prompt_tokens": 4}
    got = metrics.savings(without, with_cache)
    assert got["computed_prompt_tokens"] == {"without": 10, "with": 4, "saved": 6, "saved_ratio": 0.6}
    assert got["cost_usd_total"] == {"without": None, "with": None, "saved": None, "saved_ratio": None}
    assert got["mean_ttft_ms"]["saved_ratio"] is None


def test_goodput_counts_requests_within_every_limit() -> None:
    """TTFT 2.0 and 0.5 s, TPOT 1.0 s and none: one-token replies count as TPOT 0."""
    records = _records(
        arrival_s=[1.0, 2.0], first_token_s=[3.0, 2.5], finished_s=[7.0, 2.5], output_tokens=[5, 1]
    )
    assert Slo(ttft_ms=2000).good(records) == 2
    assert Slo(ttft_ms=1999).good(records) == 1
    assert Slo(tpot_ms=999).good(records) == 1
    assert Slo(tpot_ms=1000, e2el_ms=5999).good(records) == 1
    assert Slo(e2el_ms=6000).good(_records(arrival_s=[0.0])) == 0
    with pytest.raises(ValueError, match="at least one of"):
        Slo()


def test_what_does_not_exist_is_null(root: Path) -> None:
    """A replay has no times and no price: null, never 0, and valid JSON."""
    summary = run(load_config(root / "configs/spec/6-the-tree.yaml")).summary()
    text = json.dumps(summary, allow_nan=False)
    assert "NaN" not in text
    replay = summary["systems"]["block-16"]
    for key in ("duration", "p99_ttft_ms", "mean_itl_ms", "request_throughput", "gpu_busy_seconds"):
        assert replay[key] is None
    assert replay["cost"]["cost_usd_total"] is None
    assert replay["cache"]["num_preemptions"] is None


def test_steps_and_records_tell_the_same(root: Path) -> None:
    """Gaps and tokens of the step log add up to the requests' own times and tokens."""
    config = load_config(root / "configs/quickstart.yaml", ["workload.sessions=60"])
    records = run(config).runs["vllm-h200"].records
    from sim.results.itl import gaps_of

    gaps = gaps_of(records.steps)
    decoding = float((records.finished_s - records.first_token_s).sum())
    assert gaps.count == int((records.output_tokens - 1).sum())
    assert gaps.mean * gaps.count == pytest.approx(decoding, rel=1e-9)
