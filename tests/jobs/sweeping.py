"""A small sweep, and what it leaves in its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from sim.cli import main

ROOT = Path(__file__).parents[2]
CONFIG = """\
name: small
seed: 1
workload:
  kind: chat
  sessions: 8
  arrival: {process: poisson, rate_per_s: 2.0}
  turns: {distribution: geometric, mean: 3}
  think_time_s: 5
  system_prompt: {tokens: 200, shared_by: all}
  user_tokens: {distribution: uniform, low: 10, high: 200}
  reply_tokens: {distribution: uniform, low: 10, high: 100}
slo: {ttft_ms: 100}
systems:
  own:
    kind: engine
    model: llama-3-8b
    hardware: h200
    latency: {kind: roofline, mfu: 1, mbu: 1}  # short, so that few requests tell fleets apart
    cache: {kind: block, block_size: 16}
    price: {gpu_hour_usd: 3.50}
"""
REPLICAS = "systems.own.replicas"
RATE = "workload.arrival.rate_per_s"


def written(folder: Path) -> Path:
    """The configuration as a file."""
    path = folder / "small.yaml"
    path.write_text(CONFIG)
    return path


def start(config: Path, out: Path, *args: str) -> subprocess.Popen[str]:
    """``python -m sim sweep`` as the leader of a process group of its own."""
    command = [sys.executable, "-W", "error", "-m", "sim", "sweep", str(config), "--out", str(out), *args]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def done(config: Path, out: Path, *args: str) -> dict[str, bytes]:
    """What a sweep leaves that nobody disturbs, run within this process."""
    with pytest.raises(SystemExit) as end, redirect_stdout(StringIO()):
        main(["sweep", str(config), "--out", str(out), *args])
    assert not end.value.code
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` but the ones with wall-clock times, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "timing.json"
    }
