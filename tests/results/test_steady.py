"""Which part of a run is measured, and what is told about it."""

from __future__ import annotations

import math
from math import inf
from pathlib import Path
from typing import Any

import pytest
import yaml

from reports.validity import measured
from sim.config import load_config
from sim.experiment import run
from sim.result import Result
from sim.results import ramp, steady, validity, window
from sim.results.records import EngineTotals, Records
from sim.results.request_log import RequestLog
from sim.results.steady import Asked, Measured
from sim.results.window import WHOLE, Checkpoint, Window
from workloads.content import ROOT
from workloads.errors import InputError
from workloads.generators.chat import ChatWorkload
from workloads.trace import NONE, Trace

CHAT: dict[str, Any] = {
    "kind": "chat",
    "duration_s": 120,
    "arrival": {"process": "poisson", "rate_per_s": 2.0},
    "turns": {"distribution": "geometric", "mean": 3},
    "think_time_s": 3,
    "system_prompt": {"tokens": 300},
    "user_tokens": 100,
    "reply_tokens": 50,
}
SHORT_STEPS = {"kind": "roofline", "mfu": 1, "mbu": 1}
ENGINE: dict[str, Any] = {
    "kind": "engine", "model": "llama-3.1-8b", "hardware": "h200", "latency": SHORT_STEPS,
}  # fmt: skip
FAST = {"process": "poisson", "rate_per_s": 9.0}
SMALL: dict[str, Any] = {"memory": {"kv_blocks": 600}}


def _run(tmp_path: Path, system: dict[str, Any], **more: Any) -> Result:
    config = {"name": "x", "workload": CHAT, "systems": {"one": ENGINE | system}, **more}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    return run(load_config(tmp_path / "x.yaml"))


def test_the_start_and_the_drain_are_left_out(tmp_path: Path) -> None:
    """Figures are those of the requests that arrive once the load is there, and before it goes."""
    result = _run(tmp_path, SMALL)
    summary, records = result.summary(), result.runs["one"].records
    found = summary["window"]
    assert found["chosen"] == "found" and not summary["warnings"]
    assert found["end_s"] == max(at for at in result.trace.arrival_s if at is not None)
    assert 0 < found["start_s"] < 40
    inside = (records.arrival_s >= found["start_s"]) & (records.arrival_s < found["end_s"])
    entry = summary["systems"]["one"]
    assert entry["completed"] == inside.sum() < len(records)
    assert entry["duration"] == found["end_s"] - found["start_s"]
    assert "window" not in entry, "all have the same"
    assert entry["cache"]["prefix_cache_hits_tokens"] == records.cache_read_input_tokens[inside].sum()
    assert found["outside_ratio"] == pytest.approx(1 - inside.mean())
    assert summary["intervals"] is not None and summary["intervals"]["repetitions"] == "parts"


def test_turns_that_are_missing_at_the_start() -> None:
    """Sessions of ten turns, 10 s apart, one each second for 600 s, by hand."""
    trace = Trace(drawn_starts=True)
    for session in range(600):
        before = NONE
        for turn in range(10):
            prompt = trace.content.append(ROOT, 5)
            start = {"arrival_s": float(session)} if turn == 0 else {"follows": before, "think_s": 10.0}
            before = trace.add(prompt=prompt, output_tokens=1, session=session, **start)  # type: ignore[arg-type]
    log = RequestLog(trace)
    for at, request in trace.instant_order():
        log.arrival_s[request] = at
        log.end(request, "completed")
    records = Records.of(log)
    ages = ramp.ages_s(trace, records)
    assert ages.tolist() == [10.0 * (i % 10) for i in range(len(trace))]
    # A turn that comes 90 s after its session's start is missing until 90 s. So of those of the time from s
    # to 599 s, (10 + 20 + 30) / 10 / 539 = 1.1 % are missing for s = 60, and 0.8 % for s = 65.5.
    measured = steady.measure(trace, Asked(), {"one": (records, records)})
    assert measured.ramp_s == 7 * 599 / ramp.GRID
    assert measured.windows["one"][0] == Window(7 * 599 / ramp.GRID, 599.0)


def test_a_longer_run_begins_as_the_shorter_one() -> None:
    """Doubling the duration adds sessions and moves none."""
    short = ChatWorkload.model_validate(CHAT).build(7, Path())
    long = ChatWorkload.model_validate(CHAT | {"duration_s": 240}).build(7, Path())
    starts = [at for at in long.arrival_s if at is not None]
    assert [at for at in short.arrival_s if at is not None] == [at for at in starts if at < 120]
    assert short.input_tokens == long.input_tokens[: len(short)] and len(long) > 1.5 * len(short)
    both = ChatWorkload.model_validate(CHAT | {"sessions": 20}).build(7, Path())
    assert [at for at in both.arrival_s if at is not None] == starts[:20]


