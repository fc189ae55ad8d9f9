"""The same configuration and seed give the same bytes under every Python at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.commands import ROOT
from tests.metamorphic.experiments import CHAT, SYSTEMS, TOKENS

USUAL = ("/usr/bin/python3", "python3.11", "python3.12", "python3.13", "python3.14")
CANDIDATES = os.environ.get("PREFIXSIM_PYTHONS", ":".join(USUAL)).split(":")
"""Interpreters to hold against this one, if they are there and have the dependencies."""
NEEDED = "import matplotlib, numpy, pandas, pyarrow, pydantic, scipy, simpy, typer, yaml"


def _environment(python: str) -> dict[str, str] | None:
    """Where that interpreter finds the dependencies: its own, or those here if it is of this version."""
    here = os.pathsep.join(path for path in sys.path if "site-packages" in path)
    for extra in ("", here):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), extra)))}
        if subprocess.run([python, "-c", NEEDED], env=env, capture_output=True).returncode == 0:
            return env
    return None


@pytest.mark.slow
@pytest.mark.parametrize("python", CANDIDATES)
def test_same_bytes(tmp_path: Path, python: str) -> None:
    """All kinds of systems, priced: summary, requests and the resolved configuration."""
    found = shutil.which(python)
    env = None if found is None else _environment(found)
    if found is None or env is None:
        pytest.skip(f"{python} is not there, or has not the dependencies")
    systems = {**SYSTEMS, "priced": {**SYSTEMS["block"], "price": TOKENS}}
    systems["vllm"] = {**SYSTEMS["vllm"], "price": {"gpu_hour_usd": 3.5}, "replicas": 3}
    data = {"name": "bytes", "seed": 3, "workload": {**CHAT, "sessions": 60}, "systems": systems}
    (tmp_path / "c.yaml").write_text(json.dumps(data))
    for out, interpreter, environment in (
        ("here", sys.executable, {**os.environ, "PYTHONPATH": str(ROOT)}),
        ("there", found, env),
    ):
        command = [interpreter, "-m", "sim", "run", "c.yaml", "--out", out, "--quiet"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for name in ("summary.json", "config.yaml", "requests.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name
