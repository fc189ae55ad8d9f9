"""``python -m sim capacity``: its files, its table and its figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reports import capacity as report
from reports import capacity_words as words
from sim.config import load_config
from sim.results.window import WHOLE
from sim.studies.capacity import CapacityStudy, Side, study
from sim.studies.rate_sample import RateSample
from sim.studies.search import Outcome, Search, Verdict
from tests.refusing import Cli
from tests.reports.drawn import points

CONFIG = """\
name: small
workload:
  kind: chat
  duration_s: 400
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


def test_command(cli: Cli, cli_here: Cli, tmp_path: Path) -> None:
    """Files in runs/NAME, the same bytes whatever the hash seed and from the resolved configuration."""
    text = CONFIG.partition("  slow:")[0].replace("duration_s: 400", "duration_s: 100")
    (tmp_path / "config.yaml").write_text(text)
    done = cli_here("capacity", "config.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    folder, names = (
        tmp_path / "runs" / "small",
        ["capacity-queue.png", "capacity.html", "capacity.json", "config.yaml"],
    )
    assert sorted(path.name for path in folder.iterdir()) == names
    for said in ("90% of requests within e2el 5,280 ms", "with cache", "ratio", "runs/small/capacity.json"):
        assert said in done.stdout
    again = cli(
        "capacity", "runs/small/config.yaml", "--quiet", "--out", "out", env={"PYTHONHASHSEED": "7"}
    )
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    finer = cli_here("capacity", "config.yaml", "--quiet", "--out", "finer", "--precision", "0.002")
    assert finer.returncode == 0
    coarse, fine = (
        json.loads((at / "capacity.json").read_text())["systems"]["queue"]["with_cache"]
        for at in (folder, tmp_path / "finer")
    )
    assert coarse["max_rate"] <= fine["max_rate"] < coarse["next_rate_tried"]
    assert fine["next_rate_tried"] <= fine["max_rate"] * 1.002


def test_cells(studied: CapacityStudy) -> None:
    """Rate, ratio, requests per s, per GPU, share, dollars; closed form as in tests of the study."""
    system = studied.systems["queue"]
    assert system.ratio is not None
    without = report.cells(system.without_cache, None)
    after = report.cells(system.with_cache, system.ratio)
    # A request takes 1.76 s without the cache and 0.16 s with it.
    assert -0.015 <= 1 - float(without[0]) * 1.76 < 0.025
    assert -0.015 <= 1 - float(after[0]) * 0.16 < 0.025
    assert without[1] == "" and after[1] == f"{system.ratio:.1f} x"
    assert without[2] == without[3] != "" and 90 <= float(without[4].rstrip("%")) <= 100
    assert float(after[5][1:]) == pytest.approx(1e-3 / float(after[2]) / 177 * 1e6, rel=0.01)


def test_no_rate_is_said(studied: CapacityStudy) -> None:
    """Words instead of a number, and a note that says what was tried."""
    slow = studied.systems["slow"].with_cache
    assert report.cells(slow, None)[0] == "none"
    (note,) = words.side_notes(studied, slow)
    assert note.startswith("no rate: at 0.0000153 sessions/s, the configured rate / 16,384, only 0% of")
    good, unknown = _sample(1.0, 1.0), _sample(2.0, 1.0, verdict=Verdict.UNKNOWN, reason="no steady state")
    lax = Side(Search(Outcome.UNBOUNDED, None, {1.0: good.judged}), {1.0: good}, 0.99)
    assert report.cells(lax, None)[0] == "unbounded"
    (note,) = words.side_notes(studied, lax)
    assert note == (
        "no bound: at 1.00 sessions/s, 16,384 times the configured rate, 100% of requests are still good"
    )
    samples = {1.0: good, 2.0: unknown}
    tried = {rate: sample.judged for rate, sample in samples.items()}
    refused = Side(Search(Outcome.REFUSED, None, tried, 2.0), samples, 0.99)
    assert report.cells(refused, None)[0] == "refused"
    assert words.side_notes(studied, refused) == [
        "refused: at 2.00 sessions/s no steady state; 100% are good at 1.00 sessions/s, the highest rate "
        "known"
    ]
    few = Side(Search(Outcome.REFUSED, None, {}), {}, 0.99, "the trace has 9 requests")
    assert words.side_notes(studied, few) == ["refused: the trace has 9 requests"]