def test_a_window_that_is_given(tmp_path: Path) -> None:
    """`warmup_s` and `until_s` decide; counters are those of exactly that time."""
    result = _run(tmp_path, SMALL, warmup_s=30.5, until_s=90.25)
    found = result.summary()["window"]
    assert (found["chosen"], found["start_s"], found["end_s"]) == ("given", 30.5, 90.25)
    parts = [Window(0, 30.5), Window(30.5, 90.25), Window(90.25)]
    records = result.runs["one"].records
    counted = [records.measured(part) for part in parts]
    for figure in ("evicted_blocks", "query_blocks", "hit_blocks"):
        assert sum(getattr(part, figure) for part in counted) == getattr(records, figure)
    whole = records.engine
    assert whole is not None
    for counter in ("scheduled_tokens", "queries_tokens", "hits_tokens", "num_preemptions"):
        assert sum(getattr(part.engine, counter) for part in counted) == getattr(whole, counter)
    assert max(part.engine.max_used_blocks for part in counted if part.engine) == whole.max_used_blocks
    busy_s = sum(_gpu_busy_s(part) for part in counted)
    assert busy_s == pytest.approx(_gpu_busy_s(records), rel=1e-12)


def _gpu_busy_s(records: Records) -> float:
    return math.fsum(log.busy_s * gpus for log, gpus in zip(records.work, records.gpus, strict=True))


def test_a_warm_up_beyond_the_last_start(tmp_path: Path) -> None:
    """The window lasts to the end of the run: one that ended before it began would count backwards."""
    for arrival in (CHAT["arrival"], {"process": "closed_loop", "concurrency": 3}):
        workload = {key: value for key, value in CHAT.items() if key != "duration_s"}
        late = workload | {"sessions": 20, "arrival": arrival}
        result = _run(tmp_path, SMALL, workload=late, warmup_s=1000)
        assert result.measure.windows["one"] == (Window(1000, inf), Window(1000, inf))
        entry: Any = result.summary()["systems"]["one"]
        assert entry["engine_iterations"] == entry["gpu_busy_seconds"] == entry["extrapolated_seconds"] == 0


def test_a_run_too_short_says_so(tmp_path: Path) -> None:
    """Nothing is steady: the whole run is measured, without intervals, and the first line says why."""
    summary = _run(tmp_path, SMALL, workload=CHAT | {"think_time_s": 100}).summary()
    assert summary["window"]["chosen"] == "whole" and summary["window"]["outside_ratio"] == 0
    assert summary["intervals"] is None
    assert len(summary["warnings"]) == 1
    assert summary["warnings"][0].startswith("too short for a steady state: sessions start for 1")


def test_an_end_that_is_given_holds_without_a_steady_part(tmp_path: Path) -> None:
    """What arrives until then is measured, and the warning is about that end."""
    result = _run(tmp_path, SMALL, workload=CHAT | {"think_time_s": 100}, until_s=50)
    summary = result.summary()
    window = summary["window"]
    assert (window["chosen"], window["start_s"], window["end_s"]) == ("given", 0, 50)
    assert summary["systems"]["one"]["completed"] == (result.runs["one"].records.arrival_s < 50).sum()
    assert summary["warnings"][0].startswith(
        "too short for a steady state: until_s is 50 s, but turns come up"
    )


def test_caches_that_fill_late_are_one_clause() -> None:
    """However many systems there are; those that are full in time or have no end are not named."""
    full_s = {"a": 300.0, "b": 500.0, "c": 100.0, "d": inf}
    (said,) = validity.of_experiment(Measured({}, "whole", 200.0, full_s, span_s=250.0, needed_s=750.0))
    assert "the caches of a, b are full only after 500 s; figures" in said and "at least 750 s" in said


def test_what_is_no_traffic_is_measured_whole(tmp_path: Path, root: Path) -> None:
    """One session, and requests written out by hand."""
    summary = _run(tmp_path, SMALL, workload=CHAT | {"sessions": 1}).summary()
    assert summary["window"]["chosen"] == "whole" and not summary["warnings"]
    script = run(load_config(root / "configs/spec/1-two-turns.yaml"))
    assert script.measure.chosen == "whole" and script.trace.checkpoints_s == []


def test_closed_loop_is_measured_while_sessions_start(tmp_path: Path) -> None:
    """Each run in its own window: how fast sessions start follows from how fast they are served."""
    closed = {"process": "closed_loop", "concurrency": 10}
    chat = {key: value for key, value in CHAT.items() if key != "duration_s"}
    result = _run(tmp_path, {}, workload=chat | {"sessions": 300, "arrival": closed})
    with_cache, without = result.measure.windows["one"]
    for found, records in ((with_cache, result.runs["one"].records), (without, result.runs["one"].twin)):
        firsts = records.arrival_s[records.turn == 1]
        assert found.end_s == firsts.max() and 0 < found.start_s < found.end_s
    summary: Any = result.summary()
    table = result.requests()
    for part, name, found in (("systems", "one", with_cache), ("no_cache", "one/no-cache", without)):
        entry, arrival_s = summary[part]["one"], table[table.system == name].arrival_s
        own = entry["window"]
        assert (own["start_s"], own["end_s"]) == (found.start_s, found.end_s)
        inside = (arrival_s >= own["start_s"]) & (arrival_s < own["end_s"])
        assert entry["completed"] == inside.sum()
        assert own["outside_ratio"] == (~inside).mean()
    assert with_cache != without
    said = measured(summary)
    assert f"one from {with_cache.start_s:,.0f} s to {with_cache.end_s:,.0f} s, one without cache" in said
    with pytest.raises(InputError, match=r"duration_s does not go with arrival\.process closed_loop"):
        _run(tmp_path, {}, workload=chat | {"duration_s": 5, "arrival": closed})


