"""What clients measure: our own client, written as vLLM's is, GuideLLM and AIPerf."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from math import inf
from pathlib import Path

import numpy as np
import pytest

from benchmarks import serving, soak
from sim.config import load_config
from sim.server.opening import open_system
from sim.server.system import LiveSystem
from tests.server import tokenizer
from tests.server.running import Up, up
from tests.server.test_real import config_file


def test_the_client_sees_each_token_and_the_usage(tmp_path: Path) -> None:
    path = config_file(tmp_path)
    with up(lambda: open_system(load_config(path), "engine", inf)) as server:
        outputs = asyncio.run(
            serving.load(server.port, streams=5, requests=20, tokens=7, words=30, ramp_s=0)
        )
    assert sorted(out.row for out in outputs) == list(range(20))
    assert all(out.usage["completion_tokens"] == 7 and not out.error for out in outputs)
    assert all(out.ttft_s > 0 and len(out.itl_s) <= 6 for out in outputs)
    records = server.live.records()
    prompts = {out.row: out.usage["prompt_tokens"] for out in outputs}
    assert [prompts[row] for row in range(20)] == records.input_tokens.tolist()


@pytest.fixture
def idle() -> None:
    """Times can be measured only where nobody else computes: a client waits for its turn otherwise."""
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    if busy > cores / 2:
        pytest.skip(f"{busy:.1f} processes compute on {cores} cores")


@pytest.mark.slow
@pytest.mark.usefixtures("idle")
def test_times_are_those_of_the_records() -> None:
    found = serving.compare(streams=100, requests=200)
    assert found.requests == 200
    assert np.percentile(np.abs(found.ttft_off_ms), 99) < 5
    assert np.percentile(np.abs(found.itl_off_ms), 99) < 5
    assert max(abs(off) for off in found.gaps_off_ms.values()) < 5


@pytest.mark.slow
def test_a_thousand_streams_lose_nothing() -> None:
    """The benchmark for 10 minutes, here for less: memory is bounded once every stream is open."""
    found = soak.soak(streams=1000, seconds=60, tokens=200)
    assert found.failed == 0 and found.at_work == 0
    assert found.completed == found.sent >= 1000 and found.tokens == 200 * found.sent
    half = len(found.memory_mib) // 2
    assert max(found.memory_mib[half:]) < 1.2 * max(found.memory_mib[:half])


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; it is no dependency of this project (pip install {name})")
    return found


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Up[LiveSystem]]:
    """A server for tools that measure: an engine at 10 times its speed."""
    path = config_file(tmp_path)
    with up(lambda: open_system(load_config(path), "engine", 10)) as server:
        yield server


RULES = "The rules of the shop. " + "All is well. " * 20
PROMPTS = [f"{RULES} Question {i}?" for i in range(40)]


@pytest.mark.slow
def test_guidellm(busy: Up[LiveSystem], tmp_path: Path) -> None:
    """Its figures of each request are those of the records."""
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    command = [
        tool("guidellm"), "run", "--backend", f"kind=openai_http,target={busy.url}",
        "--profile", "kind=concurrent,streams=4", "--constraint", "kind=max_requests,count=20",
        "--data", f"kind=text_file,path={tmp_path / 'prompts.txt'}",
        "--output", f"kind=json,path={tmp_path / 'out.json'}", "--disable-progress",
    ]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    requests = json.loads((tmp_path / "out.json").read_text())["benchmarks"][0]["requests"]
    assert not requests["errored"]
    names = ("prompt_tokens", "cached_tokens", "output_tokens")
    require_recorded(busy.live, [[one[name] for name in names] for one in requests["successful"]])


@pytest.mark.slow
def test_aiperf(busy: Up[LiveSystem], tmp_path: Path) -> None:
    """Likewise, and it finds vLLM's metrics."""
    lines = [json.dumps({"text": prompt}) for prompt in PROMPTS]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    tokenizer.write(tmp_path)
    command = [
        tool("aiperf"), "profile", "--model", "any", "--url", busy.url, "--endpoint-type", "chat",
        "--streaming", "--concurrency", "4", "--request-count", "20", "--input-file", "prompts.jsonl",
        "--custom-dataset-type", "single_turn", "--use-server-token-count", "--tokenizer", str(tmp_path),
        "--ui", "none", "--artifact-dir", "out",
    ]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    scraped = json.loads((tmp_path / "out" / "server_metrics_export.json").read_text())["metrics"]
    assert {
        "vllm:num_requests_running",
        "vllm:prefix_cache_hits",
        "vllm:cache_config_info",
    } <= scraped.keys()
    exported = (tmp_path / "out" / "profile_export.jsonl").read_text().splitlines()
    found = [json.loads(line)["metrics"] for line in exported]
    names = ("usage_prompt_tokens", "usage_prompt_cache_read_tokens", "output_sequence_length")
    require_recorded(busy.live, [[one[name]["value"] for name in names] for one in found])


def require_recorded(live: LiveSystem, measured: list[list[int]]) -> None:
    """Assert that prompt, cached and output tokens of 20 requests are those of requests in the records."""
    live.stop()
    records = live.records()
    columns = (records.input_tokens, records.cache_read_input_tokens, records.output_tokens)
    recorded = [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    assert len(measured) == 20 and all(one in recorded for one in measured)
    assert any(cached for _, cached, _ in measured)
