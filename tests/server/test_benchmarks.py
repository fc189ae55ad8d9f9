"""What clients measure: our own client, written as vLLM's is, GuideLLM and AIPerf."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import serving
from sim.config import load_config
from sim.server.opening import open_system
from tests.server.running import up
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
    found = serving.soak(streams=1000, seconds=60, tokens=200)
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
def address(tmp_path: Path) -> Any:
    path = config_file(tmp_path)
    with up(lambda: open_system(load_config(path), "engine", 10)) as server:
        yield server.url


@pytest.mark.slow
def test_guidellm(address: str, tmp_path: Path) -> None:
    command = [
        tool("guidellm"), "benchmark", "--target", address, "--rate-type", "concurrent", "--rate", "4",
        "--max-requests", "20", "--data", "prompt_tokens=64,output_tokens=16", "--output-path", "out.json",
    ]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    assert (tmp_path / "out.json").stat().st_size > 1000


@pytest.mark.slow
def test_aiperf(address: str, tmp_path: Path) -> None:
    command = [
        tool("aiperf"), "profile", "--model", "engine", "--url", address, "--endpoint-type", "chat",
        "--streaming", "--concurrency", "4", "--request-count", "20", "--tokenizer", "gpt2",
        "--artifact-dir", "out",
    ]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    assert list((tmp_path / "out").rglob("*.json"))
