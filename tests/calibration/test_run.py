"""``python -m calibration`` end to end on a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")
pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")


from calibration import samples
from sim import load_config
from sim import run as simulate
from sim.hardware import catalogue
from sim.hardware.profile import load
from tests.calibration.tiny import TINY
from tests.refusing import Cli
from workloads.errors import InputError


def test_ctrl_c_keeps_the_samples(tmp_path: Path, root: Path) -> None:
    """A real process that is interrupted while it measures: what it says, its code, what it leaves."""
    long = ("--model", "tiny-1m", "--device", "cpu", "--passes", "1000", "--quiet")  # takes minutes
    command = [sys.executable, "-m", "calibration", "run", *long, "--out", "p.yaml"]
    env = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background
    )  # fmt: skip
    taking = tmp_path / "p.samples.jsonl"
    while process.poll() is None and not (taking.exists() and taking.read_text().count("\n") > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "interrupted: a run keeps its samples; the same command goes on from there\n"
    assert [path.name for path in tmp_path.iterdir()] == ["p.samples.jsonl"]
    assert taking.read_text().endswith("}\n")


def test_run_writes_a_profile_and_its_samples(made: Path) -> None:
    """Two files, nothing else; the profile loads, names its samples, and says what was measured."""
    assert sorted(p.name for p in made.parent.iterdir()) == ["tiny.samples.jsonl.gz", "tiny.yaml"]
    profile = load(made)
    assert profile.calibrated and profile.model is not None and profile.model.name == "Tiny 1M"
    assert profile.samples is not None and profile.samples.file == "tiny.samples.jsonl.gz"
    taken = samples.read(made.parent / profile.samples.file)
    assert len(taken) == 3 * (len(taken) // 3) and min(taken.t_s) > 0
    assert profile.protocol is not None and profile.protocol.clock == "cpu_time"
    assert profile.heldout is not None and profile.heldout.errors.n == 12
    assert profile.heldout.errors.mape < 0.6, "the order of magnitude is right even on a busy machine"


def test_several_models_in_one_command(calibration: Cli, tmp_path: Path) -> None:
    """A profile each in one folder; given again, the command keeps what is there and does the rest."""
    shape = catalogue.dense("tiny-1m", Path()).model_dump()
    (tmp_path / "narrow").mkdir()
    config = tmp_path / "narrow" / "config.json"
    config.write_text(json.dumps({**shape, "intermediate_size": 256, "model_type": "llama"}))
    args = ("run", *TINY, "--model", config, "--passes", "2", "--out", tmp_path / "out")
    assert calibration(*args).returncode == 0
    wide, narrow = (tmp_path / "out" / f"{name}.cpu.float32.yaml" for name in ("tiny-1m", "narrow"))
    first = wide.read_bytes()
    assert load(narrow).model != load(wide).model
    narrow.unlink()
    narrow.with_name("narrow.cpu.float32.samples.jsonl.gz").unlink()
    again = calibration(*args)
    assert again.returncode == 0 and again.stdout == again.stderr == "", "--quiet"
    assert wide.read_bytes() == first and narrow.exists()


def test_one_model_that_fails_does_not_stop_the_others(calibration: Cli, tmp_path: Path) -> None:
    """One does not fit into memory: said, exit code 2, the other is written and validated."""
    args = ("run", "--model", "llama-3.1-70b", *TINY[:-1], "--passes", "2", "--validate", "--loads", "0.5")
    done = calibration(*args, "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stdout.count("9 of 9") == 2
    assert "llama-3.1-70b.cpu.float32.yaml: model = 'Meta Llama 3.1 70B' does not fit" in done.stderr
    assert "1 of 2 models failed" in done.stderr
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {"tiny-1m.cpu.float32.yaml", "tiny-1m.cpu.float32.samples.jsonl.gz"}
    again = calibration(*args, "--out", tmp_path / "out")
    assert f"Kept, as it exists: {tmp_path / 'out' / 'tiny-1m.cpu.float32.yaml'}" in again.stderr
    assert again.stdout.count("9 of 9") == 2, "what is kept is validated all the same"


def test_show_fit_compare(made: Path, calibration: Cli, tmp_path: Path) -> None:
    """The table has errors, baselines and noise; figures are written; a second fit gives the same file."""
    shown = calibration("show", made, "--out", "figures")
    assert shown.returncode == 0, shown.stderr
    for text in ("held-out steps", "random forest", "plain linear", "roofline", "noise floor", "GB/s"):
        assert text in shown.stdout
    names = ["measured-against-predicted.png", "models.png", "profile.html", "residuals.png"]
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == names
    again = made.parent / "again.yaml"
    fitted = calibration("fit", made.parent / "tiny.samples.jsonl.gz", "--max-drift", "9", "--out", again)
    assert fitted.returncode == 0, fitted.stderr
    assert again.read_bytes() == made.read_bytes()
    again.unlink()
    compared = calibration("compare", made, made)
    assert compared.returncode == 0 and "1.00" in compared.stdout and "extrapolated" in compared.stdout


def test_a_simulation_takes_the_profile(made: Path, tmp_path: Path) -> None:
    """``latency: {profile: FILE}``: calibrated, and what lies outside the box is counted and said."""
    config = {
        "name": "measured",
        "workload": {
            "kind": "chat",
            "sessions": 3,
            "arrival": {"process": "poisson", "rate_per_s": 1.0},
            "turns": 2,
            "think_time_s": 1,
            "system_prompt": {"tokens": 60},
            "user_tokens": 20,
            "reply_tokens": 5,
        },
        "systems": {
            "cpu": {
                "kind": "engine",
                "model": "tiny-1m",
                "memory": {"kv_blocks": 600},
                "latency": {"profile": str(made)},
            }
        },
    }
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(config))
    entry: Any = simulate(load_config(path)).summary()["systems"]["cpu"]
    assert entry["calibrated"] is True
    assert 0 < entry["extrapolated_seconds"] < entry["gpu_busy_seconds"]
    share = entry["extrapolated_seconds"] / entry["gpu_busy_seconds"]
    assert f"extrapolated: {share:.1%} of the busy time" in entry["notes"][-1]
    small = [f"systems.cpu.engine.max_num_batched_tokens={n}" for n in (48,)]
    small.append("systems.cpu.engine.max_num_seqs=4")
    inside = simulate(load_config(path, small)).summary()["systems"]["cpu"]
    assert inside["extrapolated_seconds"] == 0
    (note,) = inside["notes"]
    assert note.startswith("times are measured on ") and "an iteration is typically " in note
    with pytest.raises(InputError, match=r"systems.cpu.latency.profile = .*measured for Tiny 1M in"):
        load_config(path, ["systems.cpu.model=llama-3-8b"])


def test_importing_needs_no_torch(root: Path) -> None:
    """``import calibration``, its profiles and the help of both command lines leave torch alone."""
    code = (
        "import sys, calibration, sim.hardware.profile, sim.hardware.catalogue, sim.hardware.roofline\n"
        "import calibration.cli, sim.cli\n"
        "heavy = {'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)
