"""``python -m sim capacity``: its files, its table and its figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from reports import capacity as report
from sim.config import load_config
from sim.studies.capacity import CapacityStudy, RateSample, Side, study
from sim.studies.search import Outcome, Search
from tests.refusing import Cli
from tests.reports.drawn import points

CONFIG = """\
name: small
workload:
  kind: chat
  sessions: 100
  arrival: {process: uniform, rate_per_s: 0.25}
  turns: 1
  think_time_s: 0
  system_prompt: {tokens: 160}
  user_tokens: 16
  reply_tokens: 1
slo: {e2el_ms: 5280, share: 0.9}
systems:
  queue:
    kind: engine
    engine: {max_num_seqs: 1}
    memory: {kv_blocks: 1000}
    latency: {kind: linear, token_s: 0.01}
    price: {gpu_hour_usd: 3.6}
  large:
    kind: engine
    replicas: 100
    memory: {kv_blocks: 1000}
    latency: {kind: linear, token_s: 0.01}
  slow:
    kind: engine
    memory: {kv_blocks: 1000}
    latency: {kind: constant, iteration_s: 6.0}
  replay: {kind: cache, cache: {kind: block}}
"""


def _studied(folder: Path, text: str = CONFIG) -> CapacityStudy:
    path = folder / "config.yaml"
    path.write_text(text)
    return study(load_config(path), 0.02, lambda part, done, total: None)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> CapacityStudy:
    return _studied(tmp_path_factory.mktemp("capacity"))


def _text(studied: CapacityStudy, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(report.table(studied))
    return capture.get()


def test_command(cli: Cli, tmp_path: Path) -> None:
    """Files in runs/NAME, the same bytes whatever the hash seed and from the resolved configuration."""
    (tmp_path / "config.yaml").write_text(CONFIG.partition("  large:")[0])
    done = cli("capacity", "config.yaml", env={"PYTHONHASHSEED": "1"})
    assert (done.returncode, done.stderr) == (0, "")
    folder, names = tmp_path / "runs" / "small", ["capacity-queue.png", "capacity.json", "config.yaml"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for said in ("90% of requests within e2el 5,280 ms", "with cache", "ratio", "runs/small/capacity.json"):
        assert said in done.stdout
    again = cli(
        "capacity", "runs/small/config.yaml", "--quiet", "--out", "out", env={"PYTHONHASHSEED": "7"}
    )
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    finer = cli("capacity", "config.yaml", "--quiet", "--out", "finer", "--precision", "0.001")
    assert finer.returncode == 0
    coarse, fine = (
        json.loads((at / "capacity.json").read_text())["systems"]["queue"]["with_cache"]
        for at in (folder, tmp_path / "finer")
    )
    assert coarse["max_rate"] <= fine["max_rate"] < coarse["next_rate_tried"]
    assert fine["next_rate_tried"] <= fine["max_rate"] * 1.001


def test_cells(studied: CapacityStudy) -> None:
    """Rate, ratio, requests per s, per GPU, share, dollars; closed form as in tests of the study."""
    system = studied.systems["queue"]
    assert system.ratio is not None
    without = report.cells(system.without_cache, None)
    after = report.cells(system.with_cache, system.ratio)
    # Request k ends 1.76 + k (1.76 - g) s after its arrival; k = 89 is the last one to be good.
    assert 0 <= 1 - float(without[0]) * (1.76 - 3.52 / 89) < 0.025
    assert 0 <= 1 - float(after[0]) * (0.16 - 3.52 / 89) < 0.025
    assert without[1] == "" and after[1] == f"{system.ratio:.1f} x"
    assert without[2] == without[3] != "" and 90 <= float(without[4].rstrip("%")) <= 100
    assert float(after[5][1:]) == pytest.approx(1e-3 / float(after[2]) / 177 * 1e6, rel=0.01)


def test_no_rate_is_said(studied: CapacityStudy) -> None:
    """Words instead of a number, and a note that says what was tried."""
    large, slow = (studied.systems[name].with_cache for name in ("large", "slow"))
    assert report.cells(large, None)[0] == "unbounded"
    assert report.cells(slow, None)[0] == "none"
    (note,) = report.side_notes(studied, large)
    assert note.startswith("no bound: at 4,096 sessions/s, 16,384 times the configured rate, 100% of")
    (note,) = report.side_notes(studied, slow)
    assert note.startswith("no rate: at 0.0000153 sessions/s, the configured rate / 16,384, only 0% of")


def test_rising_share_and_late_requests(tmp_path: Path) -> None:
    """A share that rises with the rate, and requests that come when no session begins, are told."""
    text = CONFIG.partition("  large:")[0].replace("turns: 1", "turns: 5")
    studied = _studied(tmp_path, text.replace("think_time_s: 0", "think_time_s: 300"))
    notes = [
        note
        for side in ("with_cache", "without_cache")
        for note in report.side_notes(studied, getattr(studied.systems["queue"], side))
    ]
    assert any("of the requests arrive after the last session began" in note for note in notes)
    assert any(note.startswith("not monotone: from ") for note in notes)


def _side(shares: dict[float, float], late_share: float = 0.0) -> Side:
    """One that was found at rate 1, with these shares of good requests by rate."""
    samples = {
        rate: RateSample(rate, share, late_share, 1, 1, None, None) for rate, share in shares.items()
    }
    return Side(Search(Outcome.FOUND, 1.0, 0.99, shares), samples)


def test_notes_by_hand(studied: CapacityStudy) -> None:
    """The largest rise, rates on the wrong side of the one found, and more than a tenth that come late."""
    assert report.side_notes(studied, _side({1.0: 0.995, 2.0: 0.5}, late_share=0.1)) == []
    (late,) = report.side_notes(studied, _side({1.0: 0.995, 2.0: 0.5}, late_share=0.11))
    assert late.startswith("11.0% of the requests arrive after the last session began")
    rise, other = report.side_notes(studied, _side({0.5: 0.98, 1.0: 0.99, 2.0: 0.5, 3.0: 0.62}))
    assert rise == (
        "not monotone: from 2.00 sessions/s to 3.00 sessions/s the share of good requests rises by "
        "12 points, to 62.0%"
    )
    assert other.endswith("enough are good above it, or too few below, at 0.500")


@pytest.mark.parametrize("width", [80, 120])
def test_table_fits(studied: CapacityStudy, width: int) -> None:
    """No cell is cut; engines only; the assumption and the mark on computed times are there."""
    text = _text(studied, width)
    assert "…" not in text and all(len(line) <= width for line in text.splitlines())
    assert "replay" not in text and "uncalibrated" in text
    assert "Assumed: the share of good requests falls with the rate" in " ".join(text.split())


def test_figure(studied: CapacityStudy) -> None:
    """Both sides through all their runs, the share wanted, a line at each rate found, units."""
    axes = report.figure(studied, "queue").axes[0]
    system = studied.systems["queue"]
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    for label, side in (("without cache", system.without_cache), ("with cache", system.with_cache)):
        (name,) = (key for key in lines if key.startswith(label))
        assert points(lines[name]) == (list(side.search.shares), list(side.search.shares.values()))
    upright = [points(line)[0][0] for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert upright == [side.best.rate for side in (system.without_cache, system.with_cache) if side.best]
    assert points(lines["wanted: 90%"])[1] == [0.9, 0.9]
    assert axes.get_xlabel() == "arrival rate, sessions/s"
    assert axes.get_ylabel() == "share of requests (uncalibrated)\nwithin e2el 5,280 ms"


def test_figure_without_a_rate(studied: CapacityStudy) -> None:
    """What has no bound is drawn as far as it was tried."""
    axes = report.figure(studied, "large").axes[0]
    labels = [str(line.get_label()) for line in axes.get_lines()]
    assert "with cache: unbounded" in labels
    assert not [line for line in axes.get_lines() if line.get_linestyle() == "--"]
