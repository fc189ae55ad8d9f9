"""What `make compiled` builds gives the same bytes as the sources; skips where nothing is built."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compiled.interpreted import built

TIMING = {"load_s", "simulation_s", "simulated_requests_per_s"}
RUN = """
import sys
if {interpreted}:
    from compiled.interpreted import interpret
    interpret()
import sim.caches.block, sim.engine.vllm.replica, sim.fleet.fleet
for module in (sim.caches.block, sim.engine.vllm.replica, sim.fleet.fleet):
    assert module.__file__.endswith(".py") == {interpreted}, module.__file__
from sim.cli import main
main(sys.argv[1:])
"""
CHATS = """
name: chats
seed: 3
workload:
  kind: chat
  sessions: 60
  arrival: {process: poisson, rate_per_s: 4.0}
  turns: {distribution: geometric, mean: 4}
  think_time_s: {distribution: lognormal, median: 5, sigma: 1.0}
  system_prompt: {tokens: 500, shared_by: tenant}
  tenants: 3
  user_tokens: {distribution: lognormal, mean: 80, sigma: 1.0}
  reply_tokens: {distribution: lognormal, mean: 100, sigma: 0.8}
systems:
  vllm:
    {kind: engine, model: llama-3-8b, hardware: h200, replicas: 2, router: kv_aware, cache: {kind: block}}
  tight:
    {kind: engine, model: llama-3-8b, hardware: h200, replicas: 1, record_steps: true,
     cache: {kind: block, capacity_blocks: 400, eviction: arc}}
  sglang:
    {kind: engine, model: llama-3-8b, hardware: h200, replicas: 1, engine: {kind: sglang},
     cache: {kind: radix}}
  replay: {kind: cache, cache: {kind: radix, capacity_tokens: 9000}}
"""


def _timeless(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if key not in TIMING}


def _outputs(root: Path, folder: Path, *, interpreted: bool) -> tuple[bytes, dict[str, Any]]:
    out = folder / ("interpreted" if interpreted else "compiled")
    code = RUN.format(interpreted=interpreted)
    arguments = ["run", str(folder / "chats.yaml"), "--out", str(out), "--quiet"]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *arguments], cwd=root, check=True)
    return (out / "requests.parquet").read_bytes(), json.loads(
        (out / "summary.json").read_text(), object_hook=_timeless
    )


def test_same_bytes(root: Path, tmp_path: Path) -> None:
    """The request table is equal byte by byte, and all figures but the times that the run itself took."""
    if not built():
        pytest.skip("nothing is compiled (make compiled)")
    (tmp_path / "chats.yaml").write_text(CHATS)
    mine, figures = _outputs(root, tmp_path, interpreted=False)
    theirs, expected = _outputs(root, tmp_path, interpreted=True)
    assert mine == theirs
    assert figures == expected
