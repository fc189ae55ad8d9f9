"""``from-log``: coefficients that made a log are found in it; damaged and old logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration.form import Step
from calibration.served import iteration_log
from calibration.served.iteration_log import Line, steps
from calibration.served.log_fit import fit_log
from sim.hardware.profile import load
from tests.calibration import logs
from tests.refusing import Cli, refused

LINE = (
    "Engine 000: Iteration({}): {} context requests, {} context tokens, {} generation requests, "
    "{} generation tokens, iteration elapsed time: 10.99 ms, GPU KV cache usage: 3.1%, encoder inputs: 0\n"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 60 sessions with 2 % of noise."""
    return logs.write(tmp_path_factory.mktemp("log") / "server.log", noise=0.02)


def test_the_times_that_made_a_log_are_found(whole: Path, calibration: Cli) -> None:
    """The later half within its noise, which neighbours show too; coefficients within a few percent."""
    args = ("--model", "llama-3.1-8b", "--gpu", "h200", "--out", "p.yaml")
    done = calibration("from-log", whole, *args)
    assert done.returncode == 0, done.stderr
    for text in (
        "fitted to a log",
        "decode_kv",
        "MAPE",
        "noise floor: equal iterations",
        "Written: p.yaml",
    ):
        assert text in done.stdout
    profile = load(Path("p.yaml"))
    assert profile.heldout is not None and profile.serves is not None and profile.origin == "fitted"
    errors, truth, found = profile.heldout.errors, logs.TRUTH, profile.coefficients
    assert errors.mape < 0.02 and abs(errors.bias) < 0.005
    assert profile.heldout.noise_floor == pytest.approx(0.016, abs=0.002), "0.8 of a standard deviation"
    assert found.token == pytest.approx(truth.token, rel=0.03)
    assert found.decode_kv == pytest.approx(truth.decode_kv, rel=0.06)
    assert found.step + found.floor == pytest.approx(truth.step + truth.floor, rel=0.01)
    assert profile.source.startswith(
        "fitted to iterations of a server's log: server.log, the earlier half of"
    )


def test_without_noise_the_later_half_is_met(tmp_path: Path) -> None:
    fitted = fit_log(iteration_log.read(logs.write(tmp_path / "s.log")), None, 2)
    assert fitted.profile.heldout is not None and fitted.profile.tensor_parallel == 2
    assert fitted.profile.heldout.errors.mape < 0.005 and not fitted.notes


def test_an_old_log_without_kv_says_so(tmp_path: Path) -> None:
    fitted = fit_log(iteration_log.read(logs.write(tmp_path / "s.log", kv=False, sessions=20)), None)
    assert "KV of requests is not in this log" in fitted.notes[0]


def test_kv_is_followed_from_step_to_step() -> None:
    """A prompt of 600 behind 400 cached ones beside two decodes, in two chunks; then three decodes."""
    lines = [
        Line(0, 0, 2, 0.01, 0.2),  # before it the log does not say what is held
        Line(1, 500, 2, 0.01, 0.2 + 0.0902),  # 2,000 of decodes, two tokens more; 400 + 500 of the prompt
        Line(1, 100, 2, 0.01, 0.2 + 0.1004),
        Line(0, 0, 3, 0.01, 0.2 + 0.1007),
    ]
    found = [step for step, _ in steps(lines, 10_000)]
    assert found[1] == Step(((400, 500),), 2, 2000)
    assert found[2] == Step(((900, 100),), 2, 2002)
    assert found[3] == Step((), 3, 3004)
    assert next(steps([Line(2, 31, 0, 0.01, None)], None)) == (Step(((0, 16), (0, 15))), 0.01)


def test_ranks_are_followed_apart_and_damage_is_counted(tmp_path: Path) -> None:
    """Lines that are cut off, dummies, speculation; two data parallel ranks; a pool from the option."""
    path = tmp_path / "s.log"
    good = LINE.format(1, 1, 40, 2, 2)
    other = good.replace("Engine 000", "EngineCore_DP1 pid=3").replace(": Iteration", " Iteration")
    path.write_text(
        "INFO starting\n" + good + other + good[:70] + "\n" + good.replace(" ms", " ms (dummy)")
        + LINE.format(2, 0, 0, 2, 6) + LINE.format(3, 0, 0, 0, 0) + good[:-50]
    )  # fmt: skip
    log = iteration_log.read(path, 5000)
    assert {name: len(lines) for name, lines in log.engines.items()} == {"000": 1, "1": 1}
    assert (log.cut_off, log.empty, log.speculative) == (2, 2, 1)
    assert log.notes() == [
        "2 lines of iterations that are cut off were skipped",
        "2 iterations without tokens were skipped",
        "1 iterations with speculative tokens were skipped",
    ]


@pytest.mark.parametrize("decodes", [3, 10_000])
def test_a_server_that_always_does_the_same(tmp_path: Path, decodes: int) -> None:
    """Every iteration of one size, between or beyond the sizes at which fits are corrected."""
    path = tmp_path / "s.log"
    path.write_text(LINE.format(1, 0, 0, decodes, decodes) * 200)
    fitted = fit_log(iteration_log.read(path), None)
    assert not fitted.profile.coefficients.correction
    assert fitted.profile.heldout is not None
    assert fitted.profile.heldout.errors.max < 1e-6


def test_bad_logs_are_refused(calibration: Cli, tmp_path: Path) -> None:
    """No log, none of its kind, too short, cut off throughout, damaged; a profile that exists."""
    path = tmp_path / "s.log"
    cases = {
        "INFO nothing to see\n": ("no iterations;", "--enable-logging-iteration-details"),
        LINE.format(1, 1, 40, 2, 2)[:60]: ("no iterations (1 lines of iterations that are cut off",),
        LINE.format(1, 1, 40, 2, 2) * 99: ("99 iterations; allowed: at least 100",),
        LINE.format(1, 1, 10**20, 2, 2) * 200: ("no iterations (200 lines of iterations that are cut",),
        LINE.format(1, 0, 0, 10**9, 10**9) * 200: ("no iterations (200 lines of iterations that are cut",),
    }
    for text, said in cases.items():
        path.write_text(text)
        refused(calibration, tmp_path, "from-log", path, said=(f"{path}: ", *said))
    packed = tmp_path / "s.log.gz"
    packed.write_bytes(b"\x1f\x8b\x08\x00nothing")
    refused(calibration, tmp_path, "from-log", packed, said=("cannot be read to its end",))
    refused(calibration, tmp_path, "from-log", tmp_path / "no.log", said=("no such file",))
    both = ("--model", "llama-9", "--gpu", "h200")
    refused(calibration, tmp_path, "from-log", path, *both, said=("--model = 'llama-9'",))
    refused(calibration, tmp_path, "from-log", path, *both[:2], said=("both or none",))
    there = tmp_path / "there.yaml"
    there.touch()
    refused(calibration, tmp_path, "from-log", path, "--out", there, said=("a new file name",))
