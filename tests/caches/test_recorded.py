"""The block cache and its oracle against what vLLM 0.33.0 did, request by request."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sim import load_config, run
from sim.caches.replay import BlockConfig
from tests.caches.cases import trace_of
from tests.caches.recorded import EXCERPTED, EXCERPTS, SEQUENTIAL, Recording, single_blocks
from tests.oracles.naive_vllm import NaiveBlockPool, serve_sequential

ALL = [(trace, name) for trace, names in SEQUENTIAL.items() for name in names]
HERE = [(trace, name) for trace, name in ALL if trace in EXCERPTED]


def _replays_as_recorded(recording: Recording) -> None:
    trace = trace_of(recording.requests)
    evicted: list[tuple[int, int, int]] = []
    replay = BlockConfig(kind="block", capacity_blocks=recording.blocks).replay(
        trace, "cache", evicted=lambda owner, first, last: evicted.append((owner, first, last))
    )
    ids = [request.id for request in recording.requests]
    for number, row in enumerate(recording.rows):
        evicted.clear()
        served = replay.serve(number, 0.0)
        replay.check()
        assert served.hit_tokens == row["hit"]
        assert replay.cache.cached_blocks == row["cached_blocks"]
        got = [(ids[owner], index) for owner, index in single_blocks(evicted)]
        assert got == single_blocks(row["evicted_prefill"] + row["evicted_decode"])
    assert len(recording.rows) == len(trace)


@pytest.mark.parametrize(("trace", "name"), HERE)
def test_excerpt(trace: str, name: str) -> None:
    """Hits, cached blocks, and which blocks are evicted in which order, of the excerpts kept here."""
    _replays_as_recorded(Recording.read(EXCERPTS / trace, name))


@pytest.mark.parametrize(("trace", "name"), ALL)
def test_whole_recording(shared_data: Path, trace: str, name: str) -> None:
    """The same, of the whole recordings."""
    _replays_as_recorded(Recording.read(shared_data / "conformance" / trace, name))


@pytest.mark.parametrize(("trace", "name"), HERE)
def test_oracle(trace: str, name: str) -> None:
    """The naive model agrees with the engine in every field, so the other tests may rely on it."""
    recording = Recording.read(EXCERPTS / trace, name)
    pool = NaiveBlockPool(recording.blocks, recording.args["block_size"])
    for request, row in zip(recording.requests, recording.rows, strict=True):
        got = serve_sequential(pool, request)
        for field in ("evicted_prefill", "evicted_decode"):
            row[field] = [tuple(run) for run in row[field]]
        assert got | {"ok": True} == row
        pool.check([])


@pytest.mark.parametrize(("trace", "name"), HERE)
def test_through_the_public_api(tmp_path: Path, trace: str, name: str) -> None:
    """The same as a configured experiment: hits per request, evicted blocks in the summary."""
    recording = Recording.read(EXCERPTS / trace, name)
    path = EXCERPTS / trace / "trace.jsonl.gz"
    cache = {"kind": "block", "capacity_blocks": recording.blocks}
    config = {
        "name": "recorded",
        "workload": {"kind": "trace", "format": "tokens", "path": str(path)},
        "systems": {"x": {"kind": "cache", "cache": cache}},
    }
    (tmp_path / "recorded.yaml").write_text(yaml.safe_dump(config))
    result = run(load_config(tmp_path / "recorded.yaml"))
    table = result.requests().query("system == 'x'").set_index("request_id")["cache_read_input_tokens"]
    rows = dict(zip([request.id for request in recording.requests], recording.rows, strict=True))
    assert table.to_dict() == {name: row["hit"] for name, row in rows.items()}
    evicted = sum(row["evict_prefill"] + row["evict_decode"] for row in recording.rows)
    assert result.summary()["systems"]["x"]["cache"]["evicted_blocks"] == evicted
