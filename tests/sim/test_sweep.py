# ruff: noqa: E501 (tables of cases)
"""A sweep from the command line: its files, what fails, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sim import load_config, run
from sim.studies.metric import metric
from tests.jobs.sweeping import RATE, REPLICAS, written
from tests.refusing import Cli, refused

BLOCKS = "systems.own.memory.kv_blocks"
ONE = ("--jobs", "1")


def test_figures_are_those_of_single_runs(cli_here: Cli, tmp_path: Path) -> None:
    """Every line of sweep.csv is what `run` gives; sweep.json has their means."""
    path = written(tmp_path)
    axes = ("--set", f"{RATE}=1,8", "--metric", "p99_ttft_ms", "--metric", "no_cache.p99_ttft_ms")
    assert cli_here("sweep", path, *axes, "--seeds", "2", "--out", "out", *ONE).returncode == 0
    lines = list(csv.DictReader((tmp_path / "out" / "sweep.csv").read_text().splitlines()))
    assert [(line[RATE], line["seed"]) for line in lines] == [
        ("1", "1"),
        ("1", "2"),
        ("8", "1"),
        ("8", "2"),
    ]
    names = ["p99_ttft_ms", "cache.prefix_cache_hit_rate", "no_cache.p99_ttft_ms"]
    for line in lines:
        summary = run(load_config(path, [f"{RATE}={line[RATE]}", f"seed={line['seed']}"])).summary()
        for name in names:
            assert float(line[name]) == metric(name, "").of(summary, "own")
    rows = json.loads((tmp_path / "out" / "sweep.json").read_text())["rows"]
    for i, row in enumerate(rows):
        pair = [float(line["p99_ttft_ms"]) for line in lines[2 * i : 2 * i + 2]]
        assert row["mean"]["p99_ttft_ms"] == pytest.approx(sum(pair) / 2)
        assert row["half_width"]["p99_ttft_ms"] == pytest.approx(12.706204736 * abs(pair[0] - pair[1]) / 2)


def test_what_fails_is_told_and_the_rest_finishes(cli_here: Cli, tmp_path: Path) -> None:
    """A point with wrong values, one that cannot be served, and one that is fine: exit code 2, all files."""
    said = cli_here(
        "sweep", written(tmp_path), "--set", f"{BLOCKS}=1,0,5000", "--seeds", "2", "--out", "out", *ONE
    )
    assert said.returncode == 2 and said.stderr.startswith("error: failed: ")
    sweep = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [row["point"][BLOCKS] for row in sweep["rows"]] == [5000]
    assert [failure["point"][BLOCKS] for failure in sweep["failures"]] == [1, 0]
    shown = " ".join(said.stdout.split())
    assert "failed: kv_blocks = 1: " in shown
    assert "failed: kv_blocks = 0: " in shown and "Traceback" not in said.stderr
    assert len(list((tmp_path / "out" / "jobs").iterdir())) == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--metric", "p99x"), ("--metric: no figure 'p99x'",)),
        (("--pareto", "gpus"), ("--pareto gpus; allowed: two figures",)),
        (("--pareto", "gpus,nothing"), ("--pareto: no figure 'nothing'",)),
        (("--seeds", "0"), ("--seeds 0; allowed: 1 to 10,000",)),
        (("--jobs", "-1"), ("--jobs -1; allowed: 1, 2, ...",)),
        (("--shard", "3/2"), ("--shard 3/2; allowed: I/N",)),
        (("--shard", "x"), ("--shard x; allowed: I/N",)),
        (("--set", "workload.sesions=1,2"), ("unknown key 'sesions'", "did you mean 'sessions'")),
        (("--set", "seed=1,2"), ("seed is no axis",)),
        (("--axes", "nowhere.yaml"), ("nowhere.yaml: No such file",)),
        (
            ("--cluster", "nonsense://x"),
            ("--cluster nonsense://x: ", "allowed: the address of a dask scheduler"),
        ),
    ],
)
def test_refused(cli_here: Cli, tmp_path: Path, args: tuple[str, ...], said: tuple[str, ...]) -> None:
    """One message, and nothing is written."""
    if "--cluster" in args:
        pytest.importorskip("distributed", reason="dask is not installed (the extra 'cluster')")
    refused(cli_here, tmp_path, "sweep", written(tmp_path), *args, "--out", "out", said=said)


def test_another_experiment_needs_force(cli_here: Cli, tmp_path: Path) -> None:
    """Axes and seeds of a sweep may grow in its folder; another experiment is refused, jobs are kept."""
    path, small = written(tmp_path), ("--metric", "p99_ttft_ms", "--out", "out", *ONE)
    assert cli_here("sweep", path, "--set", f"{REPLICAS}=1,2", *small).returncode == 0
    assert cli_here("sweep", path, "--set", f"{RATE}=1,2", "--seeds", "2", *small).returncode == 0
    other = ("--set", "slo.ttft_ms=7")
    said = ("--out out: sweep.json there is of another configuration", "--force")
    refused(cli_here, tmp_path, "sweep", path, *other, *small, said=said)
    before = set((tmp_path / "out" / "jobs").iterdir())
    assert cli_here("sweep", path, *other, *small, "--force").returncode == 0
    assert before < set((tmp_path / "out" / "jobs").iterdir())
