"""The radix cache and its oracle against what SGLang 0.5.23 did, request by request.

The fields of the recordings are described in tests/fixtures/conformance/sglang_README.md.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sim import load_config, run
from sim.caches.radix_replay import RadixConfig
from tests.caches.recorded import EXCERPTS, read_rows, requests_of
from tests.oracles.naive_radix import NaiveRadix
from tests.oracles.naive_vllm import NaiveRequest
from workloads.formats.tokens import TokensTrace
from workloads.trace import Trace

POOLS = {"short-s3": (1152, 4096), "tenants-s2": (2048, 8192), "normal-s1": (3072, 12288)}
"""Tokens of the two pools of each trace, tight and roomy."""
KINDS = [
    "radix_p1_lru",
    "radix_p16_lru",
    *(f"rust_p16_{policy}" for policy in ("lfu", "fifo", "filo", "mru", "slru", "priority")),
]
WHOLE = [
    (trace, f"sglang_{kind}_t{pool}") for trace, pools in POOLS.items() for kind in KINDS for pool in pools
]
EXCERPTED = [
    (index.parent.name, config["name"])
    for index in sorted(EXCERPTS.glob("*/sglang_index.json"))
    for config in json.loads(index.read_text())["configs"]
]


@pytest.fixture(scope="module")
def conformance(shared_data: Path) -> Path:
    """The folder of the whole recordings; tests that need it skip where it is not."""
    folder = shared_data / "conformance"
    if not folder.is_dir():
        pytest.skip("the whole recordings (../shared/data/conformance) are not on this machine")
    return folder


@cache
def _trace(folder: Path) -> Trace:
    path = folder / "trace.jsonl.gz"
    return TokensTrace(kind="trace", format="tokens", path=path).build(0, folder)


@cache
def _requests(folder: Path) -> list[NaiveRequest]:
    return requests_of(folder)


@cache
def _index(folder: Path) -> dict[str, dict[str, Any]]:
    """The arguments of the recordings in ``folder``, by name."""
    index = folder / "sglang_index.json"
    if not index.exists():
        index = folder / "index.json"
    configs = json.loads(index.read_text())["configs"]
    return {config["name"]: config["args"] for config in configs if config["engine"] == "sglang"}


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return read_rows(folder / f"{name}.req.jsonl.gz")


def _options(folder: Path, name: str) -> dict[str, Any]:
    """The configuration of the cache that was recorded."""
    args = _index(folder)[name]
    tree = {"radix": "classic", "unified-rust": "unified"}[args["tree"]]
    return {
        "kind": "radix",
        "page_size": args["page_size"],
        "capacity_tokens": args["tokens"],
        "eviction": args["evict"],
        "tree": tree,
    }


def _replays_as_recorded(folder: Path, name: str) -> None:
    trace = _trace(folder)
    ids = trace.request_ids
    assert ids is not None
    evicted: list[list[Any]] = []
    replay = RadixConfig(**_options(folder, name)).replay(
        trace, "cache", evicted=lambda owner, start, to: evicted.append([ids[owner], start, to])
    )
    rows = _rows(folder, name)
    assert [row["id"] for row in rows] == ids
    size, tree = replay.cache.page_size, replay.cache.tree
    for number, row in enumerate(rows):
        evicted.clear()
        before = replay.evicted_tokens
        served = replay.serve(number, 0.0)
        replay.check()
        got = {
            "hit": served.hit_tokens,
            "held_tokens": replay.held_tokens,
            "evict_tokens": replay.evicted_tokens - before,
            "evicted": evicted,
            "free": replay.cache.free_pages * size,
            "evictable": tree.evictable_pages * size,
            "protected": tree.protected_pages * size,
        }
        assert row | got == row


def _oracle_as_recorded(folder: Path, name: str) -> None:
    options = _options(folder, name)
    model = NaiveRadix(
        options["capacity_tokens"], options["page_size"], options["eviction"], options["tree"]
    )
    for request, row in zip(_requests(folder), _rows(folder, name), strict=True):
        row["evicted"] = [tuple(leaf) for leaf in row["evicted"]]
        assert model.serve(request) == row
    model.check()


@pytest.mark.parametrize(("trace", "name"), EXCERPTED)
def test_excerpt(trace: str, name: str) -> None:
    """Hits, slots, evictions and their order, of the excerpts kept here."""
    _replays_as_recorded(EXCERPTS / trace, name)


@pytest.mark.parametrize(("trace", "name"), WHOLE)
def test_whole_recording(conformance: Path, trace: str, name: str) -> None:
    """The same, of the whole recordings."""
    _replays_as_recorded(conformance / trace, name)


@pytest.mark.parametrize("trace", POOLS)
def test_no_recording_is_left_out(conformance: Path, trace: str) -> None:
    """The tests above run every SGLang recording there is."""
    assert set(_index(conformance / trace)) == {name for folder, name in WHOLE if folder == trace}


@pytest.mark.parametrize(("trace", "name"), EXCERPTED)
def test_oracle_excerpt(trace: str, name: str) -> None:
    """The naive model agrees with the engine in every field, so the other tests may rely on it."""
    _oracle_as_recorded(EXCERPTS / trace, name)


@pytest.mark.slow
@pytest.mark.parametrize(("trace", "name"), WHOLE)
def test_oracle_whole_recording(conformance: Path, trace: str, name: str) -> None:
    """The same, of the whole recordings."""
    _oracle_as_recorded(conformance / trace, name)


def _runs_as_recorded(tmp_path: Path, folder: Path, names: list[str]) -> None:
    """A configuration with every recording as a system gives the recorded hits and evicted tokens."""
    workload = {"kind": "trace", "format": "tokens", "path": str(folder / "trace.jsonl.gz")}
    systems = {name: {"kind": "cache", "cache": _options(folder, name)} for name in names}
    path = tmp_path / "recorded.yaml"
    path.write_text(json.dumps({"name": "recorded", "workload": workload, "systems": systems}))
    result = run(load_config(path))
    summary = result.summary()
    for name in names:
        rows = _rows(folder, name)
        hits = result.runs[name].records.cache_read_input_tokens.tolist()
        assert hits == [row["hit"] for row in rows]
        evicted = summary["systems"][name]["cache"]["evicted_tokens"]
        assert evicted == sum(row["evict_tokens"] for row in rows)


@pytest.mark.parametrize("trace", sorted({trace for trace, _ in EXCERPTED}))
def test_excerpts_through_a_configuration(tmp_path: Path, trace: str) -> None:
    """The same sums by the public way: a configuration file, a run, its records and its summary."""
    _runs_as_recorded(tmp_path, EXCERPTS / trace, [name for folder, name in EXCERPTED if folder == trace])


@pytest.mark.parametrize("trace", POOLS)
def test_whole_recordings_through_a_configuration(conformance: Path, tmp_path: Path, trace: str) -> None:
    """And of the whole recordings."""
    _runs_as_recorded(tmp_path, conformance / trace, [name for folder, name in WHOLE if folder == trace])
