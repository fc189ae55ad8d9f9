"""What `make compiled` builds gives the same bytes as the sources; skips where nothing is built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compiled.interpreted import built

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


def _outputs(root: Path, folder: Path, *, interpreted: bool) -> tuple[bytes, ...]:
    out = folder / ("interpreted" if interpreted else "compiled")
    code = RUN.format(interpreted=interpreted)
    arguments = ["run", str(folder / "chats.yaml"), "--out", str(out), "--quiet"]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *arguments], cwd=root, check=True)
    return tuple((out / name).read_bytes() for name in ("requests.parquet", "summary.json", "report.html"))


def test_same_bytes(root: Path, tmp_path: Path) -> None:
    """Request table, figures and report are equal byte by byte."""
    if not built():
        pytest.skip("nothing is compiled (make compiled)")
    (tmp_path / "chats.yaml").write_text(CHATS)
    mine, theirs = (_outputs(root, tmp_path, interpreted=interpreted) for interpreted in (False, True))
    assert mine == theirs
