"""SGLang's radix tree over full attention and a window: what it did, request by request.

The fields of the recordings are described in tests/fixtures/conformance/sglang_windows/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sim import load_config, run
from sim.caches.radix_swa_replay import window_replay
from tests.caches.cases import QUICK, THOROUGH, request_lists, trace_of
from tests.caches.recorded import EXCERPTS, read_rows, requests_of
from tests.oracles.naive_radix_windows import NaiveRadixWindows
from tests.oracles.naive_vllm import NaiveRequest
from workloads.content import ROOT, ContentTree
from workloads.errors import InputError
from workloads.trace import Trace

SPARE = st.integers(0, 40)
RECORDED = sorted((EXCERPTS / "sglang_windows").glob("*/*.req.jsonl.gz"))


def _sizes(path: Path) -> tuple[int, int, int]:
    """The window, and the tokens of the pools of full attention and of windows."""
    window, full, swa = re.findall(r"_[wfs](\d+)", path.name)
    return int(window), int(full), int(swa)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.name[:-13]}")
def test_oracle(path: Path) -> None:
    """The naive model agrees with the engine in every field, so what is held against it may rely on it."""
    window, full, swa = _sizes(path)
    naive, rows = NaiveRadixWindows(full, swa, window), read_rows(path)
    for request, row in zip(requests_of(EXCERPTS / path.parent.name), rows, strict=False):
        assert naive.serve(request) == row
    assert len(rows) >= 40 and any(row["evicted_full"] for row in rows)
    assert any(row["evicted_swa"] for row in rows) and any(row["branch"] for row in rows)


def _serves_as_naive(requests: list[NaiveRequest], full: int, swa: int, window: int, interval: int) -> None:
    trace, naive = trace_of(requests), NaiveRadixWindows(full, swa, window, interval)
    replay = window_replay(trace, full, swa, window, interval)
    tree, hits = replay.tree, 0
    for number, request in enumerate(requests):
        before = tree.full.evicted, tree.other.evicted
        want = naive.serve(request)
        assert replay.serve(number, 0.0).hit_tokens == want["hit"]
        replay.check()
        evicted = [sum(to - first for _, first, to in want[key]) for key in ("evicted_full", "evicted_swa")]
        assert [tree.full.evicted - before[0], tree.other.evicted - before[1]] == evicted
        assert (tree.full.free, tree.other.free) == (want["full_free"], want["swa_free"])
        hits += want["hit"]
    event(f"hits: {hits > 0}, evictions: {tree.full.evicted > 0}, {tree.other.evicted > 0}")


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.name[:-13]}")
def test_replay(path: Path) -> None:
    """Hits, evictions and what is free of either pool are the engine's."""
    window, full, swa = _sizes(path)
    requests, rows = requests_of(EXCERPTS / path.parent.name), read_rows(path)
    replay = window_replay(trace_of(requests), full, swa, window)
    tree = replay.tree
    evicted = [0, 0]
    for number, row in enumerate(rows):
        assert replay.serve(number, 0.0).hit_tokens == row["hit"]
        replay.check()
        for i, key in enumerate(("evicted_full", "evicted_swa")):
            evicted[i] += sum(to - first for _, first, to in row[key])
        assert [tree.full.evicted, tree.other.evicted] == evicted
        assert (tree.full.free, tree.other.free) == (row["full_free"], row["swa_free"])


def test_what_only_full_attention_still_has() -> None:
    """A prompt that parts from the first where its window is gone finds nothing, the one after it does."""
    tree = ContentTree()
    shared = tree.append(ROOT, 500)
    trace = Trace()
    for number in range(3):
        prompt = tree.append(shared, 500)
        reply = tree.append(prompt, 400)
        trace.add(prompt=prompt, reply=reply, output_tokens=400, arrival_s=float(number))
    trace.content = tree
    replay = window_replay(trace, 10_000, 10_000, 128)
    assert [replay.serve(number, 0.0).hit_tokens for number in range(3)] == [0, 0, 500]


@settings(QUICK, max_examples=200)
@given(request_lists(most=10, longest=20), SPARE, SPARE, st.integers(1, 12), st.integers(1, 9))
def test_random_requests(
    requests: list[NaiveRequest], more: int, extra: int, window: int, interval: int
) -> None:
    """Tiny pools and windows: hits, evictions and what is free are the naive model's."""
    full = max(len(request.prompt) + len(request.output) for request in requests)
    decoding = 2 * window + max(window, interval + 1) + interval + 1  # as a configuration requires it
    swa = max(max(len(request.prompt) for request in requests), min(full, decoding))
    _serves_as_naive(requests, full + more, swa + extra, window, interval)


@pytest.mark.slow
@THOROUGH
@given(request_lists(most=20, longest=40), SPARE, SPARE, st.integers(1, 20), st.integers(1, 20))
def test_random_requests_thoroughly(
    requests: list[NaiveRequest], more: int, extra: int, window: int, interval: int
) -> None:
    """The same on many more and longer traces."""
    full = max(len(request.prompt) + len(request.output) for request in requests)
    decoding = 2 * window + max(window, interval + 1) + interval + 1
    swa = max(max(len(request.prompt) for request in requests), min(full, decoding))
    _serves_as_naive(requests, full + more, swa + extra, window, interval)


def test_through_the_public_api(tmp_path: Path) -> None:
    """A configured replay has the hits of the recording; an engine does not take such a cache."""
    path = next(path for path in RECORDED if path.parent.name == "short-s3")
    window, full, swa = _sizes(path)
    cache = {"kind": "radix_swa", "window": window, "capacity_tokens": full, "window_capacity_tokens": swa}
    file = str(EXCERPTS / "short-s3" / "trace.jsonl.gz")
    config: dict[str, Any] = {
        "name": "windows",
        "workload": {"kind": "trace", "format": "tokens", "path": file},
        "systems": {"replay": {"kind": "cache", "cache": cache}},
    }
    (tmp_path / "windows.yaml").write_text(yaml.safe_dump(config))
    table = run(load_config(tmp_path / "windows.yaml")).requests().query("system == 'replay'")
    hits = dict(zip(table["request_id"], table["cache_read_input_tokens"], strict=True))
    assert hits == {row["id"]: row["hit"] for row in read_rows(path)}
    cache["window_capacity_tokens"] = 300
    (tmp_path / "windows.yaml").write_text(yaml.safe_dump(config))
    notes = run(load_config(tmp_path / "windows.yaml")).summary()["systems"]["replay"]["notes"]
    assert any(note.startswith("too long for the cache") for note in notes)
    config["systems"] = {
        "engine": {"kind": "engine", "model": "llama-3-8b", "hardware": "h200", "cache": cache}
    }
    (tmp_path / "windows.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="radix_swa"):
        load_config(tmp_path / "windows.yaml")
