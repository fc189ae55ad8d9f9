"""SGLang's scheduler and its naive models against recorded schedules of SGLang 0.5.23, step by step.

The fields of the recordings are described in tests/fixtures/conformance: ``sglang_sched_README.md`` without
overlap, ``sglang_overlap_README.md`` with it.
"""

from __future__ import annotations

import json
from copy import copy
from typing import Any

import pytest

from sim.engine.step_records import StepRecord
from sim.fleet.fleet import Fleet
from tests.caches.recorded import EXCERPTS, read_rows, requests_of
from tests.caches.test_radix_recorded import _trace
from tests.engine.driving import check_always
from tests.engine.driving_sglang import sglang_fleet, steps_of
from tests.oracles.naive_radix import NaiveRadix
from tests.oracles.naive_sglang import NaiveSglang, run_to_the_end
from tests.oracles.naive_sglang_overlap import NaiveOverlap, run_overlapped
from workloads.trace import Trace

ARGS = {
    (index.parent.name, config["name"]): config["args"]
    for kind in ("sched", "overlap")
    for index in sorted(EXCERPTS.glob(f"*/sglang_{kind}*index.json"))
    for config in json.loads(index.read_text())["configs"]
}
SALTED_DFS = ("tenants-s2", "sglang_sched_dfs")
"""The naive model without overlap has a tree for each salt, so it knows no order among salts."""
RECORDED = pytest.mark.parametrize(("trace", "name"), ARGS)


def _overlaps(name: str) -> bool:
    return name.startswith("sglang_overlap")


def _steps(trace: str, name: str) -> list[dict[str, Any]]:
    return read_rows(EXCERPTS / trace / f"{name}.steps.jsonl.gz")


def _pairs(pairs: Any) -> list[list[Any]]:
    return [list(pair) for pair in pairs]


def _loaded(trace: str, name: str) -> Trace:
    """The requests at the times of this recording."""
    loaded = copy(_trace(EXCERPTS / trace))
    times = ARGS[trace, name].get("arrival_times", 1)
    loaded.arrival_s = [None if at_s is None else at_s * times for at_s in loaded.arrival_s]
    return loaded


def _fleet(trace: str, name: str, loaded: Trace, *, record_steps: bool = False) -> Fleet:
    args = dict(ARGS[trace, name])
    args.pop("arrival_times", None)
    return sglang_fleet(
        loaded, disable_overlap_schedule=not _overlaps(name), record_steps=record_steps, **args
    )


def _as_recorded(steps: list[StepRecord], ids: list[str], size: int) -> list[dict[str, Any]]:
    """Our steps with the fields of a recording, but for their kind."""
    rows: list[dict[str, Any]] = []
    for step in steps:
        row: dict[str, Any] = {
            "at": step.scheduled_s,
            "start": step.end_s - 1,
            "sched": [[ids[i], tokens] for i, tokens in step.sched],
            "new": [[ids[i], cached] for i, cached in step.new],
            "resumed": [[ids[i], cached] for i, cached in step.resumed],
            "retracted": [ids[i] for i in step.preempted],
            "evicted": [
                [ids[owner], last * size, (first + 1) * size] for owner, first, last in step.evicted
            ],
            "free": step.free * size,
            "running": step.running,
            "waiting": step.waiting,
            "finished": [ids[i] for i in step.finished],
        }
        rows.append(row)
    end: dict[str, Any] = {"retracted": [], "at": 0}
    for row, after in zip(rows, [*rows[1:], end], strict=True):
        flying = after["at"] < row["start"] + 1
        row["dropped"] = [i for i, _ in row["sched"] if flying and i in after["retracted"]]
    begin: dict[str, Any] = {"finished": []}
    for before, row in zip([begin, *rows], rows, strict=False):
        row["surplus"] = [i for i, _ in row["sched"] if i in before["finished"]]
    return rows


