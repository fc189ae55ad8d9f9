"""SGLang's scheduler and its naive model against recorded schedules of SGLang 0.5.23, step by step.

The fields of the recordings are described in tests/fixtures/conformance/sglang_sched_README.md.
"""

from __future__ import annotations

import json
from copy import copy
from typing import Any

import pytest

from tests.caches.recorded import EXCERPTS, _request, read_rows
from tests.caches.test_radix_recorded import _trace
from tests.engine.driving import check_always
from tests.engine.driving_sglang import sglang_fleet, steps_of
from tests.oracles.naive_radix import NaiveRadix
from tests.oracles.naive_sglang import NaiveSglang, run_to_the_end

ARGS = {
    (index.parent.name, config["name"]): config["args"]
    for index in sorted(EXCERPTS.glob("*/sglang_sched_index.json"))
    for config in json.loads(index.read_text())["configs"]
}
SALTED_DFS = ("tenants-s2", "sglang_sched_dfs")
"""The naive tree has a root for each salt, so it knows no order among salts."""
RECORDED = pytest.mark.parametrize(("trace", "name"), ARGS)


def _steps(trace: str, name: str) -> list[dict[str, Any]]:
    return read_rows(EXCERPTS / trace / f"{name}.steps.jsonl.gz")


def _pairs(pairs: Any) -> list[list[Any]]:
    return [list(pair) for pair in pairs]


def _fleet_options(args: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in args.items() if key not in ("pages", "page_size", "eviction")}


@RECORDED
def test_every_step(trace: str, name: str) -> None:
    """Who is scheduled when, with how many tokens, hits, retractions, evictions in order, free memory."""
    args, size = ARGS[trace, name], ARGS[trace, name]["page_size"]
    loaded = _trace(EXCERPTS / trace)
    ids = loaded.request_ids
    assert ids is not None
    fleet = sglang_fleet(
        loaded,
        pages=args["pages"],
        page_size=size,
        eviction=args["eviction"],
        record_steps=True,
        **_fleet_options(args),
    )
    fleet.run()
    got = steps_of(fleet)
    want = _steps(trace, name)
    assert len(got) == len(want)
    for mine, theirs in zip(got, want, strict=True):
        assert {
            "at": mine.scheduled_s,
            "kind": theirs["kind"],
            "sched": [[ids[i], tokens] for i, tokens in mine.sched],
            "new": [[ids[i], cached] for i, cached in mine.new],
            "resumed": [[ids[i], cached] for i, cached in mine.resumed],
            "retracted": [ids[i] for i in mine.preempted],
            "evicted": [
                [ids[owner], last * size, (first + 1) * size] for owner, first, last in mine.evicted
            ],
            "free": mine.free * size,
            "running": mine.running,
            "waiting": mine.waiting,
            "finished": [ids[i] for i in mine.finished],
        } == theirs | {"evicted": _joined(theirs["evicted"])}


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
    args, want = ARGS[trace, name], _steps(trace, name)
    loaded = copy(_trace(EXCERPTS / trace))
    assert loaded.request_ids is not None
    records = check_always(
        sglang_fleet(
            loaded,
            pages=args["pages"],
            page_size=args["page_size"],
            eviction=args["eviction"],
            **_fleet_options(args),
        )
    ).run()
    number = {name: i for i, name in enumerate(loaded.request_ids)}
    hits = {number[i]: (step["at"], cached) for step in want for i, cached in step["new"]}
    ends = {number[i]: step["at"] + 1 for step in want for i in step["finished"]}
    retracted = [number[i] for step in want for i in step["retracted"]]
    for i in range(len(loaded)):
        assert (records.scheduled_s[i], records.cache_read_input_tokens[i]) == hits[i]
        assert records.finished_s[i] == ends[i]
        assert records.preemptions[i] == retracted.count(i)
    assert records.engine is not None and records.engine.iterations == len(want)
    assert len(records.steps[0].end_s) < len(want) / 3


@pytest.mark.parametrize(("trace", "name"), [key for key in ARGS if key != SALTED_DFS])
def test_the_oracle(trace: str, name: str) -> None:
    """The naive model agrees with the engine in every field, so the other tests may rely on it."""
    args, want = ARGS[trace, name], _steps(trace, name)
    size, chunk = args["page_size"], args["chunked_prefill_size"]
    requests = [_request(row) for row in read_rows(EXCERPTS / trace / "trace.jsonl.gz")]
    engine = NaiveSglang(
        NaiveRadix(args["pages"] * size, size, args["eviction"]),
        chunk=None if chunk < 0 else chunk,
        max_prefill=args["max_prefill_tokens"],
        max_running=args["max_running_requests"],
        policy=args["schedule_policy"],
        conservativeness=args["schedule_conservativeness"],
        ignore_eos=args["ignore_eos"],
        retract_by_priority=args["retraction_policy"] == "priority",
    )
    asked = args["max_new_tokens"]
    limits = {request.id: asked or len(request.output) for request in requests}
    got = run_to_the_end(engine, sorted(requests, key=lambda request: request.arrival), max_new=limits)
    for mine, theirs in zip(got, want, strict=True):
        assert {
            "sched": _pairs(mine.sched),
            "new": _pairs(mine.new),
            "resumed": _pairs(mine.resumed),
            "retracted": mine.retracted,
            "evicted": _pairs(mine.evicted),
            "free": mine.free,
            "running": mine.running,
            "waiting": mine.waiting,
            "finished": mine.finished,
            "at": theirs["at"],
            "kind": theirs["kind"],
        } == theirs
