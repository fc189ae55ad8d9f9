"""timeline.json and the CSV files: every request and iteration, once, where and when it was."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports import timeline
from sim import Result
from tests.refusing import Cli
from tests.reports.conftest import ALL_KINDS, Build
from tests.reports.perfetto import query

FLEET = """\
  fleet: {kind: engine, model: llama-3-8b, hardware: h200, replicas: 3, sample_s: 1,
          latency: {kind: constant, iteration_s: 0.1}, max_queued_requests: 1, engine: {max_num_seqs: 1}}
"""


@pytest.fixture(scope="module")
def result(build: Build) -> Result:
    """Of every kind of system, and a fleet that rejects."""
    return build(ALL_KINDS.partition("claims:")[0] + FLEET, sessions=20, turns=3)


@pytest.fixture(scope="module")
def drawn(result: Result, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The events as a viewer reads them."""
    folder = tmp_path_factory.mktemp("timeline")
    timeline.write(result, result.summary(), folder)
    content = json.loads((folder / timeline.NAME).read_text())
    assert content["otherData"]["requests"] == content["otherData"]["requests_shown"] == len(result.trace)
    found: list[dict[str, Any]] = content["traceEvents"]
    return found


def processes(events: list[dict[str, Any]]) -> dict[int, str]:
    return {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}


def test_a_process_per_replica(result: Result, drawn: list[dict[str, Any]]) -> None:
    """And one of each system without replicas; every event belongs to one of them."""
    named = processes(drawn)
    assert list(named.values()) == [
        "by-the-hour / replica 0",
        "by-the-token / replica 0",
        "no-cache / replica 0",
        "replay",
        "hosted",
        "priced-replay",
        *(f"fleet / replica {number}" for number in range(3)),
    ]
    assert {event["pid"] for event in drawn} == named.keys()


def test_every_request_once(result: Result, drawn: list[dict[str, Any]]) -> None:
    """With its tokens and its end, at its times, on its replica."""
    named, begun = processes(drawn), [e for e in drawn if e["ph"] == "b" and e["name"] == "request"]
    for system, ran in result.runs.items():
        mine = [e for e in begun if named[e["pid"]].split(" / ")[0] == system]
        assert len(mine) == len(ran.records)
        assert Counter(e["args"]["status"] for e in mine) == Counter(ran.records.status.tolist())
        for key in ("input_tokens", "cache_read_input_tokens", "output_tokens"):
            assert [e["args"][key] for e in mine] == getattr(ran.records, key).tolist()
        assert [e["ts"] for e in mine] == [round(at * 1e6, 3) for at in ran.records.arrival_s.tolist()]
    fleet = [e for e in begun if named[e["pid"]].startswith("fleet")]
    assert Counter(e["args"]["status"] for e in fleet)["rejected"] > 5
    assert len({e["pid"] for e in fleet}) == 3


def test_phases_lie_within_their_request(result: Result, drawn: list[dict[str, Any]]) -> None:
    """Slices of a request nest, and its phases fill it."""
    stacks: dict[tuple[int, str], list[dict[str, Any]]] = {}
    took: dict[tuple[int, str], float] = {}
    for event in drawn:
        key = event["pid"], event.get("id2", {}).get("local", "")
        if event["ph"] == "b":
            stack = stacks.setdefault(key, [])
            assert not stack or event["ts"] >= stack[-1]["ts"]
            stack.append(event)
        elif event["ph"] == "e":
            begin = stacks[key].pop()
            assert begin["name"] == event["name"] and event["ts"] >= begin["ts"]
            size = event["ts"] - begin["ts"]
            if event["name"] == "request":
                assert took.pop(key, 0.0) == pytest.approx(size, abs=0.01)  # rounded to nanoseconds
            else:
                took[key] = took.get(key, 0.0) + size
    assert not any(stacks.values()) and not took
    assert len(stacks) == sum(len(ran.records) for ran in result.runs.values())


def test_iterations_fill_the_busy_time(result: Result, drawn: list[dict[str, Any]]) -> None:
    """All of them, one after the other."""
    named = processes(drawn)
    for system, ran in result.runs.items():
        slices = [e for e in drawn if e["ph"] == "X" and named[e["pid"]].split(" / ")[0] == system]
        if ran.records.engine is None:
            assert not slices
            continue
        assert sum(e["args"]["iterations"] for e in slices) == ran.records.engine.iterations
        busy_us = sum(log.busy_s for log in ran.records.work) * 1e6
        assert sum(e["dur"] for e in slices) == pytest.approx(busy_us, abs=0.01 * len(slices))
        for before, after in pairwise(slices):
            assert before["pid"] != after["pid"] or after["ts"] >= before["ts"] + before["dur"] - 0.01


