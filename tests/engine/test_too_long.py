"""Requests longer than an engine serves: turned away at once, counted, and what comes after them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim import load_config, run
from sim.results.records import Records

ENGINES = pytest.mark.parametrize("engine", ["vllm", "sglang"])
LATENCY = {"kind": "constant", "iteration_s": 1.0}


def _records(
    folder: Path,
    requests: list[tuple[float, int, int, int]],
    concurrency: int | None = None,
    **system: Any,
) -> tuple[Records, list[str]]:
    """Requests (arrival in s, prompt, reply, session) through one engine of 1,000 tokens; and its notes."""
    lines = []
    for i, (arrival_s, prompt, reply, session) in enumerate(requests):
        tokens, output = [1000 * i + t for t in range(prompt)], [10**6 + 1000 * i + t for t in range(reply)]
        entry: dict[str, Any] = {"tokens": tokens, "output_tokens": output, "session": session}
        lines.append(json.dumps({"arrival": arrival_s, **entry}))
    (folder / "t.jsonl").write_text("\n".join(lines) + "\n")
    workload: dict[str, Any] = {"kind": "trace", "format": "tokens", "path": "t.jsonl"}
    if concurrency is not None:
        workload["arrival"] = {"process": "closed_loop", "concurrency": concurrency}
    engine = system.pop("engine", {"kind": "vllm"})
    memory = {"kv_blocks": 1000 if engine["kind"] == "sglang" else 1001}
    cache = {"kind": "radix"} if engine["kind"] == "sglang" else {"kind": "block", "block_size": 1}
    one = {
        "kind": "engine",
        "engine": engine,
        "cache": cache,
        "memory": memory,
        "latency": LATENCY,
        **system,
    }
    path = folder / "long.yaml"
    path.write_text(json.dumps({"name": "long", "workload": workload, "systems": {"one": one}}))
    found = run(load_config(path)).runs["one"]
    return found.records, found.notes


@ENGINES
def test_the_limits_are_exact(tmp_path: Path, engine: str) -> None:
    """Prompt and reply together up to max_model_len; one token more is rejected, when it arrives."""
    requests = [(0.0, 90, 10, 0), (0.5, 91, 10, 1), (0.6, 99, 1, 2), (0.7, 100, 1, 3)]
    records, notes = _records(tmp_path, requests, engine={"kind": engine, "max_model_len": 100})
    assert records.status.tolist() == ["completed", "rejected", "completed", "rejected"]
    assert np.isnan(records.scheduled_s[[1, 3]]).all()
    assert any(note.startswith("rejected: 2 of 4 requests are longer") for note in notes)
    assert any("max_model_len 100" in note for note in notes)


def test_memory_bounds_a_request_of_vllm(tmp_path: Path) -> None:
    """1,000 blocks of a token: the last token of a reply needs none."""
    records, notes = _records(tmp_path, [(0.0, 996, 5, 0), (50.0, 997, 5, 1), (51.0, 5, 5, 2)])
    assert records.status.tolist() == ["completed", "rejected", "completed"]
    assert any("KV memory 1,000 tokens" in note for note in notes)


def test_memory_bounds_a_request_of_sglang(tmp_path: Path) -> None:
    """It leaves a page and a token free, and would cut the longer reply short: that is not served as if."""
    requests = [(0.0, 990, 8, 0), (50.0, 990, 9, 1), (51.0, 5, 5, 2)]
    records, _ = _records(tmp_path, requests, engine={"kind": "sglang"})
    assert records.status.tolist() == ["completed", "rejected", "completed"]


@ENGINES
def test_a_session_goes_on(tmp_path: Path, engine: str) -> None:
    """The next turn comes its recorded time after the rejection; clients do not send the long one again."""
    requests = [(0.0, 30, 2, 0), (10.0, 200, 2, 0), (20.0, 40, 2, 0)]
    retries = {"max_retries": 5, "backoff_s": 1.0}
    options: dict[str, Any] = {"retries": retries, "max_queued_requests": 9}
    records, _ = _records(tmp_path, requests, **options, engine={"kind": engine, "max_model_len": 100})
    assert records.status.tolist() == ["completed", "rejected", "completed"]
    assert records.retries.max() == 0
    assert records.arrival_s[2] - records.arrival_s[1] == pytest.approx(10.0)


@ENGINES
def test_closed_loop(tmp_path: Path, engine: str) -> None:
    """Who is turned away is replaced at the same instant; the loop ends, whatever is left of it."""
    requests = [(0.0, 200 if i % 3 else 30, 2, i) for i in range(12)]
    records, _ = _records(tmp_path, requests, concurrency=2, engine={"kind": engine, "max_model_len": 100})
    assert records.status.tolist() == ["rejected" if i % 3 else "completed" for i in range(12)]
    allowed, _ = _records(tmp_path, [(0.0, 500, 2, i) for i in range(5)], concurrency=2,
                          engine={"kind": engine, "max_model_len": 100})  # fmt: skip
    assert (allowed.status == "rejected").all(), "nobody is served at all"


def test_the_twin_rejects_the_same(tmp_path: Path) -> None:
    """Without a cache memory is as large."""
    requests = [(0.0, 90, 10, 0), (0.5, 91, 10, 1)]
    _records(tmp_path, requests, engine={"kind": "vllm", "max_model_len": 100})
    found = run(load_config(tmp_path / "long.yaml")).runs["one"]
    assert found.twin.status.tolist() == found.records.status.tolist() == ["completed", "rejected"]


def test_unlike_pools(tmp_path: Path) -> None:
    """A request is turned away where the router sends it, and only there."""
    pools = [{"engine": {"max_model_len": 1000}}, {"engine": {"max_model_len": 100}}]
    requests = [(float(i), 200, 2, i) for i in range(4)]
    records, _ = _records(tmp_path, requests, pools=pools, router="round_robin")
    assert records.status.tolist() == ["completed", "rejected"] * 2


def test_prefill_and_decode_apart(tmp_path: Path) -> None:
    """What fits the replica that prefills, but not the one that decodes, is lost between them."""
    pools: list[dict[str, Any]] = [
        {"role": "prefill"},
        {"role": "decode", "memory": {"kv_blocks": 101}},
    ]
    link = {"gb_per_s": 1.0}
    requests = [(0.0, 50, 5, 0), (20.0, 200, 5, 1), (40.0, 60, 5, 2)]
    records, _ = _records(tmp_path, requests, pools=pools, kv_link=link, model="llama-3.1-8b")
    assert records.status.tolist() == ["completed", "rejected", "completed"]
    assert records.engine is not None and records.engine.abandoned_tokens == 200
    pools[0]["engine"] = {"max_model_len": 100}
    records, _ = _records(tmp_path, requests, pools=pools, kv_link=link, model="llama-3.1-8b")
    assert records.status.tolist() == ["completed", "rejected", "completed"]
    assert records.engine is not None and records.engine.abandoned_tokens == 0, "refused at the door"


def test_the_model_bounds_it(tmp_path: Path) -> None:
    """Without max_model_len the model's positions do; beyond them if that is asked for, with a note."""
    requests = [(0.0, 2040, 8, 0), (90.0, 2041, 8, 1)]
    own: dict[str, Any] = {"model": "tinyllama-1.1b", "memory": {"kv_blocks": 5000}}
    records, _ = _records(tmp_path, requests, **own)
    assert records.status.tolist() == ["completed", "rejected"]
    records, notes = _records(tmp_path, requests, **own, engine={"kind": "vllm", "max_model_len": 4096})
    assert records.status.tolist() == ["completed", "completed"]
    assert any("max_model_len 4,096 is beyond the 2,048 positions of" in note for note in notes)


def test_a_pool_below_max_model_len_is_told(tmp_path: Path) -> None:
    """vLLM refuses to start then."""
    _, notes = _records(tmp_path, [(0.0, 30, 2, 0)], engine={"kind": "vllm", "max_model_len": 4096})
    assert any(
        note.startswith("vLLM would not start: one request of max_model_len 4,096") for note in notes
    )
    _, notes = _records(tmp_path, [(0.0, 30, 2, 0)], engine={"kind": "sglang", "max_model_len": 4096})
    assert not any("would not start" in note for note in notes)
