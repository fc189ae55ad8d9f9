"""`init` writes what runs; shipped configurations run by name from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from sim import examples, load_config
from sim.commands.init import SCHEMA, Question
from tests.refusing import Cli, refused
from workloads.errors import InputError


@pytest.mark.parametrize("question", list(Question))
def test_init_writes_what_is_valid(cli_here: Cli, tmp_path: Path, question: Question) -> None:
    """A commented file that names its schema, by which it is valid, as it is by `check`."""
    done = cli_here("init", question)
    assert done.returncode == 0, done.stderr
    path = tmp_path / f"{question}.yaml"
    assert f"Written: {path.name}" in done.stdout and f" {path.name}\n" in done.stdout
    lines = path.read_text().splitlines()
    assert lines[0] == f"# yaml-language-server: $schema={SCHEMA}"
    assert sum("#" in line for line in lines) > 10 and max(map(len, lines)) <= 110
    schema = json.loads((tmp_path / SCHEMA).read_text())
    assert Draft202012Validator(schema).is_valid(yaml.safe_load(path.read_text()))
    assert cli_here("check", path.name, "--set", "workload.sessions=20").returncode == 0


def test_init_takes_a_name(cli_here: Cli, tmp_path: Path) -> None:
    """The experiment is called like the file, and what it says to do next names it."""
    done = cli_here("init", "curve", "mine.yaml")
    assert "Next: python -m sim curve mine.yaml" in done.stdout
    assert load_config(tmp_path / "mine.yaml").name == "mine"
    assert cli_here("init", "curve", "of 3.yaml").returncode == 0
    assert load_config(tmp_path / "of 3.yaml").name == "curve"


def test_init_overwrites_nothing(cli_here: Cli, tmp_path: Path) -> None:
    """Neither a configuration nor a schema that is there."""
    (tmp_path / "bill.yaml").write_text("mine")
    refused(cli_here, tmp_path, "init", "bill", said=("bill.yaml: is there already", "another name"))
    (tmp_path / SCHEMA).write_text("mine")
    assert cli_here("init", "curve").returncode == 0
    assert (tmp_path / SCHEMA).read_text() == "mine"
    refused(cli_here, tmp_path, "init", "curve", "a.json", said=("a.json: allowed: a name that ends in",))
    refused(cli_here, tmp_path, "init", "curve", "no/a.yaml", said=("no/a.yaml: cannot be written",))
    refused(cli_here, tmp_path, "init", "bills", said=("bills", "own-gpus"))


def test_shipped_by_name(cli_here: Cli, root: Path) -> None:
    """By the name of the file, with its folder, or by the path that the docs have; every one is found."""
    for name in ("4-ten-turns", "spec/4-ten-turns", "configs/spec/4-ten-turns.yaml"):
        assert cli_here("check", name).returncode == 0, name
    named = examples.files()
    shipped = {path for path in (root / "configs").rglob("*.yaml") if path.parent.name != "axes"}
    assert set(named.values()) == shipped
    assert load_config("quickstart").name == "quickstart"
    for name, path in named.items():
        assert examples.find(Path(name)) == path
        assert len(examples.question(path)) > 20, name


def test_shipped_axes_by_name(root: Path, tmp_path: Path) -> None:
    """Likewise, by name or by the path that the docs have; a file of one's own comes first."""
    ours = root / "configs" / "axes" / "gpus.yaml"
    for name in ("gpus", "axes/gpus.yaml", "configs/axes/gpus.yaml"):
        assert examples.find_axes(Path(name)).samefile(ours)
    mine = tmp_path / "gpus"
    mine.touch()
    assert examples.find_axes(mine) == mine
    assert examples.find_axes(Path("no.yaml")) == Path("no.yaml")


def test_a_file_comes_before_a_name(cli_here: Cli, tmp_path: Path) -> None:
    """What lies in the folder is meant, where something is called like a configuration that ships."""
    done = cli_here("init", "own-gpus", "quickstart.yaml")
    assert done.returncode == 0
    assert load_config("quickstart.yaml").folder == tmp_path


def test_a_name_that_nothing_has(cli_here: Cli, tmp_path: Path) -> None:
    """The nearest name, and where all are listed."""
    said = ("quickstrt: no such file", "did you mean 'quickstart'?", "`python -m sim examples` lists")
    refused(cli_here, tmp_path, "run", "quickstrt", said=said)
    with pytest.raises(InputError, match="no such file"):
        load_config("quickstrt")


def test_a_trace_that_does_not_ship(cli_here: Cli, tmp_path: Path, root: Path) -> None:
    """One message says where to get it and where to put it; in the current folder it is found."""
    said = (
        "workload.path = 'conversation_trace.jsonl': this trace does not ship",
        "--set workload.path=FILE",
    )
    refused(cli_here, tmp_path, "run", "routing", said=said)
    line = {"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [0, 1]}
    (tmp_path / "conversation_trace.jsonl").write_text(json.dumps(line) + "\n")
    done = cli_here("check", "routing")
    assert done.returncode == 0 and "valid, 1 requests" in done.stderr


def test_shells_complete_commands_and_names(tmp_path: Path, root: Path) -> None:
    """Of the script that is installed."""
    script = tmp_path / "prefixsim"
    script.write_text(f"import sys\nsys.path.insert(0, {str(root)!r})\nfrom sim.cli import main\nmain()\n")

    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
        env = {**os.environ, **words, "_PREFIXSIM_COMPLETE": "complete_bash"}
        return subprocess.run(
            [sys.executable, script], env=env, capture_output=True, text=True
        ).stdout.split()

    assert completed("prefixsim prov") == ["providers"]
    assert completed("prefixsim run quick") == ["quickstart"]


@pytest.mark.parametrize("what", ["examples", "models", "gpus", "providers"])
def test_lists_fit_80_columns(cli_here: Cli, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """As tables, and as JSON with the same names."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli_here(what).stdout
    assert max(map(len, shown.splitlines())) <= 80
    found = json.loads(cli_here(what, "--json").stdout)
    names = {one.get("id") or one.get("name") or one["provider"] for one in found}
    assert len(names) > 10 and all(name in shown for name in names)


def test_prices_of_a_day(cli_here: Cli, tmp_path: Path) -> None:
    """Providers are listed at the prices of the day that is asked for."""
    found = json.loads(cli_here("providers", "--json").stdout)
    (opus,) = (one for one in found if one["provider"] == "anthropic")
    assert opus["modes"] == ["automatic", "explicit"] and opus["lifetimes"] == ["5m", "1h"]
    prices = opus["input_usd_per_1m"], opus["cached_input_usd_per_1m"], opus["write_usd_per_1m"]
    assert prices == (5, 0.5, [6.25, 10])
    refused(cli_here, tmp_path, "providers", "--day", "soon", said=("--day soon: not a date",))
