"""The command line: files, table, overrides, determinism, start-up."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sim import load_config, run
from tests.conftest import process
from tests.refusing import Cli
from tests.sim.bad import written
from workloads.cli import main as workloads

SMALL = ("--set", "workload.sessions=40")


@dataclass
class Ran:
    """A process that ran the quickstart in ``folder``."""

    done: subprocess.CompletedProcess[str]
    folder: Path

    @property
    def out(self) -> Path:
        """Where its files are."""
        return self.folder / "runs" / "quickstart"

    @property
    def summary(self) -> Any:
        """Its summary.json."""
        return json.loads((self.out / "summary.json").read_text())


@pytest.fixture
def quickstart(root: Path) -> Path:
    return root / "configs" / "quickstart.yaml"


@pytest.fixture(scope="module")
def ran(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The quickstart, small, in a process of its own; its files go to runs/NAME in the current folder."""
    folder = tmp_path_factory.mktemp("quickstart")
    return Ran(process(folder, "run", root / "configs/quickstart.yaml", *SMALL, PYTHONHASHSEED="1"), folder)


def test_run_writes_five_files(ran: Ran) -> None:
    """The folder holds the five files and no others; the table says what counts."""
    assert ran.done.returncode == 0, ran.done.stderr
    names = ["config.yaml", "report.html", "requests.parquet", "summary.json", "timing.json"]
    assert sorted(p.name for p in ran.out.iterdir()) == names
    assert str(Path("runs/quickstart/report.html")) in ran.done.stdout
    for said in ("TTFT", "TPOT", "hit rate", "times are imported from"):
        assert said.lower() in ran.done.stdout.lower()


def test_summary_and_table(ran: Ran) -> None:
    """summary.json has the promised shape; requests.parquet one row per request, system and twin."""
    summary = ran.summary
    assert summary["schema_version"] == 1
    assert summary["name"] == "quickstart"
    entry = summary["systems"]["vllm-h200"]
    assert set(summary["systems"]) == set(summary["savings"]) == set(summary["no_cache"])
    for key in (
        "duration",
        "completed",
        "p99_ttft_ms",
        "mean_tpot_ms",
        "engine_iterations",
    ):
        assert entry[key] > 0
    assert entry["calibrated"] is True
    assert entry["cost"]["pricing"] == "gpu_hours"
    saved = summary["savings"]["vllm-h200"]["computed_prompt_tokens"]
    assert saved["saved"] == saved["without"] - saved["with"] == entry["cache"]["prefix_cache_hits_tokens"]

    table = pq.read_table(ran.out / "requests.parquet").to_pydict()
    assert table["system"].count("vllm-h200") == entry["completed"] == summary["requests"]
    assert table["system"].count("vllm-h200/no-cache") == entry["completed"]
    cached = [
        n
        for s, n in zip(table["system"], table["cache_read_input_tokens"], strict=True)
        if s == "vllm-h200"
    ]
    assert sum(cached) == entry["cache"]["prefix_cache_hits_tokens"]
    for begin, first, end in zip(
        table["arrival_s"], table["first_token_s"], table["finished_s"], strict=True
    ):
        assert begin < first <= end


def test_resolved_config_runs_again(ran: Ran, cli_here: Cli, tmp_path: Path) -> None:
    """The config.yaml of a run, run again, gives the same summary."""
    assert cli_here("run", ran.out / "config.yaml", "--out", "b", "--quiet").returncode == 0
    assert json.loads((tmp_path / "b" / "summary.json").read_text()) == ran.summary


def test_same_bytes_whatever_the_hash_seed(ran: Ran, cli: Cli, tmp_path: Path, quickstart: Path) -> None:
    """Two processes with different PYTHONHASHSEED, in different folders: equal files; --quiet is quiet."""
    done = cli("run", quickstart, *SMALL, "--out", "2", "--quiet", env={"PYTHONHASHSEED": "2"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in ("summary.json", "requests.parquet", "config.yaml", "report.html"):
        assert (tmp_path / "2" / name).read_bytes() == (ran.out / name).read_bytes(), name


def test_another_seed_gives_another_run(ran: Ran, quickstart: Path) -> None:
    """The seed matters."""
    other = run(load_config(quickstart, [SMALL[1], "seed=2"])).summary()
    duration = ran.summary["systems"]["vllm-h200"]["duration"]
    assert other["systems"]["vllm-h200"]["duration"] != duration


def test_check_prints_the_resolved_config(cli_here: Cli, quickstart: Path) -> None:
    """Defaults are filled in: vLLM's batch limits, the KV blocks of the GPU's memory as an estimate."""
    done = cli_here("check", quickstart)
    assert done.returncode == 0
    system = yaml.safe_load(done.stdout)["systems"]["vllm-h200"]
    assert system["engine"]["max_num_batched_tokens"] == 8192
    assert system["engine"]["max_num_seqs"] == 1024
    assert system["memory"] == {"gpu_memory_utilization": 0.9, "kv_blocks": 55644, "estimate": True}
    assert "systems.vllm-h200: estimate: the KV memory of 55,644 blocks is computed" in done.stderr
    assert "14,612 requests" in done.stderr


def test_version(cli_here: Cli) -> None:
    """--version prints the package's version."""
    from importlib.metadata import version

    assert cli_here("--version").stdout == f"prefixsim {version('prefixsim')}\n"


def test_usage_names_the_program_that_was_called(
    cli: Cli, cli_here: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a module or as the script that is installed."""
    assert cli("run").stderr.startswith("Usage: python -m sim run [OPTIONS]")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/prefixsim", "run"])
    assert cli_here("run").stderr.startswith("Usage: prefixsim run [OPTIONS]")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/prefixsim-workloads", "describe"])
    with pytest.raises(SystemExit):
        workloads(["describe"])
    assert capsys.readouterr().err.startswith("Usage: prefixsim-workloads describe [OPTIONS]")


def test_help_imports_nothing_heavy(root: Path) -> None:
    """`--help` is instant because none of these is imported (wall time is not asserted)."""
    heavy = ["asyncio", "jinja2", "matplotlib", "numpy", "pandas", "pyarrow", "pydantic", "torch", "yaml"]
    code = (
        "import sys; sys.argv = ['sim', '--help']\n"
        "from sim.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stderr.strip() == "[]"
    assert "run" in done.stdout


def test_numbers_with_exponents_are_numbers(cli_here: Cli, quickstart: Path) -> None:
    """1e1 is ten, as in YAML 1.2 (PyYAML alone reads text)."""
    done = cli_here("check", quickstart, "--set", "workload.sessions=1e1", "--set", "seed=2")
    assert done.returncode == 0
    assert yaml.safe_load(done.stdout)["workload"]["sessions"] == 10


def test_figures_without_anything_to_draw(cli_here: Cli, tmp_path: Path) -> None:
    """A hosted API that takes no time, and a warm-up that nobody outlives, make no warnings."""
    free = "latency: {base_s: 0, per_uncached_token_s: 0, per_cached_token_s: 0, hit_base_s: 0, tpot_s: 0}"
    hosted = f"systems.one={{kind: provider, provider: anthropic, model: claude-opus-5, {free}}}"
    for command, setting in (("run", hosted), ("habits", "warmup_s=1e7")):
        done = cli_here(command, written(tmp_path), "--set", setting, "--out", command)
        assert done.returncode == 0, done.stderr
    late = ("--set", hosted, "--set", "warmup_s=1e7", "--out", "late")
    done = cli_here("run", written(tmp_path), *late)
    assert done.returncode == 0, done.stderr
    assert "no request arrives in the measured window" in done.stdout
