"""The study of capacity: closed forms of D/D/1, the same sessions at every rate, what is not good."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sim import load_config, run
from sim.config import Config
from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.request_log import COMPLETED, REJECTED, TIMED_OUT, RequestLog
from sim.results.slo import Slo
from sim.studies.capacity import CapacityStudy, sample_of, study
from sim.studies.search import Outcome
from tests.sim.small import write_small_mooncake
from workloads.errors import InputError
from workloads.trace import Trace

REQUESTS = 600
LATE = 6
"""Of ``REQUESTS`` so many may miss the limit at a share of 0.99."""
ENGINE = {
    "kind": "engine",
    "engine": {"max_num_seqs": 1},
    "memory": {"kv_blocks": 10_000},
    "latency": {"kind": "constant", "iteration_s": 1.0},
}
CONFIG: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "workload": {
        "kind": "chat",
        "sessions": REQUESTS,
        "arrival": {"process": "uniform", "rate_per_s": 0.3},
        "turns": 1,
        "think_time_s": 0,
        "system_prompt": {"tokens": 160},
        "user_tokens": 16,
        "reply_tokens": 1,
    },
    "slo": {"e2el_ms": 1500},
    "systems": {"queue": ENGINE},
}


def _config(folder: Path, **changes: Any) -> Config:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(CONFIG | changes))
    return load_config(path)


def _study(config: Config, precision: float = 1e-6) -> CapacityStudy:
    return study(config, precision, lambda part, done, total: None)


def test_d_d_1(tmp_path: Path) -> None:
    """Even arrivals, one server, 1 s each: 1 request per s, but for what a finite trace lets pass.

    With gaps g < 1 request k (from 0) ends 1 + k (1 - g) after its arrival. The limit of 1.5 s has to
    hold up to k = REQUESTS - 1 - LATE.
    """
    gap = 1 - 0.5 / (REQUESTS - 1 - LATE)
    system = _study(_config(tmp_path)).systems["queue"]
    for side in (system.with_cache, system.without_cache):
        assert side.best is not None
        assert side.best.rate <= 1 / gap < side.best.rate * (1 + 2e-6)
        assert side.best.good_share == 0.99
        assert side.best.requests_per_s == pytest.approx(1, rel=2 / REQUESTS)
        assert side.best.cost_usd_per_1m_tokens is None
        assert side.entry()["monotone"] is True
    assert system.ratio == 1


def test_what_the_cache_is_worth(tmp_path: Path) -> None:
    """Time in proportion to computed tokens: 176 of them without cache; with it 176 once, then 16.

    Without: request k ends 1.76 + k (1.76 - g) s after its arrival; with: 1.76 + k (0.16 - g). The limit is
    5.28 s, so that k (service - g) may reach 3.52 at the last request that has to be good.
    """
    engine = ENGINE | {"latency": {"kind": "linear", "token_s": 0.01}, "price": {"gpu_hour_usd": 3.6}}
    config = _config(tmp_path, systems={"queue": engine}, slo={"e2el_ms": 5280})
    system = _study(config).systems["queue"]
    last = REQUESTS - 1 - LATE
    gaps = {"without": 1.76 - 3.52 / last, "with": 0.16 - 3.52 / last}
    before, after = system.without_cache.best, system.with_cache.best
    assert before is not None and after is not None
    assert before.rate == pytest.approx(1 / gaps["without"], rel=2e-6)
    assert after.rate == pytest.approx(1 / gaps["with"], rel=2e-6)
    assert system.ratio == after.rate / before.rate
    for side in (before, after):  # 3.6 USD per hour are 0.001 USD per s, 177 tokens a request
        assert side.requests_per_s is not None and side.requests_per_s_per_gpu == side.requests_per_s
        dollars = 1e-3 / side.requests_per_s / 177 * 1e6
        assert side.cost_usd_per_1m_tokens == pytest.approx(dollars, rel=1e-12)


def test_replicas_share_the_load(tmp_path: Path) -> None:
    """Two servers bear twice the rate, half of it per GPU."""
    one, two = (
        _study(_config(tmp_path, systems={"queue": ENGINE | {"replicas": n}}), 0.001).systems["queue"]
        for n in (1, 2)
    )
    assert one.with_cache.best is not None and two.with_cache.best is not None
    assert two.with_cache.best.rate == pytest.approx(2 * one.with_cache.best.rate, rel=0.003)
    per_gpu, per_s = two.with_cache.best.requests_per_s_per_gpu, two.with_cache.best.requests_per_s
    assert per_gpu is not None and per_s == pytest.approx(2 * per_gpu, rel=1e-12)


def test_a_sample_is_a_run_at_that_rate(tmp_path: Path) -> None:
    """The rate written into the configuration gives the share of the study: same sessions, same draws."""
    workload = CONFIG["workload"] | {
        "sessions": 200,
        "arrival": {"process": "poisson", "rate_per_s": 0.3},
        "turns": 3,
        "think_time_s": {"distribution": "exponential", "mean": 5},
    }
    studied = _study(_config(tmp_path, workload=workload), 0.1)
    assert studied.rate_key == "workload.arrival.rate_per_s" and studied.unit == "sessions/s"
    side = studied.systems["queue"].with_cache
    assert any(sample.late_share > 0 for sample in side.samples.values())
    for rate in (studied.configured_rate, side.best.rate if side.best else 0.0):
        arrival = {"process": "poisson", "rate_per_s": rate}
        config = _config(tmp_path, workload=workload | {"arrival": arrival})
        records = run(config).runs["queue"].records
        assert studied.slo.good(records) / len(records) == side.samples[rate].good_share


def test_recorded_arrivals(tmp_path: Path) -> None:
    """A recorded trace is played faster: the rate is its speed."""
    write_small_mooncake(tmp_path / "trace.jsonl")
    workload = {"kind": "trace", "format": "mooncake", "path": "trace.jsonl", "arrival": {"speed": 2.0}}
    engine = {"kind": "engine", "model": "llama-3.1-8b", "hardware": "h200"}
    config = _config(
        tmp_path, workload=workload, systems={"gpu": engine}, slo={"ttft_ms": 1000, "share": 0.9}
    )
    studied = _study(config, 0.05)
    assert (studied.rate_key, studied.configured_rate) == ("workload.arrival.speed", 2.0)
    assert studied.unit == "x recorded speed"
    system = studied.systems["gpu"]
    assert system.ratio is not None and system.ratio > 1
    assert system.with_cache.best is not None and system.with_cache.best.late_share == 0


def test_unbounded_and_none(tmp_path: Path) -> None:
    """Limits that no load can break, and limits that an idle system breaks: no number is given."""
    lax = _study(_config(tmp_path, slo={"e2el_ms": 1e7}), 0.02).systems["queue"]
    tight = _study(_config(tmp_path, slo={"e2el_ms": 999}), 0.02).systems["queue"]
    assert lax.with_cache.search.outcome is Outcome.UNBOUNDED
    assert tight.with_cache.search.outcome is Outcome.NONE
    for system in (lax, tight):
        assert system.ratio is None and system.with_cache.best is None
        entry = system.with_cache.entry()
        assert entry["max_rate"] is None and entry["at_max_rate"] is None


def _records() -> Records:
    """Four requests, a second apart: good, slow, rejected, timed out; the second one ends at 8 s."""
    trace = Trace()
    for i in range(4):
        prompt = trace.content.append(0, 10)
        trace.add(prompt=prompt, output_tokens=2, arrival_s=float(i))
    log = RequestLog(trace)
    log.arrival_s = array("d", [0.0, 1.0, 2.0, 3.0])
    for i, (status, first_s, end_s) in enumerate(
        [(COMPLETED, 0.5, 1.0), (COMPLETED, 7.0, 8.0), (REJECTED, None, None), (TIMED_OUT, 3.5, None)]
    ):
        log.status[i] = status
        if first_s is not None:
            log.first_token_s[i] = first_s
        if end_s is not None:
            log.finished_s[i] = end_s
    records = Records.of(log)
    records.gpus = [1]
    return records


def test_rejected_and_timed_out_are_not_good() -> None:
    """One of four is good; of the two that come after the warm-up none is."""
    records, slo = _records(), Slo(ttft_ms=1000)
    price = Price(input_usd_per_1m=1.0, output_usd_per_1m=2.0)
    sample = sample_of(1.0, records, slo, 0.0, 3.0, price)
    assert sample.good_share == 0.25 and sample.late_share == 0
    assert sample.requests_per_s == pytest.approx(1 / 3)  # what ends while sessions begin: the first
    assert sample.cost_usd_per_1m_tokens == pytest.approx((10 * 1 + 2 * 2) / 12)
    assert sample.pricing == "tokens"
    assert sample_of(1.0, records, slo, 2.0, 3.0, price).good_share == 0
    assert sample_of(1.0, records, slo, 0.0, 2.0, price).late_share == 0.25
    assert sample_of(1.0, records, slo, 0.0, 0.5, None).requests_per_s is None
    # Of the time after a warm-up only: the first ends at 1 s, sessions begin until 3 s.
    assert sample_of(1.0, records, slo, 0.5, 3.0, None).requests_per_s == pytest.approx(1 / 2.5)
    assert sample_of(1.0, records, slo, 1.5, 3.0, None).requests_per_s is None
    with pytest.raises(InputError, match="warmup_s leaves out every request at rate 1;"):
        sample_of(1.0, records, slo, 4.0, 3.0, price)


def test_warm_up_shrinks_with_the_trace(tmp_path: Path) -> None:
    """At every rate the same requests are left out: here the first half."""
    warmup_s = (REQUESTS / 2 - 0.5) / 0.3
    side = _study(_config(tmp_path, warmup_s=warmup_s), 1e-5).systems["queue"].with_cache
    counted = np.array([sample.good_share * REQUESTS / 2 for sample in side.samples.values()])
    assert counted == pytest.approx(np.rint(counted), abs=1e-9)
    assert len({sample.good_share for sample in side.samples.values()}) > 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slo": None}, r"slo is missing; allowed: limits"),
        (
            {"systems": {"replay": {"kind": "cache", "cache": {"kind": "ideal"}}}},
            "at least one of kind engine",
        ),
        (
            {"workload": CONFIG["workload"] | {"arrival": {"process": "closed_loop", "concurrency": 4}}},
            r"workload.arrival.process = 'closed_loop'.*allowed: poisson, uniform, profile, or recorded",
        ),
        (
            {
                "workload": {
                    "kind": "script",
                    "messages": {"a": 1},
                    "requests": [{"prompt": ["a"], "reply": "a"}],
                }
            },
            r"workload \(kind script\) has no arrival rate",
        ),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """What has no limit, no service time or no rate has no capacity."""
    with pytest.raises(InputError, match=said):
        _study(_config(tmp_path, **changes))


@pytest.mark.parametrize("precision", [0.0, -1.0, 1e-300, 0.21, float("nan")])
def test_precision(tmp_path: Path, precision: float) -> None:
    """Coarser than the rates around the answer, it could contradict itself; too fine, it never ends."""
    with pytest.raises(InputError, match=r"--precision .*; allowed: 1e-06 to 0.2"):
        _study(_config(tmp_path), precision)


def test_share_of_the_limits() -> None:
    """99 % by default; a share of nothing, or of more than everything, is refused."""
    assert Slo(ttft_ms=1).share == 0.99
    assert Slo(ttft_ms=1, e2el_ms=2).limits_ms == {"ttft": 1, "e2el": 2}
    for share in (0.0, 1.01):
        with pytest.raises(ValueError, match="share"):
            Slo(ttft_ms=1, share=share)


def test_the_study_of_the_project(root: Path) -> None:
    """configs/studies/capacity.yaml, its chats cut to one turn: more load with the cache."""
    single = ["workload.sessions=400", "workload.turns=1", "workload.user_tokens=1000"]
    config = load_config(root / "configs/studies/capacity.yaml", single)
    studied = _study(config, 0.1)
    entry = json.loads(json.dumps(studied.summary()))["systems"]["vllm-h200"]
    assert entry["ratio"] > 1.5, "half of every prompt is the same system message"
    assert entry["ratio"] == entry["with_cache"]["max_rate"] / entry["without_cache"]["max_rate"]
    for side in ("with_cache", "without_cache"):
        best, rates = entry[side]["at_max_rate"], [sample["rate"] for sample in entry[side]["samples"]]
        assert best["rate"] == entry[side]["max_rate"] and best["good_share"] >= 0.99
        assert (
            rates == sorted(rates) and best["rate"] < entry[side]["next_rate_tried"] <= best["rate"] * 1.1
        )
        assert best["pricing"] == "gpu_hours" and best["cost_usd_per_1m_tokens"] > 0