def test_closed_loop_from_a_given_time(tmp_path: Path) -> None:
    """`warmup_s` holds for the engine, also beside a replay, whose requests all arrive at once."""
    chat = {key: value for key, value in CHAT.items() if key != "duration_s"}
    closed = chat | {"sessions": 30, "arrival": {"process": "closed_loop", "concurrency": 5}}
    replay = {"kind": "cache", "cache": {"kind": "block"}}
    both = {"one": ENGINE, "two": replay}
    result = _run(tmp_path, {}, workload=closed, systems=both, warmup_s=2)
    window, records = result.measure.windows["one"][0], result.runs["one"].records
    assert result.measure.chosen == "given"
    assert window == Window(2.0, records.arrival_s[records.turn == 1].max())
    assert result.measure.windows["two"] == (WHOLE, WHOLE)


@pytest.mark.parametrize(
    ("system", "more", "said"),
    [
        ({"engine": {"max_num_seqs": 1}}, {"workload": CHAT | {"arrival": FAST}}, "overloaded: "),
        ({"deadline_s": 0.1, **SMALL}, {}, "of the requests get no reply"),
        ({}, {}, "its cache is still filling at the end"),
        ({"memory": {"kv_blocks": 2800}}, {"warmup_s": 20}, "its cache became full only after"),
        (SMALL, {"workload": CHAT | {"sessions": 60}}, "are few for p99"),
        (SMALL, {"warmup_s": 1e6}, "no request arrives in the measured window"),
    ],
)
def test_warnings(tmp_path: Path, system: dict[str, Any], more: dict[str, Any], said: str) -> None:
    """What may mislead is said of the system that it is true of."""
    entry = _run(tmp_path, system, **more).summary()["systems"]["one"]
    assert any(said in text for text in entry["warnings"]), entry["warnings"]


@pytest.mark.parametrize(("latency", "said"), [({}, True), (None, False)])
def test_percentiles_that_are_not_shown_are_not_warned_of(latency: Any, said: bool) -> None:
    """A hosted API has times only with a latency; a bill has no percentiles."""
    hosted = {"kind": "provider", "provider": "anthropic", "model": "claude-opus-5", "latency": latency}
    few = CHAT | {"sessions": 60}
    found = run(load_config({"name": "hosted", "workload": few, "systems": {"one": hosted}})).summary()
    assert any("are few for p99" in text for text in found["systems"]["one"]["warnings"]) == said


def test_a_healthy_run_has_no_warnings(tmp_path: Path) -> None:
    """A full cache, a load that is served, enough requests."""
    summary = _run(tmp_path, SMALL, workload=CHAT | {"duration_s": 600}).summary()
    assert summary["warnings"] == summary["systems"]["one"]["warnings"] == []


def test_counters_between_checkpoints() -> None:
    """Of counters the difference, of usage the highest since; None where nothing was noted."""
    checkpoints = [
        Checkpoint(
            at_s,
            EngineTotals(iterations=n, max_used_blocks=used, capacity_blocks=10),
            n,
            tier_hits={"host": n},
        )
        for at_s, n, used in ((1.0, 3, 7), (2.0, 5, 4), (4.0, 9, 6))
    ]
    found = window.between(checkpoints, Window(1.0, 4.0))
    assert found is not None and found.totals is not None
    assert (found.totals.iterations, found.totals.max_used_blocks) == (6, 6)
    assert (found.evicted_blocks, found.tier_hits) == (6, {"host": 6})
    assert window.between(checkpoints, Window(1.5, 4.0)) is None
    assert window.between(checkpoints, Window(1.0, 3.0)) is None
    everything = window.between(checkpoints, WHOLE)
    assert everything is not None and everything.totals is not None
    assert (everything.totals.iterations, everything.totals.max_used_blocks) == (9, 7)


def test_no_checkpoint_where_the_whole_run_is_measured() -> None:
    """Nothing is noted on the way of a recorded trace, unless a window is asked for."""
    trace = Trace()
    for at_s in (0.0, 5.0):
        trace.add(prompt=trace.content.append(ROOT, 3), output_tokens=1, arrival_s=at_s)
    assert steady.checkpoint_times_s(trace, Asked()) == []
    assert steady.checkpoint_times_s(trace, Asked(warmup_s=2.0)) == [2.0]
