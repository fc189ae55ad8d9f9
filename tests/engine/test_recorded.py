"""The replica and its oracle against the schedules of vLLM 0.33.0, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.caches.cases import trace_of
from tests.caches.recorded import EXCERPTED, EXCERPTS, SCHEDULED, Recording, single_blocks
from tests.engine.driving import fleet_of, watch
from tests.oracles.naive_vllm import NaiveBlockPool, NaiveRequest, NaiveScheduler

ALL = [(trace, name) for trace, names in SCHEDULED.items() for name in names]
HERE = [(trace, name) for trace, name in ALL if trace in EXCERPTED]


def _schedules_as_recorded(recording: Recording, fast_forward: bool) -> None:
    """A step takes one second: what is sampled in step s is there at time s + 1."""
    trace = trace_of(recording.requests)
    evicted: list[tuple[int, int, int]] = []
    fleet = fleet_of(
        trace,
        blocks=recording.blocks,
        max_num_batched_tokens=recording.args["max_num_batched_tokens"],
        max_num_seqs=recording.args["max_num_seqs"],
        fast_forward=fast_forward,
        evicted=lambda owner, first, last: evicted.append((owner, first, last)),
    )
    (replica,) = fleet.replicas
    states: dict[int, tuple[int, int, int]] = {}

    def look(now: float) -> None:
        queues = replica.load - replica.queued, replica.queued
        states[int(now)] = (replica.memory.capacity_blocks - replica.held_blocks, *queues)

    if not fast_forward:  # else most steps are passed over
        watch(fleet, look)
    records = fleet.run()

    number = {request.id: i for i, request in enumerate(recording.requests)}
    for row in recording.rows:
        i = number[row["id"]]
        assert records.cache_read_input_tokens[i] == row["hit"]
        assert records.scheduled_s[i] == row["sched"]
        assert records.first_token_s[i] == row["first"] + 1
        assert records.finished_s[i] == row["done"] + 1
        assert records.preemptions[i] == row["preempt"]
    for step in recording.steps:
        for request, cached in step["new"].items():
            assert records.cache_read_input_tokens[number[request]] == cached
            assert records.scheduled_s[number[request]] == step["step"]
        if step["step"] in states and step["tokens"]:
            assert states[step["step"]] == (step["free"], step["running"], step["waiting"])

    want = single_blocks(run for step in recording.steps for run in step["evicted"])
    got = [(recording.requests[owner].id, index) for owner, index in single_blocks(evicted)]
    assert got[: len(want)] == want
    if len(recording.rows) == len(recording.requests):
        assert len(got) == len(want)


@pytest.mark.parametrize("fast_forward", [True, False])
@pytest.mark.parametrize(("trace", "name"), HERE)
def test_excerpt(trace: str, name: str, fast_forward: bool) -> None:
    """Hits, steps, preemptions, evictions in order, free blocks and queues of the excerpts here."""
    _schedules_as_recorded(Recording.read(EXCERPTS / trace, name), fast_forward)


@pytest.mark.parametrize("fast_forward", [True, False])
@pytest.mark.parametrize(("trace", "name"), ALL)
def test_whole_recording(shared_data: Path, trace: str, name: str, fast_forward: bool) -> None:
    """The same, of the whole recordings."""
    recording = Recording.read(shared_data / "conformance" / trace, name)
    _schedules_as_recorded(recording, fast_forward)


def _row(request: NaiveRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "prompt": len(request.prompt),
        "hit": request.hits[0],
        "hits_all": request.hits,
        "out": len(request.output),
        "added": request.step_added,
        "sched": request.step_scheduled,
        "first": request.step_first,
        "done": request.step_done,
        "chunks": request.chunks,
        "preempt": request.preemptions,
        "used_blocks": request.used_blocks,
    }


@pytest.mark.parametrize(("trace", "name"), HERE)
def test_oracle(trace: str, name: str) -> None:
    """The naive scheduler agrees with the engine in every field of every step and request."""
    recording = Recording.read(EXCERPTS / trace, name)
    args = recording.args
    scheduler = NaiveScheduler(
        NaiveBlockPool(recording.blocks, args["block_size"]),
        args["max_num_batched_tokens"],
        args["max_num_seqs"],
    )
    coming, done = list(recording.requests), []
    for want in recording.steps:
        while coming and coming[0].arrival <= scheduler.step:
            scheduler.add(coming.pop(0))
        record = scheduler.schedule()
        done += scheduler.apply()
        scheduler.pool.check(scheduler.running)
        for pairs in ("sched", "new", "resumed"):
            want[pairs] = list(want[pairs].items())
        want["evicted"] = [tuple(run) for run in want["evicted"]]
        assert vars(record) == want
    assert [_row(request) for request in done] == recording.rows
