"""All files of a command, or those that were there: whatever ends it, and wherever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.commands import ROOT, faulted
from tests.sim.bad import GOOD
from tests.sim.small import write_seven
from workloads.staging import settle

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
NAMES = {"config.yaml", "report.html", "requests.parquet", "summary.json", "timing.json"}
CACHE = {"one": {"kind": "cache", "cache": {"kind": "ideal"}}}
NEW = {**GOOD, "seed": 2, "systems": CACHE}
ENDS = {"kill": 9, "full": 2, "SIGTERM": 143, "SIGINT": 130}


def _folder(path: Path, old: bool) -> Path:
    """A folder with an experiment, and with what another run left if it is an ``old`` one."""
    path.mkdir()
    (path / "c.yaml").write_text(json.dumps(NEW))
    if old:
        (path / "out").mkdir()
        for name in NAMES:
            (path / "out" / name).write_text("old")
    return path


def _state(folder: Path) -> str:
    """``old``, ``new`` or ``none``: never a bit of each, and nothing beside them."""
    out = folder / "out"
    settle(out)
    assert {path.name for path in folder.iterdir()} <= {"c.yaml", "out"}
    if not out.exists():
        return "none"
    assert {path.name for path in out.iterdir()} == NAMES
    texts = {name: (out / name).read_bytes() for name in NAMES}
    if set(texts.values()) == {b"old"}:
        return "old"
    assert b"old" not in texts.values() and json.loads(texts["summary.json"])["seed"] == 2
    return "new"


def test_a_run_that_ends_at_a_rename(tmp_path: Path) -> None:
    """The next command finds all files of the old run or all of the new one, whatever ended it."""
    cases = [("kill", True, 1), ("none", True, 99), ("kill", True, 9), ("full", True, 8)]
    cases += [("SIGTERM", True, 6), ("SIGINT", False, 1)]
    faults = []
    for at, (fault, old, step) in enumerate(cases):
        faults.append((_folder(tmp_path / str(at), old), fault, step))
    codes, said = faulted(faults, "sim", "run", "c.yaml", "--out", "out", "--force", "--quiet")
    states = [_state(folder) for folder, _, _ in faults]
    for (fault, old, _), code, state in zip(cases, codes, states, strict=True):
        assert code == ENDS.get(fault, 0), (fault, said)
        assert state in (("old" if old else "none"), "new")
        assert (state == "new") == (code == 0) or fault == "kill", (fault, state)
    assert states[2] == "new", "killed among the moves: the rest is moved afterwards"
    assert "Traceback" not in said and said.count("No space left on device") == said.count("error: ") == 1


def test_a_conversion_that_ends_at_any_rename(tmp_path: Path) -> None:
    """One file, whole or as it was."""
    faults = [
        (tmp_path / f"{fault}{step}", fault, step) for fault in ("kill", "full") for step in range(1, 5)
    ]
    for folder, _, _ in faults:
        folder.mkdir()
        write_seven(folder / "t.jsonl")
        (folder / "o.jsonl").write_text("old")
    codes, said = faulted(faults, "workloads", "convert", "t.jsonl", "o.jsonl", "--to", "mooncake")
    for code, (folder, fault, _) in zip(codes, faults, strict=True):
        settle(folder)
        assert {path.name for path in folder.iterdir()} == {"t.jsonl", "o.jsonl"}
        text = (folder / "o.jsonl").read_text()
        assert text == "old" or text.count("\n") == 7, said
        assert code in (0, ENDS[fault]) and (code != 0 or text != "old")
    assert codes[0] == 9 and codes[3] == 0


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """No file may become longer: one message each, exit code 2, nothing written."""
    faults = [(_folder(tmp_path / str(most), most == 0), "limit", most) for most in (0, 9000)]
    codes, said = faulted(faults, "sim", "run", "c.yaml", "--out", "out", "--force", "--quiet")
    assert codes == [2, 2] and said.count("error: --out out: ") == said.count("\n") == 2, said
    assert [_state(folder) for folder, _, _ in faults] == ["old", "none"]


@pytest.mark.slow
def test_two_runs_into_one_folder(tmp_path: Path) -> None:
    """All files are those of one of the two (threads that write at once are in the default suite)."""
    for seed in (1, 2):
        (tmp_path / f"{seed}.yaml").write_text(json.dumps({**NEW, "seed": seed}))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "sim", "run", f"{seed}.yaml", "--out", "out", "--force", "--quiet"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        )
        for seed in (1, 2)
    ]  # fmt: skip
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == NAMES
    seed = json.loads((out / "summary.json").read_text())["seed"]
    assert f"\nseed: {seed}\n" in (out / "config.yaml").read_text()
