"""A sweep that is killed again and again ends with the same bytes as one that is left alone."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.jobs.sweeping import RATE, REPLICAS, contents, done, start, written


def _finished(out: Path) -> int:
    return sum(not path.name.startswith(".") for path in out.glob("jobs/*"))


def _kill(config: Path, out: Path, args: tuple[str, ...], more: int, wait_s: float) -> int:
    """Start the sweep; kill its whole group ``wait_s`` after it has finished ``more`` further jobs."""
    before = _finished(out)
    process = start(config, out, *args)
    while _finished(out) < before + more and process.poll() is None:
        time.sleep(0.002)
    time.sleep(wait_s)
    assert process.poll() is None, "the sweep ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = _finished(out)
    assert kept >= before + more, "a finished job was lost"
    return kept


def _killed(folder: Path, args: tuple[str, ...], kills: int, most: int) -> None:
    config, out = written(folder), folder / "killed"
    rng = random.Random(7)
    kept = 0
    for _ in range(kills):
        kept = _kill(config, out, args, rng.randint(1, most), rng.uniform(0, 0.01))
    assert kept > 0
    assert done(config, out, *args) == done(config, folder / "whole", *args)
    assert not list(out.glob("jobs/.*"))
    assert len(contents(out)) > 2 * kept


def test_killed_twice(tmp_path: Path) -> None:
    """Eight jobs in one process."""
    args = ("--set", f"{REPLICAS}=1,2", "--seeds", "4", "--jobs", "1", "--metric", "p99_ttft_ms")
    _killed(tmp_path, args, kills=2, most=2)


@pytest.mark.slow
def test_killed_twenty_times(tmp_path: Path) -> None:
    """Sixty jobs in two processes, killed with them."""
    axes = (
        "--set",
        "workload.sessions=40",
        "--set",
        f"{REPLICAS}=1,2,3,4",
        "--set",
        f"{RATE}=1,4,16",
        "--seeds",
        "5",
    )
    _killed(tmp_path, (*axes, "--jobs", "2"), kills=20, most=2)
