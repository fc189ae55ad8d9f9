"""Places that cannot be written to, or hold what must not be lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.refusing import Cli, refused
from tests.sim.bad import GOOD, written

SLOW = "systems.one={kind: engine, latency: {kind: constant, iteration_s: 0.1}, memory: {kv_blocks: 99}}"
"""A server whose capacity is soon found."""
SLO = ("--set", "slo={ttft_ms: 500, share: 0.5}", "--set", SLOW)


def test_out_is_a_file(cli_here: Cli, tmp_path: Path) -> None:
    """The output folder cannot be made: said before anything is simulated."""
    (tmp_path / "taken").write_text("mine")
    refused(cli_here, tmp_path, "run", written(tmp_path), "--out", "taken", said=("--out taken",))
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("x" * 300, "File name too long"),
        ("dangling", "dangling is not a folder"),
        ("/proc/nothing-can-be-made-here", ""),
    ],
)
@pytest.mark.parametrize("command", ["run", "curve"])
def test_out_cannot_be_made(cli_here: Cli, tmp_path: Path, command: str, out: str, said: str) -> None:
    """Whatever keeps the folder from being made is one message."""
    (tmp_path / "dangling").symlink_to("nowhere")
    refused(cli_here, tmp_path, command, written(tmp_path), "--out", out, said=(f"--out {out[:60]}", said))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("run",), "summary.json"), (("curve",), "curve.png"), (("capacity", *SLO), "capacity.json")],
)
def test_a_folder_where_a_file_belongs(
    cli_here: Cli, tmp_path: Path, arguments: tuple[str, ...], name: str
) -> None:
    """Then no file is written, not even those before it."""
    (tmp_path / "out" / name).mkdir(parents=True)
    command, *options = arguments
    said = (f"--out out: {name} is a folder there", "allowed: a file")
    refused(cli_here, tmp_path, command, written(tmp_path), *options, "--out", "out", said=said)


@pytest.mark.parametrize("arguments", [("run",), ("habits",), ("capacity", *SLO)])
def test_the_experiment_is_not_overwritten(
    cli_here: Cli, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Results go beside an experiment called config.yaml only if it would stay as it is."""
    text = json.dumps(GOOD)
    (tmp_path / "config.yaml").write_text(text)
    command, *options = arguments
    said = ("--out .: the resolved experiment would overwrite config.yaml", "allowed: another folder")
    refused(cli_here, tmp_path, command, "config.yaml", *options, "--out", ".", said=said)
    assert (tmp_path / "config.yaml").read_text() == text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_nowhere_to_print_to(tmp_path: Path, root: Path) -> None:
    """A full disk behind the redirected output is one message too."""
    command = [sys.executable, "-m", "sim", "check", str(root / "configs" / "quickstart.yaml")]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=tmp_path, env=env, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "No space left" in done.stderr
    assert "Traceback" not in done.stderr
