"""Intervals hold what they promise; differences under common random numbers are told more exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sim.config import load_config
from sim.experiment import run
from sim.hardware.coefficients import Coefficients
from sim.result import Result
from sim.results import intervals, repetitions, steady
from sim.results.intervals import Repetitions, half_width
from sim.results.records import Records
from sim.results.request_log import RequestLog
from sim.results.steady import Asked
from sim.results.summary import Intervals, Saving
from sim.studies.seeds import Until, run_seeds
from tests.engine.queueing import requests_at, serve
from tests.refusing import Cli
from tests.sim.small import write_small_mooncake
from workloads.errors import InputError
from workloads.trace import Trace

CHAT: dict[str, Any] = {
    "kind": "chat",
    "duration_s": 150,
    "arrival": {"process": "poisson", "rate_per_s": 2.0},
    "turns": {"distribution": "geometric", "mean": 3},
    "think_time_s": 3,
    "system_prompt": {"tokens": 300},
    "user_tokens": {"distribution": "lognormal", "mean": 200, "sigma": 1.0},
    "reply_tokens": {"distribution": "lognormal", "mean": 150, "sigma": 0.8},
}
ENGINE: dict[str, Any] = {
    "kind": "engine", "model": "llama-3.1-8b", "hardware": "h200", "memory": {"kv_blocks": 6000},
    "latency": {"kind": "roofline", "mfu": 1, "mbu": 1},
}  # fmt: skip


def _config(tmp_path: Path, systems: dict[str, Any], *settings: str, **more: Any) -> Any:
    config = {"name": "x", "workload": CHAT, "systems": systems, **more}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    return load_config(tmp_path / "x.yaml", settings)


def _within(result: Result) -> tuple[Intervals, dict[str, Saving]]:
    summary = result.summary()
    assert summary["intervals"] is not None
    saved: Any = summary["savings"]["one"]
    return summary["intervals"], saved


def _queue(seed: int, requests: int) -> tuple[Trace, Records]:
    """M/D/1 at half load with a service time of 1 s, by Lindley's recursion instead of an engine."""
    trace = requests_at(0.5, seed, 2, requests=requests)
    log = RequestLog(trace)
    free_s = 0.0
    for index, arrival_s in enumerate(trace.arrival_s):
        assert arrival_s is not None
        start_s = max(arrival_s, free_s)
        free_s = start_s + 1
        log.arrival_s[index], log.scheduled_s[index] = arrival_s, start_s
        log.first_token_s[index], log.finished_s[index] = start_s + 0.5, free_s
        log.end(index, "completed")
    return trace, Records.of(log)


def _engine(seed: int, requests: int) -> tuple[Trace, Records]:
    """The same queue as an engine that serves one request at a time."""
    trace = requests_at(0.5, seed, 100, requests=requests)
    return trace, serve(trace, Coefficients(step=0.01), max_num_seqs=1)


def covered(
    serve_one: Callable[[int, int], tuple[Trace, Records]] = _queue, runs: int = 200
) -> tuple[int, float]:
    """How many of so many runs have an interval that holds the true mean, and the mean of lower bounds, ms.

    M/D/1 at half load waits half a service time on average.
    """
    covered, lows = 0, []
    for seed in range(runs):
        trace, records = serve_one(seed, 1500)
        measured = steady.measure(trace, Asked(), {"one": (records, records)})
        found = repetitions.of_one_run(trace, measured, {"one": (records, records, None)}, None, seed)
        assert found is not None and found.kind == "parts"
        waits = found.values("mean_queue_time_ms", "one")
        assert waits is not None
        low, high = found.interval("mean_queue_time_ms", waits, float(np.mean(waits)), 0.95)
        covered += low <= 500 <= high
        lows.append(low)
    return covered, float(np.mean(lows))


@pytest.mark.parametrize(
    ("serve_one", "runs"),
    [
        pytest.param(_queue, 100, id="100 queues"),
        pytest.param(_queue, 200, id="200 queues", marks=pytest.mark.slow),
        pytest.param(_engine, 200, id="200 engines", marks=pytest.mark.slow),
    ],
)
def test_the_interval_covers_a_known_mean(
    serve_one: Callable[[int, int], tuple[Trace, Records]], runs: int
) -> None:
    """Each of many runs with its own interval."""
    holding, low = covered(serve_one, runs)
    assert 0.90 <= holding / runs <= 0.99
    assert low > 300, "the interval must be able to exclude something"


def narrower(tmp_path: Path, *figures: str) -> list[float]:
    """How many times as wide the interval of what the cache saves would be from independent runs."""
    quiet = ["seeds=8", "workload.arrival.rate_per_s=0.5", "workload.duration_s=300"]
    result = run_seeds(_config(tmp_path, {"one": ENGINE}, *quiet), lambda part, done, total: None)
    assert result.seeds is not None and result.seeds.kind == "seeds" and result.seeds.count == 8
    out = []
    for figure in figures:
        before = result.seeds.values(figure, "one", cached=False)
        after = result.seeds.values(figure, "one")
        assert before is not None and after is not None
        paired = half_width([b - a for b, a in zip(before, after, strict=True)])
        others = after[1:] + after[:1]  # of another seed each: independent runs
        independent = half_width([b - a for b, a in zip(before, others, strict=True)])
        out.append(independent / paired)
    return out


