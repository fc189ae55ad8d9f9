"""The stepping replica against the schedules of vLLM 0.33.0: every field of every step and request."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sim.engine.step_records import StepRecord
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.speculation import Speculation
from tests.caches.cases import trace_of
from tests.caches.recorded import EXCERPTS, LARGEST, read_rows, requests_of
from tests.engine.driving_steps import Drive, rows_of
from workloads.trace import Trace

CONFIGURATIONS = [
    "c16_t8192", "c16_t512", "arr_t8192", "arr_t512", "c16_async", "c16_nocache", "arr_priority",
    "c16_limits", "c16_watermark", "c24_priority", "c24_noreserve", "c1_long",
]  # fmt: skip
WHOLE = [
    (t, f"vllm_sched_{name}") for t in ("short-s3", "tenants-s2", "normal-s1") for name in CONFIGURATIONS
]
HERE = [
    *((t, f"vllm_sched_{name}") for t in ("short-s3", "tenants-s2") for name in ("arr_t8192", "arr_t512")),
    *(("short-s3", f"sched_{name}") for name in CONFIGURATIONS if name not in ("arr_t8192", "arr_t512")),
]
"""Excerpts in this repository; tests/fixtures/conformance/sched_README.md has the configurations."""


@cache
def recorded_trace(folder: Path, requests: int) -> Trace:
    """The first ``requests`` requests of a recorded trace, with their names and priorities."""
    recorded = requests_of(folder)[:requests]
    trace = trace_of(recorded)
    trace.request_ids = [request.id for request in recorded]
    trace.priority = [request.priority for request in recorded]
    return trace


def recorded_folder(request: pytest.FixtureRequest, trace: str, whole: bool) -> Path:
    """Where the recordings of ``trace`` are: the whole ones beside the project, excerpts here."""
    if not whole:
        return EXCERPTS / trace
    shared: Path = request.getfixturevalue("shared_data")
    return shared / "conformance" / trace


def recorded_arguments(folder: Path, name: str) -> dict[str, Any]:
    """The recorder's arguments of configuration ``name``."""
    index = "sched_index.json" if name.startswith("sched_") else "index.json"
    configs = json.loads((folder / index).read_text())["configs"]
    arguments: dict[str, Any]
    (arguments,) = (config["args"] for config in configs if config["name"] == name)
    return arguments


def drive_of(
    trace: Trace,
    args: dict[str, Any],
    groups: list[str] | None,
    *,
    eagle: bool = False,
    speculation: Speculation | None = None,
) -> Drive:
    """An engine as the recorder's arguments have it, with its requests; ``eagle``: hits lose a block."""
    options = SchedulerOptions(
        max_num_batched_tokens=args["max_num_batched_tokens"],
        max_num_seqs=args["max_num_seqs"],
        policy=args["policy"],
        long_prefill_token_threshold=args["long_prefill_threshold"],
        watermark=args["watermark"],
        scheduler_reserve_full_isl=not args["no_reserve_full_isl"],
        async_scheduling=args["async_sched"],
        speculation=speculation,
    )
    return Drive(
        trace,
        options,
        blocks=args["blocks"] - 1,  # block 0 is vLLM's null block
        block_size=args["block_size"],
        caching=not args["no_caching"],
        groups=groups,
        eagle=eagle,
        lookahead=0 if speculation is None else speculation.hash_lookahead_tokens,
        concurrency=None if args["arrival_steps"] else args["concurrency"],
        same_arrival=args["same_arrival"],
    )


def as_recorded(record: StepRecord, step: int, ids: list[str]) -> dict[str, Any]:
    def pairs(admissions: list[tuple[int, int]]) -> list[tuple[str, int]]:
        return [(ids[i], tokens) for i, tokens in admissions]  # not a dict: their order counts

    return {
        "step": step,
        "tokens": sum(tokens for _, tokens in record.sched),
        "sched": pairs(record.sched),
        "new": pairs(record.new),
        "resumed": pairs(record.resumed),
        "preempted": [ids[i] for i in record.preempted],
        "evict": sum(run[1] - run[2] + 1 for run in record.evicted),
        "evicted": [[ids[owner], *run] for owner, *run in record.evicted],
        "free": record.free,
        "running": record.running,
        "waiting": record.waiting,
        "finished": [ids[i] for i in record.finished],
    }


def idle(step: int, blocks: int) -> dict[str, Any]:
    """A step of an empty engine: recorded, but the simulator jumps over it."""
    record = StepRecord(0, 0, step, [], [], [], [], [], free=blocks, running=0, waiting=0)
    return as_recorded(record, step, [])


def schedules_as_recorded(folder: Path, name: str, traces: Path | None = None) -> None:
    """A step takes one second: step s is scheduled at time s, unless steps that do nothing take none.

    The trace lies beside the recording, or in a folder of the same name in ``traces``.
    """
    args = recorded_arguments(folder, name)
    trace = recorded_trace(folder if traces is None else traces / folder.name, args["limit"] or 1 << 30)
    steps, rows = (read_rows(folder / f"{name}.{kind}.jsonl.gz") for kind in ("steps", "req"))
    groups = args["groups"].split(",") if "groups" in args else None
    drive = drive_of(trace, args, groups, eagle=args.get("eagle", False))
    records = drive.run()
    ids = trace.request_ids
    assert ids is not None
    number = [r.step if args["async_sched"] else int(r.scheduled_s) for r in records]
    at = dict(zip(number, records, strict=True))
    for want in steps:
        step = want["step"]
        for field in ("sched", "new", "resumed"):
            want[field] = list(want[field].items())
        assert want == (as_recorded(at[step], step, ids) if step in at else idle(step, args["blocks"] - 1))
    if len(rows) == len(trace):
        assert number[-1] == steps[-1]["step"]

    derived = rows_of(trace, records)
    for want in rows:
        i = ids.index(want["id"])
        row = derived[i]
        assert row.first is not None and row.done is not None
        assert want == {
            "id": ids[i],
            "prompt": trace.input_tokens[i],
            "hit": drive.log.hit_tokens[i],
            "hits_all": row.hits_all,
            "out": trace.output_tokens[i],
            "added": trace.arrival_s[i] if args["arrival_steps"] else drive.added[i],
            "sched": number[row.sched],
            "first": number[row.first],
            "done": number[row.done],
            "chunks": row.chunks,
            "preempt": row.preempt,
            "used_blocks": row.used_blocks,
        }
        assert drive.log.scheduled_s[i] == records[row.sched].scheduled_s
        assert drive.log.first_token_s[i] == records[row.first].end_s
        assert drive.log.finished_s[i] == records[row.done].end_s


@pytest.mark.parametrize(("trace", "name"), HERE)
def test_excerpt(trace: str, name: str) -> None:
    """The excerpts in this repository."""
    schedules_as_recorded(EXCERPTS / trace, name)


@pytest.mark.parametrize(
    ("trace", "name"), [pytest.param(*one, marks=LARGEST if one[0] == "normal-s1" else ()) for one in WHOLE]
)
def test_whole_recording(shared_data: Path, trace: str, name: str) -> None:
    """The whole recordings: every option, three traces, 100 % of steps and requests."""
    schedules_as_recorded(shared_data / "conformance" / trace, name)