def test_counters_end_where_they_began(result: Result, drawn: list[dict[str, Any]]) -> None:
    """Nothing waits or runs at the end; hits are those of the run; samples are those of the time series."""
    named = processes(drawn)
    last = {(named[e["pid"]], e["name"]): e["args"]["value"] for e in drawn if e["ph"] == "C"}
    for (_, name), value in last.items():
        assert "hits" in name or "in use" in name or value == 0
    records = result.runs["by-the-hour"].records
    rate = records.cache_read_input_tokens.sum() / records.input_tokens.sum()
    hits = last["by-the-hour / replica 0", "hits so far, % of prompt tokens"]
    assert hits == pytest.approx(100 * rate)
    used = [e["args"]["value"] for e in drawn if e["name"] == "KV memory in use, %"]
    assert used == [100 * s.kv_cache_usage_perc for s in result.runs["fleet"].records.samples]


def test_large_runs_are_cut(
    result: Result, drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first requests, and the iterations until the next one comes."""
    monkeypatch.setattr(timeline, "MOST_REQUESTS", 10)
    cut = list(timeline.events(result))
    begun = [e for e in cut if e["ph"] == "b" and e["name"] == "request"]
    assert len(begun) == 10 * len(result.runs)
    assert 0 < sum(e["ph"] == "X" for e in cut) < sum(e["ph"] == "X" for e in drawn)


OF_REQUESTS = """
  select process.name, count(*), sum(extract_arg(slice.arg_set_id, 'args.output_tokens'))
  from slice join process_track on track_id = process_track.id join process using (upid)
  where slice.name = 'request' group by process.name
"""
OF_ITERATIONS = """
  select process.name, count(*), sum(extract_arg(slice.arg_set_id, 'args.iterations'))
  from slice join thread_track on track_id = thread_track.id
    join thread using (utid) join process using (upid)
  where thread.name = 'iterations' group by process.name
"""
OF_COUNTERS = """
  select process.name, process_counter_track.name, count(*)
  from counter join process_counter_track on track_id = process_counter_track.id join process using (upid)
  group by process.name, process_counter_track.name
"""
OF_LOSSES = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"


@pytest.mark.browser
def test_perfetto_finds_what_was_recorded(
    result: Result, drawn: list[dict[str, Any]], tmp_path: Path
) -> None:
    """In each process: its requests, iterations and counters; nothing is dropped."""
    timeline.write(result, result.summary(), tmp_path)
    statements = OF_REQUESTS, OF_ITERATIONS, OF_COUNTERS, OF_LOSSES
    requests, iterations, counters, losses = query(tmp_path, tmp_path / timeline.NAME, *statements)
    assert losses == []
    in_requests, in_iterations, completed = [], [], []
    for system, ran in result.runs.items():
        replicas = [f"{system} / replica {number}" for number in range(len(ran.records.gpus))]
        place = np.maximum(ran.records.replica, 0)  # what no replica took is drawn on the first
        for number, name in enumerate(replicas or [system]):
            mine = ran.records.only(place == number)
            in_requests.append([name, len(mine), mine.output_tokens.sum()])
            completed += [[name, mine.completed.sum()]] if replicas else []
        for name, log in zip(replicas, ran.records.work, strict=True):
            in_iterations.append([name, len(log.iterations), sum(log.iterations)])
    assert requests == sorted(in_requests)
    assert iterations == sorted(in_iterations)
    hits = [[process, count] for process, name, count in counters if name.startswith("hits so far")]
    assert hits == sorted(completed)
    named = processes(drawn)
    written = Counter((named[e["pid"]], f"{e['name']} value") for e in drawn if e["ph"] == "C")
    assert {(process, name): count for process, name, count in counters} == written


def test_tables_as_csv(cli_here: Cli, tmp_path: Path) -> None:
    """`--csv` writes what the Parquet files hold, and `--json` prints summary.json alone."""
    small = ("--set", "workload.sessions=20", "--set", "systems.vllm-h200.sample_s=10")
    done = cli_here("run", "quickstart", *small, "--csv", "--timeline", "--json", "--out", "out")
    assert done.returncode == 0 and done.stderr == ""
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert json.loads(done.stdout) == summary
    for name in ("requests", "timeseries"):
        rows = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        there = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
        pd.testing.assert_frame_equal(rows, there, check_dtype=False)
    systems = pd.read_csv(tmp_path / "out" / "systems.csv", index_col="system")
    assert list(systems.index) == ["vllm-h200", "vllm-h200/no-cache"]
    assert systems.loc["vllm-h200", "mean_ttft_ms"] == summary["systems"]["vllm-h200"]["mean_ttft_ms"]
    assert (tmp_path / "out" / "timeline.json").exists()
    plain = cli_here("run", "quickstart", *small, "--json", "--out", "plain")
    assert json.loads(plain.stdout) == summary
    assert not {"systems.csv", "timeline.json"} & {path.name for path in (tmp_path / "plain").iterdir()}