SHORT = "duration_s: 5"


def test_a_longer_run_is_said(tmp_path: Path) -> None:
    """A length that shows no steady state is lengthened, and the table says so."""
    text = CONFIG.partition("  slow:")[0].replace("turns: 1", "turns: 3").replace("duration_s: 400", SHORT)
    studied = _studied(tmp_path, text.replace("think_time_s: 0", "think_time_s: 30"))
    said = " ".join(_text(studied, 80).split())
    assert "lengthened: at this rate sessions start for" in said and "instead of 5.00 s" in said


def _sample(
    rate: float, share: float, verdict: Verdict = Verdict.GOOD, reason: str | None = None
) -> RateSample:
    return RateSample(
        rate=rate,
        verdict=verdict,
        reason=reason,
        duration_s=400,
        sessions=1000,
        window=WHOLE,
        requests=1000,
        good_share=share,
        interval=(share, share),
        steady=verdict is not Verdict.UNKNOWN,
        overloaded=False,
        load_error=0.01,
        ramp_s=0.0,
        needed_s=0.0,
    )


def _side(shares: dict[float, float]) -> Side:
    """One that was found at rate 1, with these shares of good requests by rate."""
    verdicts = {rate: Verdict.GOOD if share >= 0.99 else Verdict.BAD for rate, share in shares.items()}
    samples = {rate: _sample(rate, share, verdicts[rate]) for rate, share in shares.items()}
    tried = {rate: sample.judged for rate, sample in samples.items()}
    return Side(Search(Outcome.FOUND, 1.0, tried, 2.0), samples, 0.99)


def test_notes_by_hand(studied: CapacityStudy) -> None:
    """The interval with that of the load, the largest rise, rates on the wrong side of the one found."""
    interval = "95 % interval, sessions/s: 0.990 to 1.02"
    assert words.side_notes(studied, _side({1.0: 0.995, 2.0: 0.5})) == [interval]
    _, rise, other = words.side_notes(studied, _side({0.5: 0.98, 1.0: 0.99, 2.0: 0.5, 3.0: 0.62}))
    assert rise == (
        "not monotone: from 2.00 sessions/s to 3.00 sessions/s the share of good requests rises by "
        "12 points, to 62.0%"
    )
    assert other.endswith("good above it, or bad below, at 0.500")


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
    """What has no rate is drawn as far as it was tried."""
    axes = report.figure(studied, "slow").axes[0]
    labels = [str(line.get_label()) for line in axes.get_lines()]
    assert "with cache: none" in labels
    assert not [line for line in axes.get_lines() if line.get_linestyle() == "--"]


def test_why_an_idle_system_keeps_no_limits(studied: CapacityStudy) -> None:
    """Its limits, or replies that nobody waits for."""
    sample = _sample(1e-4, 0.5, Verdict.BAD)
    for unanswered, why in (
        (0, "the limits are too tight at"),
        (400, "40.0% get no reply at hardly any load"),
    ):
        one = replace(sample, unanswered=unanswered)
        side = Side(Search(Outcome.NONE, None, {1e-4: one.judged}, None), {1e-4: one}, 0.99)
        (note,) = words.side_notes(studied, side)
        assert why in note


def test_bounds_that_are_not_known_are_said() -> None:
    """A bound is a rate, or words: never a sign."""
    assert words.bounds((1.25, 2.0)) == "1.25 to 2.00"
    assert words.bounds((None, 2.0)) == "up to 2.00 (the rates tried tell no lower bound)"
    assert words.bounds((1.25, None)) == "from 1.25 on (the rates tried tell no upper bound)"
    assert words.bounds((None, None)) == "not told by the rates tried"
