"""A folder of results knows its configuration: another one overwrites it only when told to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reports import files
from sim import load_config, run
from tests.refusing import Cli, refused
from tests.sim.bad import written

SMALL = (
    "--set",
    "slo={ttft_ms: 500, share: 0.5}",
    "--set",
    "habit_pairs.clock={bad: {system_prompt: clock}}",
)
SLOW = "systems.one={kind: engine, latency: {kind: constant, iteration_s: 0.1}, memory: {kv_blocks: 99}}"
"""A server whose capacity is soon found."""


@pytest.mark.parametrize("command", ["run", "habits", "capacity"])
def test_another_configuration_needs_force(cli_here: Cli, tmp_path: Path, command: str) -> None:
    """The same one again is fine; another seed or value is refused, and says where it differs."""
    path = written(tmp_path)
    precision = ("--precision", "0.2", "--set", SLOW) if command == "capacity" else ()
    args = (command, path, *SMALL, "--out", "out", *precision)
    assert cli_here(*args).returncode == 0
    assert cli_here(*args).returncode == 0
    other = (*args, "--set", "seed=7")
    refused(
        cli_here, tmp_path, *other,
        said=("--out out: holds the results of another configuration (seed: 0 there, 7 here)", "--force"),
    )  # fmt: skip
    assert cli_here(*other, "--force").returncode == 0
    assert "seed: 7" in (tmp_path / "out" / "config.yaml").read_text()


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and its results in ``out``."""
    folder = tmp_path_factory.mktemp("once")
    result = run(load_config(written(folder)))
    files.write(result, result.summary(), folder / "out")
    return folder


@pytest.fixture
def finished(run_once: Path, tmp_path: Path) -> Path:
    """The experiment, with its results beside it: a copy of its own."""
    shutil.copytree(run_once, tmp_path, dirs_exist_ok=True)
    return next(tmp_path.glob("*.yaml"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("workload.turns=3", "workload.turns.value: 2.0 there, 3.0 here"),
        ("systems.two={kind: cache, cache: {kind: block}}", 'systems.two: none there, {"kind": "cache"'),
        ("systems.one.engine.max_num_seqs=5", "systems.one.engine.max_num_seqs: 1024 there, 5 here"),
    ],
)
def test_what_differs_is_said(
    cli_here: Cli, tmp_path: Path, finished: Path, setting: str, said: str
) -> None:
    refused(cli_here, tmp_path, "run", finished, "--out", "out", "--set", setting, said=(said,))


def test_defaults_written_out_are_the_same(cli_here: Cli, tmp_path: Path, finished: Path) -> None:
    """What counts is the resolved configuration, from whatever file."""
    assert cli_here("run", finished, "--out", "out", "--set", "systems.one.replicas=1").returncode == 0
    assert cli_here("run", tmp_path / "out" / "config.yaml", "--out", "out").returncode == 0


def test_a_folder_with_another_kind_of_file(cli_here: Cli, tmp_path: Path) -> None:
    """A config.yaml that is no experiment is not overwritten either."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.yaml").write_text("mine: true\n")
    said = ("holds the results of another configuration (one that is not valid here)",)
    refused(cli_here, tmp_path, "run", written(tmp_path), "--out", "out", said=said)
