"""The study of capacity: queues with a known answer, what is long enough, what is refused or not good."""

from __future__ import annotations

import itertools
import json
import math
from array import array
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim import load_config, run
from sim.config import Config
from sim.experiment import load_trace
from sim.results.pricing import Price
from sim.results.records import EngineTotals, Records
from sim.results.request_log import COMPLETED, REJECTED, TIMED_OUT, RequestLog
from sim.results.slo import Slo
from sim.results.steady import Asked
from sim.results.step_log import StepLog
from sim.studies import load
from sim.studies.capacity import CapacityStudy, study
from sim.studies.rate_sample import RateSample, sample_of
from sim.studies.search import Outcome, Verdict
from tests.sim.small import write_small_mooncake
from workloads.errors import InputError
from workloads.trace import Trace

DURATION_S = 1000
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
        "duration_s": DURATION_S,
        "arrival": {"process": "uniform", "rate_per_s": 0.6},
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


def _study(config: Config, precision: float = 1e-5) -> CapacityStudy:
    return study(config, precision, lambda part, done, total: None)


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
    system = _study(_config(tmp_path, **WHOLE)).systems["queue"]
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
    config = _config(tmp_path, workload=workload, systems={"queue": engine}, slo={"e2el_ms": 5280}, **WHOLE)
    system = _study(config, 2e-3).systems["queue"]
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
    config = _config(tmp_path, workload=workload, slo={"e2el_ms": 5000.001, "share": 0.9})
    side = _study(config.with_seed(seed), 0.05).systems["queue"].without_cache
    assert side.best is not None and side.best.rate == pytest.approx(low, rel=0.05)
    at_least, at_most = side.interval
    assert at_least is not None and at_most is not None and at_least < low < at_most < 1.4 * at_least


def test_replicas_share_the_load(tmp_path: Path) -> None:
    """Two servers bear twice the rate, half of it per GPU."""
    short = CONFIG["workload"] | {"duration_s": 300}
    one, two = (
        _study(
            _config(tmp_path, workload=short, systems={"queue": ENGINE | {"replicas": n}}, slo=FEW), 0.01
        ).systems["queue"]
        for n in (1, 2)
    )
    assert one.with_cache.best is not None and two.with_cache.best is not None
    assert two.with_cache.best.rate == pytest.approx(2 * one.with_cache.best.rate, rel=0.015)
    per_gpu, per_s = two.with_cache.best.requests_per_s_per_gpu, two.with_cache.best.requests_per_s
    assert per_gpu is not None and per_s == pytest.approx(2 * per_gpu, rel=1e-12)


TURNS = CONFIG["workload"] | {
    "duration_s": 20,
    "arrival": {"process": "poisson", "rate_per_s": 0.3},
    "turns": 3,
    "think_time_s": {"distribution": "exponential", "mean": 5},
}
"""Too short for a steady state at any rate."""
LAX = {"e2el_ms": 6000, "share": 0.9}


def test_a_sample_is_a_run_at_that_rate(tmp_path: Path) -> None:
    """The rate and the length written into the configuration give what the study says: same draws."""
    studied = _study(_config(tmp_path, workload=TURNS, slo=LAX), 0.1)
    assert studied.rate_key == "workload.arrival.rate_per_s" and studied.unit == "sessions/s"
    assert studied.configured_duration_s == 20
    system = studied.systems["queue"]
    side = system.with_cache
    assert side.best is not None
    for sample in (side.best, side.samples[studied.configured_rate]):
        assert sample.duration_s > 20 and sample.requests >= 200 and sample.steady
        arrival = {"process": "poisson", "rate_per_s": sample.rate}
        workload = TURNS | {"arrival": arrival, "duration_s": sample.duration_s}
        result = run(_config(tmp_path, workload=workload, slo=LAX))
        summary = result.summary()
        assert not [said for said in summary["warnings"] if "too short" in said]
        assert result.measure.windows["queue"][0] == sample.window
        figures = summary["systems"]["queue"]
        assert figures["request_throughput"] == sample.requests_per_s
        good = studied.slo.good(result.runs["queue"].records.measured(sample.window))
        assert sample.good_share == good / sample.requests
    both = side.samples.keys() & system.without_cache.samples.keys()
    assert both
    for rate in both:
        of_rate = side.samples[rate], system.without_cache.samples[rate]
        assert not all(s.steady for s in of_rate) or len({s.sessions for s in of_rate}) == 1


