"""Whoever computes the jobs, the files are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim.studies.sweep import Experiment
from tests.jobs.sweeping import RATE, REPLICAS, contents, done, start, written
from tests.refusing import Cli

AXES = ("--set", f"{REPLICAS}=1,2", "--set", f"{RATE}=1,4")
SWEEP = (*AXES, "--seeds", "2", "--metric", "p99_ttft_ms", "--pareto", "cost_usd_total,p99_ttft_ms")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def alone(config: Path) -> dict[str, bytes]:
    """The files of a sweep in one process."""
    return done(config, config.parent / "alone", *SWEEP, "--jobs", "1")


def test_every_file_is_there(alone: dict[str, bytes], config: Path) -> None:
    """Eight jobs, named by what they are; a summary of a job has no wall-clock times."""
    names = {path.split("/")[1] for path in alone if path.startswith("jobs/")}
    assert len(names) == 8
    jobs = Experiment(config, (f"{REPLICAS}=2", f"{RATE}=4"), 2)
    assert {job.name for job in jobs.jobs(jobs.config())} < names
    for name in names:
        assert "simulation_s" not in json.loads(alone[f"jobs/{name}/summary.json"])["systems"]["own"]
        timing = json.loads((config.parent / "alone" / "jobs" / name / "timing.json").read_text())
        assert set(timing) == {"python", "load_s", "systems"}
    assert {"sweep.json", "sweep.csv", "sweep.html", "p99_ttft_ms.png", "pareto.png"} < set(alone)


def test_two_processes(alone: dict[str, bytes], config: Path) -> None:
    """joblib's loky with two workers."""
    assert done(config, config.parent / "two", *SWEEP, "--jobs", "2") == alone


def test_shards(alone: dict[str, bytes], config: Path, cli_here: Cli) -> None:
    """Three shards, one after the other: the last one has all jobs and puts them together."""
    out = config.parent / "shards"
    for shard, left in (("1/3", 5), ("3/3", 3)):
        said = cli_here("sweep", config, *SWEEP, "--jobs", "1", "--out", out, "--shard", shard)
        assert said.returncode == 0
        assert f"{left} of 8 jobs are left to other shards" in said.stdout
        assert not (out / "sweep.json").exists()
    assert cli_here("sweep", config, *SWEEP, "--jobs", "1", "--out", out, "--shard", "2/3").returncode == 0
    assert contents(out) == alone


def test_a_smaller_sweep_is_part_of_a_larger_one(
    alone: dict[str, bytes], config: Path, cli_here: Cli
) -> None:
    """Jobs of one sweep serve another in the same folder: none of them is written a second time."""
    out = config.parent / "grown"
    metric = ("--metric", "p99_ttft_ms")
    assert cli_here("sweep", config, *AXES, *metric, "--jobs", "1", "--out", out).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in out.glob("jobs/*/summary.json")}
    assert len(before) == 4
    assert cli_here("sweep", config, *SWEEP, "--jobs", "1", "--out", out).returncode == 0
    assert contents(out) == alone
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())


@pytest.mark.slow
def test_dask(alone: dict[str, bytes], config: Path) -> None:
    """The two workers of a dask cluster."""
    distributed = pytest.importorskip("distributed", reason="dask is not installed (the extra 'cluster')")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        out = config.parent / "dask"
        process = start(config, out, *SWEEP, "--cluster", cluster.scheduler_address)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert contents(out) == alone
