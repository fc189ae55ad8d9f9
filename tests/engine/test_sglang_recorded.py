"""The engine with SGLang's scheduler, one request at a time, against what SGLang 0.5.23's cache did.

The recordings (tests/fixtures/conformance/sglang_README.md) have no scheduler in them: requests follow one
another. So here each comes when the one before is long gone.
"""

from __future__ import annotations

import json
from copy import copy
from pathlib import Path

import pytest

from sim import load_config, run
from sim.caches.radix_replay import RadixConfig
from tests.caches.recorded import EXCERPTS, read_rows
from tests.caches.test_radix_recorded import EXCERPTED, WHOLE, _options, _rows, _trace
from tests.engine.driving_sglang import sglang_fleet

APART_S = 1e4
"""Longer than any request takes; were it much longer, figures per second of a run would take most time."""


def _runs_as_recorded(folder: Path, name: str) -> None:
    """Hits of every request, and every evicted page by owner and order.

    Not of the classic tree: the engine has the default one, and the two differ in fifo and filo only.
    """
    options = RadixConfig.model_validate(_options(folder, name))
    assert options.capacity_tokens is not None
    trace = copy(_trace(folder))
    trace.arrival_s = [APART_S * i for i in range(len(trace))]
    evicted: list[tuple[int, int, int]] = []
    size = options.page_size
    records = sglang_fleet(
        trace,
        pages=options.capacity_tokens // size,
        page_size=size,
        eviction=options.eviction,
        chunked_prefill_size=-1,
        max_running_requests=1,
        evicted=lambda owner, first, last: evicted.append((owner, last * size, (first + 1) * size)),
    ).run()
    assert all(records.finished_s[:-1] < records.arrival_s[1:])
    rows = _rows(folder, name)
    assert records.cache_read_input_tokens.tolist() == [row["hit"] for row in rows]
    ids = trace.request_ids
    assert ids is not None
    want = [tuple(leaf) for row in rows for leaf in row["evicted"]]
    assert [(ids[owner], start, to) for owner, start, to in evicted] == want


@pytest.mark.parametrize(("trace", "name"), EXCERPTED)
def test_excerpt(trace: str, name: str) -> None:
    """The excerpts kept here."""
    _runs_as_recorded(EXCERPTS / trace, name)


@pytest.mark.parametrize(("trace", "name"), WHOLE)
def test_whole_recording(shared_data: Path, trace: str, name: str) -> None:
    """The whole recordings."""
    _runs_as_recorded(shared_data / "conformance" / trace, name)


@pytest.mark.parametrize("trace", sorted({trace for trace, _ in EXCERPTED}))
def test_excerpts_through_a_configuration(tmp_path: Path, trace: str) -> None:
    """The same hits by the public way: a configuration file, a run, its records and its summary."""
    rows = read_rows(EXCERPTS / trace / "trace.jsonl.gz")
    apart = [row | {"arrival": APART_S * i} for i, row in enumerate(rows)]
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in apart))
    names = [name for folder, name in EXCERPTED if folder == trace]
    system = {
        "kind": "engine",
        "latency": {"kind": "constant", "iteration_s": 0.5},
        "engine": {"kind": "sglang", "max_running_requests": 1, "chunked_prefill_size": -1},
    }
    config = {
        "name": "recorded",
        "workload": {"kind": "trace", "format": "tokens", "path": "trace.jsonl"},
        "systems": {name: system | {"cache": _options(EXCERPTS / trace, name)} for name in names},
    }
    (tmp_path / "recorded.yaml").write_text(json.dumps(config))
    result = run(load_config(tmp_path / "recorded.yaml"))
    summary = result.summary()["systems"]
    for name in names:
        recorded = _rows(EXCERPTS / trace, name)
        hits = result.runs[name].records.cache_read_input_tokens.tolist()
        assert hits == [row["hit"] for row in recorded]
        cache = summary[name]["cache"]
        assert cache["evicted_tokens"] == sum(row["evict_tokens"] for row in recorded)
        assert cache["prefix_cache_hits_tokens"] == sum(hits)