@RECORDED
def test_every_step(trace: str, name: str) -> None:
    """Who is scheduled when, with how many tokens, hits, retractions, evictions in order, free memory."""
    loaded = _loaded(trace, name)
    assert loaded.request_ids is not None
    fleet = _fleet(trace, name, loaded, record_steps=True)
    fleet.run()
    got = _as_recorded(steps_of(fleet), loaded.request_ids, ARGS[trace, name]["page_size"])
    want = _steps(trace, name)
    assert len(got) == len(want)
    for mine, theirs in zip(got, want, strict=True):
        mine["kind"] = theirs["kind"]
        assert {key: mine[key] for key in theirs} == theirs | {"evicted": _joined(theirs["evicted"])}


def _joined(leaves: list[list[Any]]) -> list[list[Any]]:
    """Leaves of one owner that follow each other, deepest first, as one run: as steps record them."""
    runs: list[list[Any]] = []
    for owner, start, to in leaves:
        if runs and runs[-1][0] == owner and runs[-1][1] == to:
            runs[-1][1] = start
        else:
            runs.append([owner, start, to])
    return runs


@RECORDED
def test_runs_of_steps(trace: str, name: str) -> None:
    """The same without recording steps, where runs of decode steps are one event."""
    want, loaded = _steps(trace, name), _loaded(trace, name)
    assert loaded.request_ids is not None
    records = check_always(_fleet(trace, name, loaded)).run()
    number = {name: i for i, name in enumerate(loaded.request_ids)}
    hits = {number[i]: (step["at"], cached) for step in want for i, cached in step["new"]}
    ends = {number[i]: step.get("start", step["at"]) + 1 for step in want for i in step["finished"]}
    retracted = [number[i] for step in want for i in step["retracted"]]
    for i in range(len(loaded)):
        assert (records.scheduled_s[i], records.cache_read_input_tokens[i]) == hits[i]
        assert records.finished_s[i] == ends[i]
        assert records.preemptions[i] == retracted.count(i)
    assert records.engine is not None and records.engine.iterations == len(want)
    assert records.engine.surplus_tokens == sum(len(step.get("surplus", [])) for step in want)
    assert len(records.work[0].end_s) < len(want) / 2


@pytest.mark.parametrize(("trace", "name"), [key for key in ARGS if key != SALTED_DFS])
def test_the_oracles(trace: str, name: str) -> None:
    """The naive models agree with the engine in every field, so the other tests may rely on them."""
    args, want = ARGS[trace, name], _steps(trace, name)
    size, chunk = args["page_size"], args["chunked_prefill_size"]
    requests = requests_of(EXCERPTS / trace)
    for request in requests:
        request.arrival *= args.get("arrival_times", 1)
    requests.sort(key=lambda request: request.arrival)
    options: dict[str, Any] = {
        "chunk": None if chunk < 0 else chunk,
        "max_prefill": args["max_prefill_tokens"],
        "max_running": args["max_running_requests"],
        "policy": args["schedule_policy"],
        "conservativeness": args["schedule_conservativeness"],
        "ignore_eos": args["ignore_eos"],
        "retract_by_priority": args["retraction_policy"] == "priority",
    }
    radix = NaiveRadix(args["pages"] * size, size, args["eviction"])
    asked = args["max_new_tokens"]
    limits = {request.id: asked or len(request.output) for request in requests}
    got: Any
    if _overlaps(name):
        got = run_overlapped(NaiveOverlap(radix, **options), requests, limits)
    else:
        got = run_to_the_end(NaiveSglang(radix, **options), requests, max_new=limits)
    assert len(got) == len(want)
    for step, theirs in zip(got, want, strict=True):
        mine = {"at": theirs["at"], "kind": theirs["kind"], **vars(step)}
        for key in ("sched", "new", "resumed", "evicted"):
            mine[key] = _pairs(mine[key])
        assert {key: mine[key] for key in theirs} == theirs
