"""The guard of ``make bench``: what counts as slower, and that every experiment has a recorded ratio."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import regression, scale, speed


def _row(loop: float) -> speed.Row:
    return dict.fromkeys(speed.COLUMNS, 1.0) | {"loop": loop}


def test_slower() -> None:
    """Over 1.2 times the recorded ratio, and no less; the line names experiment and both ratios."""
    recorded = {"a": 10.0, "b": 10.0, "c": 10.0, "absent": 1.0}
    assert regression.slower({"a": 12.0, "b": 8.0, "c": 12.01, "new": 99.0}, recorded) == [
        "slower: c: 12.010 calibration loops, recorded 10.000 (1.20 times; at most 1.2)"
    ]
    assert regression.unguarded({"a": 12.0, "new": 99.0}, recorded) == [
        "not recorded yet: new (see --record)"
    ]


def test_saved_ratios_are_loaded(tmp_path: Path) -> None:
    """With the machine and the date, to four digits; before that there are none."""
    path = tmp_path / "recorded.json"
    assert regression.load(path) == {}
    regression.save({"a": 1.23456, "b": 98765.4}, "a machine", "2026-11-24", path)
    assert regression.load(path) == {"a": 1.235, "b": 98770.0}
    content = json.loads(path.read_text())
    assert (content["machine"], content["date"]) == ("a machine", "2026-11-24")


def test_every_experiment_is_guarded() -> None:
    """``recorded.json`` has the ratio of each, and says of which machine."""
    assert list(regression.load()) == list(speed.EXPERIMENTS)
    content = json.loads(regression.RECORDED.read_text())
    assert "cores of" in content["machine"] and len(content["date"]) == 10


@pytest.mark.parametrize(("loop", "code"), [(1.1, 0), (1.3, 1)])
def test_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    loop: float,
    code: int,
) -> None:
    """A slower experiment ends the command with 1 and is named; others are printed and pass."""
    path = tmp_path / "recorded.json"
    regression.save({"quickstart": 1.0}, "a machine", "2026-11-24", path)
    monkeypatch.setattr(regression.load, "__defaults__", (path,))
    monkeypatch.setattr(speed, "measured", lambda names, runs, modes: {name: _row(loop) for name in names})
    monkeypatch.setattr(sys, "argv", ["speed", "--only", "quickstart"])
    with pytest.raises(SystemExit) as end:
        speed.main()
    out = capsys.readouterr()
    assert end.value.code == code
    assert "quickstart" in out.out
    assert ("slower: quickstart: 1.300 calibration loops, recorded 1.000" in out.err) == bool(code)


def test_record_needs_every_experiment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ratios of different machines must not stand in one file."""
    monkeypatch.setattr(sys, "argv", ["speed", "--record", "--only", "quickstart"])
    with pytest.raises(SystemExit) as end:
        speed.main()
    assert end.value.code == 2 and "--record needs every experiment" in capsys.readouterr().err


def test_medians_of_interleaved_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process of each experiment, then the next of each; the long one once; the middle value counts."""
    asked: list[str] = []

    class Done:
        def __init__(self, loop: float) -> None:
            self.stdout = json.dumps(_row(loop))

    def run(command: list[str], **options: object) -> Done:
        asked.append(command[-1])
        return Done([5.0, 1.0, 2.0][asked.count(command[-1]) - 1])

    monkeypatch.setattr(subprocess, "run", run)
    rows = speed.measured(["quickstart", *speed.LONG], 3, speed.INTERPRETED_ONLY)
    assert asked == ["quickstart", *speed.LONG, "quickstart", "quickstart"]
    assert rows["quickstart"]["loop"] == 2.0 and rows[speed.LONG[0]]["loop"] == 5.0


def test_an_experiment_in_this_process() -> None:
    """What a row is made of; CPU seconds are the simulation's, and those of the process include them."""
    row = speed.once("configs/quickstart.yaml", ["workload.sessions=20"], "vllm-h200")
    assert list(row) == list(speed.COLUMNS)
    assert 0 < row["cpu_s"] < row["process_cpu_s"]
    assert row["requests_per_s"] > 0 and row["loop"] > 0


def test_scale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is an experiment that is valid; the command prints a row of the table that it runs."""
    from sim import load_config

    for name, row in scale.ROWS.items():
        config = load_config(scale.ROOT / row.config, row.settings)
        assert len(config.systems) == (
            int(name.split()[0]) if name.endswith("systems") else len(config.systems)
        )
    monkeypatch.setattr(scale, "measured", lambda row: (1.25, 2.0, 300.4))
    monkeypatch.setattr(sys, "argv", ["scale", "--most", "400"])
    scale.main()
    lines = capsys.readouterr().out.splitlines()
    assert "| 10 systems | 200 | 1.2 | 2.0 | 300 |" in lines and len(lines) == 5
