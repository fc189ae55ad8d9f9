"""Traces served by the real engine and simulated: hits, times, figures."""

from __future__ import annotations

import json
from array import array
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")
pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")


import numpy as np

from calibration.fit import errors
from calibration.runner import Runner
from calibration.validate import CHATS, Comparison, Setup, figures
from sim.hardware.coefficients import Coefficients
from sim.hardware.profile import load
from sim.results.records import EngineTotals, Records
from sim.results.request_log import RequestLog
from tests.refusing import Cli
from workloads.errors import InputError
from workloads.trace import Trace


def test_validate_serves_and_simulates(made: Path, calibration: Cli) -> None:
    """Hits equal on every request, cache on and off, two seeds; times within a factor of three."""
    done = calibration("validate", "--profile", made, "--seeds", "2", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("9 of 9") == 4 and "noise floor" in done.stdout
    for text in ("TTFT", "TPOT", "E2E", "steps", "p99", "cache off"):
        assert text in done.stdout
    found = json.loads(Path("runs/validation/tiny/engine-validation.json").read_text())
    assert [run["equal_requests"] for run in found["runs"]] == [9] * 4
    assert found["errors"]["E2E mean"]["largest"] >= found["errors"]["E2E mean"]["median"] > 0
    page = Path("runs/validation/tiny/engine-validation.html").read_text()
    assert page.count("<svg ") == 1 and "seed 2, load 60%, cache off" in page


def test_hits_are_equal_and_times_are_near(made: Path, runner: Runner) -> None:
    """The same through Python, with a memory that evicts."""
    profile = load(made)
    for blocks in (None, 14):
        setup = Setup(profile, runner, CHATS["tiny"], "tiny", kv_blocks=blocks)
        trace = setup.trace_at(1, 0.5, cache=True)
        got = setup.compare(trace, 0.5, cache=True)
        assert got.requests == len(trace) and got.real_hits > 0
        if blocks is None:
            assert got.hits_equal == got.requests and got.real_hits == got.simulated_hits
        assert all(1 / 3 < 1 + got.error(name) < 3 for name in ("steps, sum", "E2E mean", "TTFT mean"))
        assert 1 / 4 < got.busy_share < 3 / 4, "half of the time, with steps up to three times as long"


def test_drift_and_figures_by_hand(made: Path, runner: Runner) -> None:
    """Steps said to take 1,000 s take next to nothing: 100 % less. Three requests of 2, 3 and 5 s."""
    slow = load(made).model_copy(update={"coefficients": Coefficients(step=1000.0)})
    setup = Setup(slow, runner, CHATS["tiny"], "tiny")
    assert -1 < setup.drift() < -0.99
    assert setup.compare(CHATS["tiny"].trace(1, 1.0), 0.5, cache=True).steps.bias > 1000
    trace = Trace()
    for _ in range(3):
        trace.add(prompt=trace.content.append(0, 5), output_tokens=2, arrival_s=0.0)
    log = RequestLog(trace)
    log.arrival_s, log.first_token_s = array("d", [0.0] * 3), array("d", [1.0, 2.0, 4.0])
    log.finished_s = array("d", [2.0, 3.0, 5.0])
    records = Records.of(log)
    records.engine = EngineTotals(busy_s=3.0)
    shown = figures(records)
    assert shown["steps, sum"] == 3 and shown["TPOT mean"] == 1 and shown["E2E p50"] == 3
    assert shown["TTFT mean"] == pytest.approx(7 / 3) and shown["E2E p99"] == pytest.approx(4.96)
    error = errors(np.array([1.0]), np.array([1.0]))
    both = Comparison(1, 0.5, True, 0.5, 3, 3, 0, 0, {"TTFT mean": 2.0}, {"TTFT mean": 3.0}, error, (0, 0))
    assert both.error("TTFT mean") == 0.5


def test_requests_longer_than_the_profile_are_refused(made: Path, runner: Runner) -> None:
    setup = Setup(load(made), runner, CHATS["tiny"], "tiny")
    trace = Trace()
    trace.add(prompt=trace.content.append(0, runner.longest), output_tokens=1, arrival_s=0.0)
    with pytest.raises(InputError, match=r"reaches [\d,]+ tokens; allowed: at most"):
        setup.simulate(trace, cache=True)


def test_load_sets_the_pace(made: Path, runner: Runner) -> None:
    """Think times are scaled until the simulated engine is busy for the share asked for."""
    setup = Setup(load(made), runner, CHATS["tiny"], "tiny")
    for load_ in (0.3, 0.8):
        trace = setup.trace_at(1, load_, cache=True)
        records = setup.simulate(trace, cache=True)
        assert records.engine is not None
        busy = records.engine.busy_s / float(records.finished_s.max() - records.arrival_s.min())
        assert busy == pytest.approx(load_, abs=0.05)