def test_the_rate_does_not_depend_on_the_length(tmp_path: Path) -> None:
    """A run far too short, one of 15 minutes, one of 30: a longer one stays within the interval."""
    found = []
    for duration_s in (20, 900, 1800):
        workload = TURNS | {"duration_s": duration_s}
        side = _study(_config(tmp_path, workload=workload, slo=LAX), 0.05).systems["queue"].without_cache
        assert side.best is not None and side.best.duration_s >= duration_s
        found.append((side.best.rate, side.interval))
    for (_, (low, high)), (rate, _) in itertools.combinations(found, 2):
        assert low is not None and high is not None and low <= rate <= high, found
    # One request per s is served: a third of a session.
    assert all(rate < 1 / 3 for rate, _ in found)


def test_far_too_much_is_not_lengthened(tmp_path: Path) -> None:
    """Forty times what is borne is judged by the run as configured."""
    workload = TURNS | {"arrival": {"process": "poisson", "rate_per_s": 9.6}, "duration_s": 60}
    side = _study(_config(tmp_path, workload=workload, slo=LAX), 0.1).systems["queue"].with_cache
    far = side.samples[9.6]
    assert (far.verdict, far.overloaded, far.duration_s) == (Verdict.BAD, True, 60)
    assert far.requests_per_s is None
    assert side.best is not None and side.best.duration_s > 60


def test_an_overload_is_never_good(tmp_path: Path) -> None:
    """Limits that nothing breaks: the rate found is what can be served."""
    for workload in (CONFIG["workload"], TURNS | {"turns": 2, "duration_s": 400}):
        side = _study(_config(tmp_path, workload=workload, slo={"e2el_ms": 1e7, "share": 0.9}), 0.05)
        best = side.systems["queue"].with_cache.best
        turns = 1 if workload is CONFIG["workload"] else 2
        assert best is not None and best.rate * turns == pytest.approx(1, rel=0.1)
        over = [s for s in side.systems["queue"].with_cache.samples.values() if s.rate > 1.2 * best.rate]
        assert over and {s.verdict for s in over} == {Verdict.BAD}
        assert all("overloaded" in str(s.reason) for s in over)


