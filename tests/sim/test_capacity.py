"""The study of capacity: queues with a known answer, what has no bound, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from sim import load_config
from sim.results.slo import Slo
from sim.studies.search import Outcome
from tests.sim.one_server import CONFIG, DURATION_S, ENGINE, config_of, study_of
from workloads.errors import InputError


def _naive_share(rate: float, duration_s: float, first_s: float, other_s: float, limit_s: float) -> float:
    """Requests within the limit of a queue with even arrivals, one server and known service times."""
    free_s, good, n = 0.0, 0, 0
    while n / rate < duration_s:
        free_s = max(free_s, n / rate) + (other_s if n else first_s)
        good += free_s - n / rate <= limit_s
        n += 1
    return good / n


FEW = {"e2el_ms": 1500, "share": 0.9}
"""Limits that can be told from a tenth of the requests that a share of 99 % needs."""
WHOLE: dict[str, Any] = {"warmup_s": 0, "until_s": "end"}
"""Every request is measured."""


def test_d_d_1(tmp_path: Path) -> None:
    """Even arrivals, one server, 1 s each: every share is that of a naive queue, the limit is 1 per s.

    A queue that grows by less than half a request in the run is not seen: at most 0.5 / n above 1.
    """
    system = study_of(config_of(tmp_path, **WHOLE)).systems["queue"]
    for side in (system.with_cache, system.without_cache):
        assert side.best is not None
        assert 1 - 1e-5 < side.best.rate < 1 + 0.6 / DURATION_S
        assert side.best.good_share == pytest.approx(0.99, abs=1 / DURATION_S)
        assert side.best.requests_per_s == pytest.approx(1, rel=3 / DURATION_S)
        assert side.best.cost_usd_per_1m_tokens is None
        assert side.entry()["monotone"] is True
        for sample in side.samples.values():
            # Half a microsecond aside, a limit that is met exactly is a matter of rounding.
            shares = [
                _naive_share(sample.rate, sample.duration_s, 1, 1, 1.5 + off) for off in (-1e-6, 1e-6)
            ]
            assert sample.good_share is not None and shares[0] <= sample.good_share <= shares[1]
            assert sample.requests >= 1000 and sample.duration_s >= DURATION_S
            assert sample.overloaded == (sample.rate > 1.02), sample.rate
    assert system.ratio == 1


def test_what_the_cache_is_worth(tmp_path: Path) -> None:
    """Time in proportion to computed tokens: 176 of them without cache; with it 176 once, then 16."""
    engine = ENGINE | {"latency": {"kind": "linear", "token_s": 0.01}, "price": {"gpu_hour_usd": 3.6}}
    workload = CONFIG["workload"] | {"duration_s": 400}
    config = config_of(
        tmp_path, workload=workload, systems={"queue": engine}, slo={"e2el_ms": 5280}, **WHOLE
    )
    system = study_of(config, 2e-3).systems["queue"]
    before, after = system.without_cache.best, system.with_cache.best
    assert before is not None and after is not None
    assert before.rate == pytest.approx(1 / 1.76, rel=0.01)
    assert after.rate == pytest.approx(1 / 0.16, rel=0.01)
    assert system.ratio == after.rate / before.rate
    for side, first_s, other_s in ((before, 1.76, 1.76), (after, 1.76, 0.16)):
        share = _naive_share(side.rate, side.duration_s, first_s, other_s, 5.28 + 1e-9)
        assert side.good_share == share
        # 3.6 USD per hour are 0.001 USD per s, 177 tokens a request
        assert side.requests_per_s is not None and side.requests_per_s_per_gpu == side.requests_per_s
        dollars = 1e-3 / side.requests_per_s / 177 * 1e6
        assert side.cost_usd_per_1m_tokens == pytest.approx(dollars, rel=1e-12)


def _wait_share(rate: float, limit_s: float) -> float:
    """P(wait <= limit_s) in M/D/1 with a service time of 1 s (Erlang 1909)."""
    terms = (
        (-rate * (limit_s - k)) ** k / math.factorial(k) * math.exp(rate * (limit_s - k))
        for k in range(int(limit_s) + 1)
    )
    return (1 - rate) * sum(terms)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_m_d_1(tmp_path: Path, seed: int) -> None:
    """Independent arrivals: the rate at which 90 % wait for 4 s at most, by Erlang's formula.

    It lies in the interval, within the precision of the rate found, and so it does for other draws.
    """
    low, high = 0.1, 0.99
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _wait_share(middle, 4) > 0.9 else (low, middle)
    arrival = {"process": "poisson", "rate_per_s": 0.6}
    workload = CONFIG["workload"] | {"arrival": arrival, "duration_s": 4000}
    config = config_of(tmp_path, workload=workload, slo={"e2el_ms": 5000.001, "share": 0.9})
    side = study_of(config.with_seed(seed), 0.05).systems["queue"].without_cache
    assert side.best is not None and side.best.rate == pytest.approx(low, rel=0.05)
    at_least, at_most = side.interval
    assert at_least is not None and at_most is not None and at_least < low < at_most < 1.4 * at_least


def test_replicas_share_the_load(tmp_path: Path) -> None:
    """Two servers bear twice the rate, half of it per GPU."""
    short = CONFIG["workload"] | {"duration_s": 300}
    one, two = (
        study_of(
            config_of(tmp_path, workload=short, systems={"queue": ENGINE | {"replicas": n}}, slo=FEW), 0.01
        ).systems["queue"]
        for n in (1, 2)
    )
    assert one.with_cache.best is not None and two.with_cache.best is not None
    assert two.with_cache.best.rate == pytest.approx(2 * one.with_cache.best.rate, rel=0.015)
    per_gpu, per_s = two.with_cache.best.requests_per_s_per_gpu, two.with_cache.best.requests_per_s
    assert per_gpu is not None and per_s == pytest.approx(2 * per_gpu, rel=1e-12)


def test_unbounded_and_none(tmp_path: Path) -> None:
    """A load that stays little, and limits that an idle system breaks: no number is given."""
    little = CONFIG["workload"] | {"arrival": {"process": "uniform", "rate_per_s": 1e-5}}
    for_all = config_of(tmp_path, workload=little, slo={"e2el_ms": 1e7, "share": 0.9})
    lax = study_of(for_all, 0.02).systems["queue"]
    tight = study_of(config_of(tmp_path, slo={"e2el_ms": 999, "share": 0.9}), 0.02).systems["queue"]
    assert lax.with_cache.search.outcome is Outcome.UNBOUNDED
    assert tight.with_cache.search.outcome is Outcome.NONE
    for system in (lax, tight):
        assert system.ratio is None and system.with_cache.best is None
        entry = system.with_cache.entry()
        assert entry["max_rate"] is None and entry["at_max_rate"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slo": None}, r"slo is missing; allowed: limits"),
        (
            {"systems": {"replay": {"kind": "cache", "cache": {"kind": "ideal"}}}},
            "at least one of kind engine",
        ),
        (
            {
                "workload": {key: value for key, value in CONFIG["workload"].items() if key != "duration_s"}
                | {"sessions": 9, "arrival": {"process": "closed_loop", "concurrency": 4}}
            },
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
        study_of(config_of(tmp_path, **changes))


@pytest.mark.parametrize("precision", [0.0, -1.0, 1e-300, 0.21, float("nan")])
def test_precision(tmp_path: Path, precision: float) -> None:
    """Coarser than the rates around the answer, it could contradict itself; too fine, it never ends."""
    with pytest.raises(InputError, match=r"--precision .*; allowed: 1e-06 to 0.2"):
        study_of(config_of(tmp_path), precision)


def test_share_of_the_limits() -> None:
    """99 % by default; a share of nothing, or of more than everything, is refused."""
    assert Slo(ttft_ms=1).share == 0.99
    assert Slo(ttft_ms=1, e2el_ms=2).limits_ms == {"ttft": 1, "e2el": 2}
    for share in (0.0, 1.01):
        with pytest.raises(ValueError, match="share"):
            Slo(ttft_ms=1, share=share)


def test_the_study_of_the_project(root: Path) -> None:
    """configs/studies/capacity.yaml, its chats cut to one turn: more load with the cache."""
    single = ["workload.duration_s=100", "workload.turns=1", "workload.user_tokens=1000"]
    config = load_config(root / "configs/studies/capacity.yaml", single)
    studied = study_of(config, 0.1)
    entry = json.loads(json.dumps(studied.summary()))["systems"]["vllm-h200"]
    assert entry["ratio"] > 1.2, "half of every prompt is the same system message"
    assert entry["ratio"] == entry["with_cache"]["max_rate"] / entry["without_cache"]["max_rate"]
    for side in ("with_cache", "without_cache"):
        best, rates = entry[side]["at_max_rate"], [sample["rate"] for sample in entry[side]["samples"]]
        assert best["rate"] == entry[side]["max_rate"] and best["good_share"] >= 0.99 and best["steady"]
        assert (
            rates == sorted(rates) and best["rate"] < entry[side]["next_rate_tried"] <= best["rate"] * 1.1
        )
        assert best["pricing"] == "gpu_hours" and best["cost_usd_per_1m_tokens"] > 0


@pytest.mark.slow
def test_the_study_of_the_project_does_not_depend_on_its_length(root: Path) -> None:
    """A third of its length and twice that: the longer one's rates lie in the shorter one's interval."""
    rates, intervals = [], []
    for duration_s in (300, 600):
        settings = [f"workload.duration_s={duration_s}"]
        system = study_of(load_config(root / "configs/studies/capacity.yaml", settings), 0.05).systems[
            "vllm-h200"
        ]
        for side in (system.without_cache, system.with_cache):
            assert side.best is not None
            rates.append(side.best.rate)
            intervals.append(side.interval)
    for (low, high), rate in zip(intervals[:2], rates[2:], strict=True):
        assert low is not None and high is not None and low <= rate <= high