def test_common_random_numbers(tmp_path: Path) -> None:
    """The same traffic with and without the cache: a saving is known far better than from other traffic."""
    assert min(narrower(tmp_path, "gpu_busy_seconds", "mean_e2el_ms", "p99_e2el_ms")) > 3


def test_figures_of_seeds_are_means(tmp_path: Path) -> None:
    """Each seed is the run of that seed; figures, savings and intervals follow from them."""
    systems = {"one": ENGINE, "two": ENGINE | {"memory": {"kv_blocks": 900}}}
    result = run_seeds(_config(tmp_path, systems, "seed=3", "seeds=3"), lambda part, done, total: None)
    alone = [run(_config(tmp_path, systems, f"seed={seed}")).summary() for seed in (3, 4, 5)]
    summary = result.summary()
    for name in systems:
        for figure in ("mean_ttft_ms", "p99_e2el_ms"):
            values: Any = [one["systems"][name][figure] for one in alone]
            mean: Any = summary["systems"][name][figure]
            assert mean == pytest.approx(np.mean(values), rel=1e-12)
            assert summary["intervals"] is not None
            low, high = summary["intervals"]["systems"][name][figure]
            assert (high - low) / 2 == pytest.approx(half_width(values))
            assert (high + low) / 2 == pytest.approx(mean)
    completed = [one["systems"]["one"]["completed"] for one in alone]
    assert summary["systems"]["one"]["completed"] == round(sum(completed) / 3)
    saved = summary["savings"]["one"]["mean_ttft_ms"]
    assert saved["without"] == summary["no_cache"]["one"]["mean_ttft_ms"]


def test_seeds_until_an_interval_is_narrow(tmp_path: Path) -> None:
    """As few as will do, and no fewer than three."""
    config = _config(tmp_path, {"one": ENGINE})
    until = Until.parse("saved_p50_ttft <= 10%")
    result = run_seeds(config, lambda part, done, total: None, until)
    found, savings = _within(result)
    low, high = found["savings"]["one"]["p50_ttft_ms"]["saved"] or (0.0, 0.0)
    assert (high - low) / 2 <= 0.10 * (savings["p50_ttft_ms"]["saved"] or 0.0)
    assert found["count"] >= 3
    flats = result.seeds
    assert flats is not None
    shorter = {name: list(values[:-1]) for name, values in flats.systems.items()}
    before = {name: list(values[:-1]) for name, values in flats.no_cache.items()}
    assert found["count"] == 3 or not until.reached(shorter, before)


def test_seeds_until_a_figure_that_no_system_has(tmp_path: Path) -> None:
    """Without `slo` there is no goodput: the goal is refused, and not taken to be reached."""
    config = _config(tmp_path, {"one": ENGINE}, "workload.duration_s=20")
    until = Until.parse("request_goodput <= 5%")
    with pytest.raises(InputError, match="--until: no system has the figure request_goodput"):
        run_seeds(config, lambda part, done, total: None, until)


def test_seeds_without_a_steady_part_are_told(tmp_path: Path) -> None:
    """The first one has a window; that others have none, and so are measured whole, is a warning."""
    config = _config(tmp_path, {"one": ENGINE}, "seeds=3", "workload.duration_s=60", "seed=1")
    result = run_seeds(config, lambda part, done, total: None)
    alone = [run(config.with_seed(config.seed + i)).summary()["window"]["chosen"] for i in range(3)]
    assert alone[0] == "found" and "whole" in alone
    (said,) = result.summary()["warnings"]
    assert said.startswith(f"{alone.count('whole')} of 3 seeds have no steady part")