def test_lengthening_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run would have to be longer than allowed, no rate is given, and the reason is."""
    monkeypatch.setattr(load, "MOST_REQUESTS", 150)
    side = _study(_config(tmp_path, workload=TURNS, slo=LAX), 0.2).systems["queue"].with_cache
    entry = side.entry()
    assert (entry["outcome"], entry["max_rate"], entry["at_max_rate"]) == ("refused", None, None)
    assert "a longer run would have more than 150 requests" in str(entry["reason"])


def test_recorded_arrivals(tmp_path: Path) -> None:
    """A recorded trace is played faster: the rate is its speed."""
    write_small_mooncake(tmp_path / "trace.jsonl", sessions=100)
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
    assert system.with_cache.best is not None
    assert system.with_cache.best.requests == len(load_trace(config))
    assert studied.configured_duration_s is None


@pytest.mark.parametrize("iteration_s", [1.0, 0.01])
def test_a_recorded_trace_is_as_long_as_it_is(tmp_path: Path, iteration_s: float) -> None:
    """400 sessions whose last turn comes 40 s after the first: 0.33 per s is a steady state, 33 is not."""
    calls = [{"t": t, "type": "n", "in": 64, "out": 1, "hash_ids": [1]} for t in (0, 20, 40)]
    session = {"block_size": 64, "hash_id_scope": "local", "requests": calls}
    lines = (json.dumps(session | {"id": f"s{i:03}"}) + "\n" for i in range(400))
    (tmp_path / "trace.jsonl").write_text("".join(lines))
    workload = {
        "kind": "trace",
        "format": "claude_code_compact",
        "path": "trace.jsonl",
        "loop": "closed",
        "arrival": {"process": "poisson", "rate_per_s": 0.1},
    }
    engine = ENGINE | {"latency": {"kind": "constant", "iteration_s": iteration_s}}
    limits = {"e2el_ms": 20_000 * iteration_s, "share": 0.9}
    config = _config(tmp_path, workload=workload, systems={"queue": engine}, slo=limits)
    side = _study(config, 0.05).systems["queue"].with_cache
    if iteration_s == 1:
        assert side.best is not None and side.best.rate == pytest.approx(1 / 3, rel=0.2)
        return
    assert (side.search.outcome, side.best, side.interval) == (Outcome.REFUSED, None, (None, None))
    assert side.refused is not None
    assert side.refused.startswith(
        "no steady state: turns come up to 40 s after the start of their session"
    )
    assert side.refused.endswith("a recorded trace cannot be lengthened")
    good = [sample for sample in side.samples.values() if sample.verdict is Verdict.GOOD]
    assert good and max(sample.rate for sample in good) < 400 / 60 * 1.1


def test_a_trace_of_too_few_requests(tmp_path: Path) -> None:
    """Ten requests of those that count may miss the limits: 1,000 for a share of 99 %; nothing is run."""
    write_small_mooncake(tmp_path / "trace.jsonl")
    workload = {"kind": "trace", "format": "mooncake", "path": "trace.jsonl"}
    side = _study(_config(tmp_path, workload=workload)).systems["queue"].with_cache
    assert side.search.outcome is Outcome.REFUSED and side.samples == {}
    assert "a share of 0.99 needs 1,000 (slo.share)" in str(side.entry()["reason"])


def test_unbounded_and_none(tmp_path: Path) -> None:
    """A load that stays little, and limits that an idle system breaks: no number is given."""
    little = CONFIG["workload"] | {"arrival": {"process": "uniform", "rate_per_s": 1e-5}}
    for_all = _config(tmp_path, workload=little, slo={"e2el_ms": 1e7, "share": 0.9})
    lax = _study(for_all, 0.02).systems["queue"]
    tight = _study(_config(tmp_path, slo={"e2el_ms": 999, "share": 0.9}), 0.02).systems["queue"]
    assert lax.with_cache.search.outcome is Outcome.UNBOUNDED
    assert tight.with_cache.search.outcome is Outcome.NONE
    for system in (lax, tight):
        assert system.ratio is None and system.with_cache.best is None
        entry = system.with_cache.entry()
        assert entry["max_rate"] is None and entry["at_max_rate"] is None


def _records() -> tuple[Trace, Records]:
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
    records.gpus, records.work, records.engine = [1], [StepLog()], EngineTotals(capacity_blocks=1)
    trace.origin = "trace.jsonl"
    return trace, records


def test_rejected_and_timed_out_are_not_good() -> None:
    """One of four is good; of the two that come after the warm-up none is."""
    (trace, records), slo = _records(), Slo(ttft_ms=1000)
    price = Price(input_usd_per_1m=1.0, output_usd_per_1m=2.0)

    def sample(asked: Asked) -> RateSample:
        return sample_of(1.0, trace, records, asked, slo, price, duration_s=3.0)

    whole = sample(Asked())
    assert (whole.requests, whole.good_share, whole.interval) == (4, 0.25, None)
    assert whole.requests_per_s == 2 / 8  # two complete, the last one at 8 s
    assert whole.cost_usd_per_1m_tokens == pytest.approx((2 * 10 * 1 + 2 * 2 * 2) / 24)
    assert whole.pricing == "tokens"
    assert whole.verdict is Verdict.UNKNOWN and whole.reason is not None
    assert whole.reason == "4 requests in the measured window; a share of 0.99 needs 1,000"
    later = sample(Asked(2.0, 3.5))
    assert (later.requests, later.good_share, later.requests_per_s) == (2, 0.0, None)
    none = sample(Asked(4.0))
    assert (none.requests, none.good_share, none.verdict) == (0, None, Verdict.UNKNOWN)


def test_a_given_window_is_the_same_at_every_rate(tmp_path: Path) -> None:
    """``warmup_s`` and ``until_s`` are times of every run, and runs that end before are lengthened."""
    workload = TURNS | {"duration_s": 200}
    config = _config(tmp_path, workload=workload, slo=LAX, warmup_s=100, until_s=2000)
    side = _study(config, 0.1).systems["queue"].with_cache
    assert side.best is not None
    assert {(s.window.start_s, s.window.end_s) for s in side.samples.values() if s.steady} == {(100, 2000)}
    assert all(s.duration_s >= 2000 for s in side.samples.values())
    short = _config(tmp_path, workload=workload, slo=LAX, warmup_s=100, until_s=200)
    refused = _study(short, 0.2).systems["queue"].with_cache.refused
    assert refused is not None and refused.endswith("until_s = 200 ends the window")


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
    single = ["workload.duration_s=100", "workload.turns=1", "workload.user_tokens=1000"]
    config = load_config(root / "configs/studies/capacity.yaml", single)
    studied = _study(config, 0.1)
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
        system = _study(load_config(root / "configs/studies/capacity.yaml", settings), 0.05).systems[
            "vllm-h200"
        ]
        for side in (system.without_cache, system.with_cache):
            assert side.best is not None
            rates.append(side.best.rate)
            intervals.append(side.interval)
    for (low, high), rate in zip(intervals[:2], rates[2:], strict=True):
        assert low is not None and high is not None and low <= rate <= high
