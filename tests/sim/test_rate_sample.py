"""What one run says of its arrival rate: how long it has to be, what is good, what it cannot tell."""

from __future__ import annotations

import itertools
import json
from array import array
from pathlib import Path

import pytest

from sim import run
from sim.experiment import load_trace
from sim.results.pricing import Price
from sim.results.records import EngineTotals, Records
from sim.results.request_log import COMPLETED, REJECTED, TIMED_OUT, RequestLog
from sim.results.slo import Slo
from sim.results.steady import Asked
from sim.results.step_log import StepLog
from sim.studies import load
from sim.studies.rate_sample import RateSample, sample_of
from sim.studies.search import Outcome, Verdict
from tests.sim.one_server import CONFIG, ENGINE, config_of, study_of
from tests.sim.small import write_small_mooncake
from workloads.trace import Trace

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
    studied = study_of(config_of(tmp_path, workload=TURNS, slo=LAX), 0.1)
    assert studied.rate_key == "workload.arrival.rate_per_s" and studied.unit == "sessions/s"
    assert studied.configured_duration_s == 20
    system = studied.systems["queue"]
    side = system.with_cache
    assert side.best is not None
    for sample in (side.best, side.samples[studied.configured_rate]):
        assert sample.duration_s > 20 and sample.requests >= 200 and sample.steady
        arrival = {"process": "poisson", "rate_per_s": sample.rate}
        workload = TURNS | {"arrival": arrival, "duration_s": sample.duration_s}
        result = run(config_of(tmp_path, workload=workload, slo=LAX))
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
        side = (
            study_of(config_of(tmp_path, workload=workload, slo=LAX), 0.05).systems["queue"].without_cache
        )
        assert side.best is not None and side.best.duration_s >= duration_s
        found.append((side.best.rate, side.interval))
    for (_, (low, high)), (rate, _) in itertools.combinations(found, 2):
        assert low is not None and high is not None and low <= rate <= high, found
    # One request per s is served: a third of a session.
    assert all(rate < 1 / 3 for rate, _ in found)


def test_far_too_much_is_not_lengthened(tmp_path: Path) -> None:
    """Forty times what is borne is judged by the run as configured."""
    workload = TURNS | {"arrival": {"process": "poisson", "rate_per_s": 9.6}, "duration_s": 60}
    side = study_of(config_of(tmp_path, workload=workload, slo=LAX), 0.1).systems["queue"].with_cache
    far = side.samples[9.6]
    assert (far.verdict, far.overloaded, far.duration_s) == (Verdict.BAD, True, 60)
    assert far.requests_per_s is None
    assert side.best is not None and side.best.duration_s > 60


def test_an_overload_is_never_good(tmp_path: Path) -> None:
    """Limits that nothing breaks: the rate found is what can be served."""
    for workload in (CONFIG["workload"], TURNS | {"turns": 2, "duration_s": 400}):
        side = study_of(config_of(tmp_path, workload=workload, slo={"e2el_ms": 1e7, "share": 0.9}), 0.05)
        best = side.systems["queue"].with_cache.best
        turns = 1 if workload is CONFIG["workload"] else 2
        assert best is not None and best.rate * turns == pytest.approx(1, rel=0.1)
        over = [s for s in side.systems["queue"].with_cache.samples.values() if s.rate > 1.2 * best.rate]
        assert over and {s.verdict for s in over} == {Verdict.BAD}
        assert all("overloaded" in str(s.reason) for s in over)


def test_lengthening_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run would have to be longer than allowed, no rate is given, and the reason is."""
    monkeypatch.setattr(load, "MOST_REQUESTS", 150)
    side = study_of(config_of(tmp_path, workload=TURNS, slo=LAX), 0.2).systems["queue"].with_cache
    entry = side.entry()
    assert (entry["outcome"], entry["max_rate"], entry["at_max_rate"]) == ("refused", None, None)
    assert "a longer run would have more than 150 requests" in str(entry["reason"])


def test_recorded_arrivals(tmp_path: Path) -> None:
    """A recorded trace is played faster: the rate is its speed."""
    write_small_mooncake(tmp_path / "trace.jsonl", sessions=100)
    workload = {"kind": "trace", "format": "mooncake", "path": "trace.jsonl", "arrival": {"speed": 2.0}}
    engine = {"kind": "engine", "model": "llama-3.1-8b", "hardware": "h200"}
    config = config_of(
        tmp_path, workload=workload, systems={"gpu": engine}, slo={"ttft_ms": 1000, "share": 0.9}
    )
    studied = study_of(config, 0.05)
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
    config = config_of(tmp_path, workload=workload, systems={"queue": engine}, slo=limits)
    side = study_of(config, 0.05).systems["queue"].with_cache
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
    side = study_of(config_of(tmp_path, workload=workload)).systems["queue"].with_cache
    assert side.search.outcome is Outcome.REFUSED and side.samples == {}
    assert "a share of 0.99 needs 1,000 (slo.share)" in str(side.entry()["reason"])


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
    config = config_of(tmp_path, workload=workload, slo=LAX, warmup_s=100, until_s=2000)
    side = study_of(config, 0.1).systems["queue"].with_cache
    assert side.best is not None
    assert {(s.window.start_s, s.window.end_s) for s in side.samples.values() if s.steady} == {(100, 2000)}
    assert all(s.duration_s >= 2000 for s in side.samples.values())
    short = config_of(tmp_path, workload=workload, slo=LAX, warmup_s=100, until_s=200)
    refused = study_of(short, 0.2).systems["queue"].with_cache.refused
    assert refused is not None and refused.endswith("until_s = 200 ends the window")
