"""`python -m sim run` in parts: whoever computes them and whoever is killed, the bytes are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.parts.dividing import CHAT, FLEET
from tests.refusing import Cli

ROOT = Path(__file__).parents[2]
FILES = ("config.yaml", "summary.json", "requests.parquet", "report.html")


def _written(folder: Path, sessions: int) -> Path:
    path = folder / "small.yaml"
    chat = {**CHAT, "sessions": sessions}
    path.write_text(
        yaml.safe_dump({"name": "small", "seed": 1, "workload": chat, "systems": {"fleet": FLEET}})
    )
    return path


def _start(config: Path, out: Path, *args: str) -> subprocess.Popen[str]:
    """``python -m sim run`` as the leader of a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "sim", "run", str(config), "--out", str(out), *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def _finished(out: Path) -> set[str]:
    return {path.name for path in out.glob("parts/*") if not path.name.startswith(".")}


def _wait(process: subprocess.Popen[str], out: Path, parts: int) -> None:
    """Until so many parts are finished."""
    while len(_finished(out)) < parts:
        assert process.poll() is None, "the run ended before it could be disturbed"
        time.sleep(0.002)


def _done(process: subprocess.Popen[str], out: Path) -> dict[str, bytes]:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert not (out / "parts").exists()
    return {name: (out / name).read_bytes() for name in FILES}


def _alone(config: Path) -> dict[str, bytes]:
    return _done(_start(config, config.parent / "alone"), config.parent / "alone")


def test_stopped_and_started_again(tmp_path: Path, cli_here: Cli) -> None:
    """The whole group is killed after two of eight parts: these are not simulated again."""
    config, out = _written(tmp_path, 300), tmp_path / "out"
    process = _start(config, out, "--parts", "4")
    _wait(process, out, 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = {name: (out / "parts" / name / "rest.pickle").stat().st_mtime_ns for name in _finished(out)}
    assert 2 <= len(before) < 8
    process = _start(config, out, "--parts", "4")
    _wait(process, out, len(before) + 1)
    after = {name: (out / "parts" / name / "rest.pickle").stat().st_mtime_ns for name in before}
    assert after == before
    assert _done(process, out) == _alone(config)


def _children(pid: int) -> list[int]:
    """Processes below ``pid`` that compute, by /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (path / "cmdline").read_text()
        except OSError:
            continue
        if parent == pid and "loky" in command and "resource_tracker" not in command:
            found.append(int(path.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers by /proc")
def test_a_worker_is_killed(tmp_path: Path) -> None:
    """One of two, twice: what it had under way is simulated again, by others."""
    config, out = _written(tmp_path, 2000), tmp_path / "out"
    process = _start(config, out, "--jobs", "2", "--parts", "4")
    for parts in (1, 3):
        _wait(process, out, parts)
        workers = _children(process.pid)
        assert workers
        os.kill(workers[0], signal.SIGKILL)
    assert _done(process, out) == _alone(config)


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    """joblib's loky with two workers."""
    config, out = _written(tmp_path, 100), tmp_path / "out"
    assert _done(_start(config, out, "--jobs", "2", "--parts", "5"), out) == _alone(config)


@pytest.mark.slow
def test_dask(tmp_path: Path) -> None:
    """The two workers of a dask cluster."""
    distributed = pytest.importorskip("distributed", reason="dask is not installed (the extra 'cluster')")
    config, out = _written(tmp_path, 100), tmp_path / "out"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        dask = _done(_start(config, out, "--parts", "5", "--cluster", cluster.scheduler_address), out)
    assert dask == _alone(config)


def test_options_that_are_none(tmp_path: Path, cli_here: Cli) -> None:
    """A message each, exit code 2, nothing left behind."""
    config, out = _written(tmp_path, 10), tmp_path / "out"
    for option, allowed in (("--parts", "1, 2, ..."), ("--jobs", "0 for one a core")):
        said = cli_here("run", config, "--out", out, option, "-1")
        assert said.returncode == 2 and f"{option} -1" in said.stderr and allowed in said.stderr
        assert not out.exists()
    said = cli_here("run", config, "--out", out, "--parts", "2", "--timeline")
    assert said.returncode == 2 and "--timeline" in said.stderr and not out.exists()


def test_bad_input_of_a_part(tmp_path: Path, cli_here: Cli) -> None:
    """What only the run finds ends it as without parts: one message, nothing written."""
    config, out = _written(tmp_path, 10), tmp_path / "out"
    short = ("--set", "systems.fleet.latency={kind: constant, iteration_s: 1e-9}")
    late = ("--set", "workload.arrival.rate_per_s=1e-8")
    for options in ((), ("--parts", "1")):
        said = cli_here("run", config, "--out", out, *short, *late, *options)
        assert said.returncode == 2 and "shorter than what a 64-bit clock tells" in said.stderr
    assert not (out / "summary.json").exists()