def test_a_figure_that_a_seed_lacks_has_no_mean() -> None:
    """Not that of the first seed in its place."""
    entry = {"completed": 4, "mean_ttft_ms": 9.0, "cache": {}, "cost": {"cost_usd_total": None}}
    summary: Any = {"systems": {"one": entry}, "no_cache": {}}
    flats = [{"completed": 4.0, "mean_ttft_ms": 9.0}, {"completed": 1.0}]
    intervals.average(summary, Repetitions("seeds", {"one": flats}, {}))
    assert entry["mean_ttft_ms"] is None
    assert entry["completed"] == 2 and isinstance(entry["completed"], int)
    assert entry["cost"] == {"cost_usd_total": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p50", "allowed: like"),
        ("saved_p50_ttft < 5%", "allowed: like"),
        ("saved_colour <= 5%", "no figure called 'colour'"),
        ("saved_completed <= 5%", "no figure called 'completed'"),
        ("mean_ttft <= 0%", "allowed: more than 0%"),
        ("mean_ttft <= 1.2.3%", "allowed: like"),
        ("mean_ttft <= %", "allowed: like"),
    ],
)
def test_goals_that_are_none(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Until.parse(text)


def test_sessions_of_a_recorded_trace_are_resampled() -> None:
    """The bootstrap's standard error of a mean is that of theory where sessions are single requests."""
    rng = np.random.default_rng(0)
    values = rng.exponential(10.0, 400)
    session = np.arange(400)
    draws = rng.multinomial(400, np.full(400, 1 / 400), 2000)
    means = repetitions._latency("ttft", values, session, draws)["mean_ttft_ms"]
    assert means.std() == pytest.approx(values.std() / 20, rel=0.05)
    assert means.mean() == pytest.approx(values.mean(), rel=0.005)
    # The weighted percentile is that of the resample written out.
    medians = repetitions._latency("ttft", values, session, draws[:20])["p90_ttft_ms"]
    for draw, median in zip(draws[:20], medians, strict=True):
        written = np.sort(np.repeat(values, draw))
        assert median == written[int(np.ceil(0.9 * len(written))) - 1]


def test_a_recorded_trace(tmp_path: Path) -> None:
    """Without sessions it is cut by time; nothing of it is left out."""
    write_small_mooncake(tmp_path / "trace.jsonl", sessions=200)
    trace = {"kind": "trace", "format": "mooncake", "path": "trace.jsonl", "block_size": 512}
    result = run(_config(tmp_path, {"one": ENGINE | {"memory": {"kv_blocks": 3000}}}, workload=trace))
    summary = result.summary()
    assert summary["window"]["chosen"] == "whole" and summary["window"]["outside_ratio"] == 0
    assert summary["intervals"] is not None and summary["intervals"]["repetitions"] == "parts"
    low, high = summary["intervals"]["systems"]["one"]["cache.prefix_cache_hit_rate"]
    assert low < (summary["systems"]["one"]["cache"]["prefix_cache_hit_rate"] or 0) < high


def _call(at_s: float, blocks: int) -> dict[str, Any]:
    """A request of a recorded session, with the first ``blocks`` blocks of one text."""
    return {"t": at_s, "type": "s", "in": 64 * blocks, "out": 5, "hash_ids": list(range(1, blocks + 1))}


def test_resamples_in_which_no_request_completes(tmp_path: Path) -> None:
    """Of two sessions one gets no reply: means do not exist in every resample, totals do."""
    sessions = {"a": [_call(0, 2), _call(20, 3)], "b": [_call(40, 1500)]}
    rows = [
        {"id": name, "block_size": 64, "hash_id_scope": "local", "requests": calls}
        for name, calls in sessions.items()
    ]
    (tmp_path / "calls.jsonl").write_text("\n".join(map(json.dumps, rows)))
    trace = {"kind": "trace", "format": "claude_code_compact", "path": "calls.jsonl"}
    price = {"input_usd_per_1m": 3.0, "cached_input_usd_per_1m": 1.0, "output_usd_per_1m": 9.0}
    one = ENGINE | {"deadline_s": 0.5, "price": price, "memory": {"kv_blocks": 9000}}
    summary = run(_config(tmp_path, {"one": one}, workload=trace)).summary()
    assert summary["systems"]["one"]["failed"] == 1
    assert summary["intervals"] is not None and summary["intervals"]["repetitions"] == "bootstrap"
    found = summary["intervals"]["systems"]["one"]
    assert "mean_ttft_ms" not in found and "cache.prefix_cache_hit_rate" not in found
    assert found["completed"] == (0.0, 4.0)
    total = summary["systems"]["one"]["cost"]["cost_usd_total"]
    assert total is not None
    assert found["cost.cost_usd_total"] == pytest.approx((0.0, 2 * total)), "of what was answered"


def test_totals_of_parts() -> None:
    """A total is the sum of its parts, so its interval is wider than that of their mean by their number."""
    flats = [{"completed": 9.0, "mean_ttft_ms": 9.0}, {"completed": 11.0, "mean_ttft_ms": 11.0}]
    parts = Repetitions("parts", {"one": flats}, {"one": flats})
    half = intervals.t_quantile(0.95, 1) * 1.0  # a standard deviation of sqrt(2), over sqrt(2)
    assert parts.interval("mean_ttft_ms", [9, 11], 10.0, 0.95) == pytest.approx((10 - half, 10 + half))
    assert parts.interval("completed", [9, 11], 20.0, 0.95) == pytest.approx((20 - 2 * half, 20 + 2 * half))
    assert parts.values("missing", "one") is None
    assert parts.values("cache.kv_cache_usage_perc", "one") is None


@pytest.mark.parametrize("command", ["capacity", "habits", "curve", "sweep"])
def test_commands_that_run_one_seed_refuse_several(cli_here: Cli, tmp_path: Path, command: str) -> None:
    """Nothing is ignored: seeds that only `run` repeats are refused by the other commands."""
    _config(tmp_path, {"one": ENGINE}, seeds=3, slo={"ttft_ms": 500})
    axis = ["--set", "workload.think_time_s=1,2"] if command == "sweep" else []
    done = cli_here(command, str(tmp_path / "x.yaml"), "--out", "out", *axis)
    assert done.returncode == 2 and "seeds = 3: run repeats seeds" in done.stderr
