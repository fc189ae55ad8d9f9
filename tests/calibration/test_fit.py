"""Fitting: coefficients come back, drifted passes go, errors and intervals are what they say."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")

from hypothesis import given
from hypothesis import strategies as st

from calibration import fit, samples
from calibration.build import build
from calibration.plan import CACHED, DECODE, GRIDS, MIXED, PREFILL, Configuration, plan, schedule, sentinels
from calibration.profile import Coefficients
from tests.caches.cases import QUICK
from tests.calibration import synthetic
from workloads.errors import InputError


def _measured(path: Path, split: str = "fit") -> fit.Measured:
    taken = samples.read(path)
    return fit.table(taken, split, range(taken.header["passes"]))


def test_noiseless_times_are_predicted(tmp_path: Path) -> None:
    """From times of the documented formula, held-out iterations are met; truth lies inside the form."""
    path = synthetic.write(tmp_path / "s.jsonl")
    fitted = fit.fit(_measured(path), hinged=True, seed=0)
    heldout = _measured(path, "heldout")
    assert len(heldout.steps) >= 60
    errors = fit.errors(fitted.predict(heldout.steps), heldout.median_s)
    assert errors.max < 0.01 and abs(errors.bias) < 0.002
    got = fitted.coefficients()
    assert got.decode_kv == pytest.approx(synthetic.TRUTH.decode_kv, rel=0.02)
    assert got.pair + got.rectangle == pytest.approx(2.4e-7, rel=0.05)


def test_without_hinges_a_cpu_is_missed(tmp_path: Path) -> None:
    """The hinges earn their place: without them the same times are predicted worse."""
    truth = synthetic.TRUTH.model_copy(update={"hinges": {2: 6e-3, 32: 1e-3}})
    path = synthetic.write(tmp_path / "s.jsonl", truth)
    heldout = _measured(path, "heldout")
    error = {}
    for hinged in (True, False):
        fitted = fit.fit(_measured(path), hinged=hinged, seed=0)
        error[hinged] = fit.errors(fitted.predict(heldout.steps), heldout.median_s).mape
    assert error[True] < 0.01 < 0.02 < error[False]


STEPS = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 400)), min_size=1, max_size=6)


@QUICK
@given(STEPS, st.sampled_from([PREFILL, CACHED, DECODE, MIXED]))
def test_the_fit_predicts_with_the_simulators_formula(spec: list[tuple[int, int]], family: str) -> None:
    """The matrix times the coefficients is what the simulator computes from the profile."""
    if family == DECODE:
        spec = [(h, 1) for h, _ in spec]
    step = Configuration(family, "heldout", tuple(spec))
    assert len(step.prefills) + len(step.decodes) == len(spec)
    names = ["token", *fit.LINEAR, *fit.HINGE_NAMES]
    values = np.linspace(1e-7, 1e-5, len(names))
    fitted = fit.Fitted(names, values, values[None, :], 12.0, 2.5, hinged=True)
    by_simulator = fit.seconds(fitted.coefficients(), [step])
    assert fitted.predict([step]) == pytest.approx(by_simulator, rel=1e-12)


def test_drifted_passes_are_dropped(tmp_path: Path) -> None:
    """A pass whose sentinels moved by more than the limit goes; the others decide."""
    path = synthetic.write(tmp_path / "s.jsonl", drift=(0.0, 0.01, 0.3, -0.01, 0.0))
    taken = samples.read(path)
    kept, drift = fit.steady(taken, 0.05)
    assert kept == [0, 1, 3, 4]
    assert drift == pytest.approx([0.0, 0.01, 0.3, -0.01, 0.0], abs=1e-6)
    assert fit.steady(taken, 0.5)[0] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"too unsteady.*\+30.0%.*at least 3 passes within 0%"):
        fit.steady(taken, 0.001)


def test_missing_passes_are_refused(tmp_path: Path) -> None:
    """A file that stops inside a pass makes no profile."""
    path = synthetic.write(tmp_path / "s.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-50]))
    with pytest.raises(InputError, match="3 of 4 passes are whole"):
        fit.steady(samples.read(path), 0.05)


@pytest.mark.parametrize("split", ["sentinel", "fit", "heldout", "overhead"])
def test_every_kind_of_sample_is_needed(tmp_path: Path, split: str) -> None:
    """Without one of them there is nothing to fit, to hold it against, or to know the passes by."""
    path = synthetic.write(tmp_path / "s.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if f'"split":"{split}"' not in line))
    with pytest.raises(InputError, match=f"samples: no {split} samples"):
        fit.steady(samples.read(path), 0.05)


def test_in_every_pass(tmp_path: Path) -> None:
    """A row that is moved to another pass is missed in its own."""
    path = synthetic.write(tmp_path / "s.jsonl")
    taken = samples.read(path)
    row = next(i for i, step in enumerate(taken.configurations) if step.split == "fit")
    taken.passes[row] += 1
    with pytest.raises(InputError, match=r"samples: not in every pass: Configuration\("):
        fit.table(taken, "fit", range(4))


SAMPLE = {"family": "decode", "split": "fit", "spec": [[5, 1]], "pass": 0, "t_s": 0.5, "wall_s": 0.5}


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ({"passes": -1}, {}, "s.jsonl:1: passes = -1: Input should be greater than 0"),
        ({"passes": "8"}, {}, "s.jsonl:1: passes = 8: Input should be a valid integer"),
        ({"seed": -1}, {}, "s.jsonl:1: seed = -1"),
        ({"seed": 10**30}, {}, "s.jsonl:1: seed = 1000"),
        (
            {"clock": "sundial"},
            {},
            "s.jsonl:1: clock = sundial: Input should be 'cuda_event' or 'cpu_time'",
        ),
        ({"grid": "fine"}, {}, "s.jsonl:1: grid = fine: Input should be 'gpu', 'cpu' or 'tiny'"),
        ({"created": None}, {}, "s.jsonl:1: created = None"),
        ({"hardware_name": 3}, {}, "s.jsonl:1: hardware_name = 3"),
        ({}, {"t_s": float("inf")}, "s.jsonl:2: t_s = inf: Input should be a finite number"),
        ({}, {"t_s": float("nan")}, "s.jsonl:2: t_s = nan"),
        ({}, {"wall_s": 0.0}, "s.jsonl:2: wall_s = 0.0: Input should be greater than 0"),
        ({}, {"spec": []}, "s.jsonl:2: spec = []"),
        ({}, {"spec": [[1]]}, "s.jsonl:2: spec.0"),
        ({}, {"spec": [[0, 1.5]]}, "s.jsonl:2: spec.0.1 = 1.5"),
        ({}, {"spec": [[-5, 1]]}, "s.jsonl:2: spec.0.0 = -5"),
        ({}, {"family": [1]}, "s.jsonl:2: family = "),
        ({}, {"split": "x"}, "s.jsonl:2: split = x"),
        ({}, {"pass": -1}, "s.jsonl:2: pass = -1"),
        ({}, {"pass": None}, "s.jsonl:2: pass = None"),
    ],
)
def test_a_bad_line(tmp_path: Path, header: dict[str, object], row: dict[str, object], said: str) -> None:
    """Named by file, line and field, with the value and what is wrong with it."""
    path = tmp_path / "s.jsonl"
    samples.begin(path, synthetic.header() | header)
    with path.open("a") as file:
        file.write(json.dumps(SAMPLE | row) + "\n")
    with pytest.raises(InputError) as error:
        samples.read(path)
    assert said in str(error.value)


def test_a_damaged_archive(tmp_path: Path) -> None:
    """Bytes in the middle that are not what was packed."""
    packed = gzip.compress(synthetic.write(tmp_path / "s.jsonl").read_bytes())
    path = tmp_path / "s.jsonl.gz"
    path.write_bytes(packed[:2000] + b"\xff" * 20 + packed[2020:])
    with pytest.raises(InputError, match=r"s.jsonl.gz: cut off or damaged"):
        samples.read(path)


def test_errors_by_hand() -> None:
    """Relative errors +10 %, -20 %, 0 % of times 1, 2, 3."""
    got = fit.errors(np.array([1.1, 1.6, 3.0]), np.array([1.0, 2.0, 3.0]))
    assert got.mape == pytest.approx(0.1) and got.bias == pytest.approx(-0.1 / 3)
    assert got.max == pytest.approx(0.2) and got.p90 == pytest.approx(0.18)
    assert got.sum_err == pytest.approx(5.7 / 6 - 1) and got.n == 3


def test_noise_floor_by_hand() -> None:
    """Halves of medians 1 and 1.1, and 2 and 2: they disagree by 0.1/1.05 and by nothing."""
    step = Configuration(DECODE, "fit", ((5, 1),))
    times = np.array([[1.0, 1.1, 1.0, 1.1], [2.0, 2.0, 2.0, 2.0]])
    assert fit.noise_floor(fit.Measured([step, step], times)) == pytest.approx(0.1 / 1.05 / 2)


def test_intervals_hold_the_truth(tmp_path: Path) -> None:
    """With 5 % noise about nine tenths of the 90 % intervals contain what is true; they grow with noise."""
    covered, widths = [], []
    for noise in (0.05, 0.15):
        path = synthetic.write(tmp_path / f"{noise}.jsonl", noise=noise, drift=(0.0,) * 6)
        fitted = fit.fit(_measured(path), hinged=True, seed=0)
        steps = _measured(path, "heldout").steps
        low, high = fitted.interval(steps)
        truth = fit.seconds(synthetic.TRUTH, steps)
        covered.append(float(((low <= truth) & (truth <= high)).mean()))
        widths.append(float(((high - low) / truth).mean()))
    assert min(covered) > 0.7
    assert widths[1] > 2 * widths[0] > 0.02


def test_a_profile_of_samples(tmp_path: Path) -> None:
    """Everything a profile says, from times with 3 % noise; rates as computed by hand."""
    path = synthetic.write(tmp_path / "s.jsonl", noise=0.03)
    built = build(path, tmp_path / "p.yaml")
    profile, model = built.profile, built.profile.model
    assert model is not None and profile.heldout is not None and profile.fit is not None
    assert profile.heldout.errors.mape < 0.03 and abs(profile.heldout.errors.bias) < 0.01
    assert 0.015 < profile.heldout.noise_floor < 0.06
    assert set(profile.heldout.by_family) == {PREFILL, CACHED, DECODE, MIXED}
    assert sum(e.n for e in profile.heldout.by_family.values()) == profile.heldout.errors.n >= 60
    worse = {name: errors.mape for name, errors in profile.heldout.baselines.items()}
    assert set(worse) == {"plain linear", "roofline", "random forest"}
    assert min(worse.values()) > profile.heldout.errors.mape
    # 2 FLOP per weight and token; 6e-4 s a token beyond the last hinge.
    implied = profile.fit.implied
    assert implied["linear_tflops"] == pytest.approx(2 * model.layer_params / 6e-4 / 1e12, rel=0.1)
    assert implied["kv_gb_per_s"] == pytest.approx(16_384 / 3.5e-6 / 1e9, rel=0.1)
    pair_flop = 4 * 8 * 8 * 64
    assert implied["attention_tflops"] == pytest.approx(pair_flop / 2.4e-7 / 1e12, rel=0.15)
    assert profile.domain is not None
    assert profile.domain.tokens == (1, 384) and profile.domain.cached == (0, 2048)
    copies = {(t.path, t.layout): t for t in profile.transfer}
    assert len(copies) == 6
    assert copies["h2d", "scattered"].per_block_s == pytest.approx(5e-6, rel=0.1)
    assert copies["d2h", "contiguous"].gb_per_s == pytest.approx(16 * 16_384 / 5e-6 / 1e9, rel=0.1)
    assert profile.overhead_s["launch"] == pytest.approx(1e-6, rel=0.1)
    assert profile.samples is not None and profile.samples.sha256 == samples.sha256(path)


def test_rates_beyond_the_peak_are_refused(tmp_path: Path) -> None:
    """A model that computes ten times faster than the machine's best product was not measured."""
    fast = Coefficients(step=4e-3, token=3e-5, decode_kv=3.5e-6, pair=1e-8)
    path = synthetic.write(tmp_path / "s.jsonl", fast)
    with pytest.raises(InputError, match=r"implies linear_tflops = 1.* or more, beyond the device's 0\.15"):
        build(path, tmp_path / "p.yaml")


def test_plans() -> None:
    """Every grid: held-out steps off it and inside the box, memory limits all, order is random."""
    for name, grid in GRIDS.items():
        made = plan(grid, seed=1, kv_tokens=grid.kv_tokens // 2, eager=False)
        timed = [c for c in made if c.split in ("fit", "heldout")]
        assert max(c.kv_tokens for c in timed) <= grid.kv_tokens // 2
        fitted = {c.spec for c in made if c.split == "fit"}
        heldout = [c for c in made if c.split == "heldout"]
        assert heldout and not any(c.spec in fitted for c in heldout), name
        box = max(c.tokens for c in timed if c.split == "fit")
        assert all(c.tokens <= box for c in heldout)
        guards = sentinels(grid)
        first, second = (schedule(made, guards, 1, number) for number in (0, 1))
        assert first != second and sorted(map(str, first)) == sorted(map(str, second))
        assert first[:2] == first[-2:] == guards
        assert first == schedule(made, guards, 1, 0)
        assert first[22:24] == first[44:46] == guards, "sentinels every twenty"
