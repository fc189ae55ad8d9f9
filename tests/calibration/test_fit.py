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

from calibration import build as _build
from calibration import columns, fit, samples
from calibration.baselines import baselines
from calibration.build import build
from calibration.plan import (
    CACHED,
    DECODE,
    GRIDS,
    MIXED,
    PREFILL,
    Configuration,
    _steps,
    plan,
    schedule,
    sentinels,
)
from sim.engine.latency import Box
from sim.hardware import catalogue
from sim.hardware.catalogue import Gpu
from sim.hardware.coefficients import Coefficients
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
    names = ["token", *columns.LINEAR, *fit.HINGE_NAMES]
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
    faster = synthetic.write(tmp_path / "faster.jsonl", drift=(-0.3, 0.0, 0.0, 0.0))
    assert fit.steady(samples.read(faster), 0.05)[0] == [1, 2, 3]
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
        ({"passes": -1}, {}, "s.jsonl:1: passes = -1: allowed: above 0"),
        ({"passes": "8"}, {}, "s.jsonl:1: passes = '8': allowed: a whole number"),
        ({"seed": -1}, {}, "s.jsonl:1: seed = -1"),
        ({"seed": 10**30}, {}, "s.jsonl:1: seed = 1000"),
        (
            {"clock": "sundial"},
            {},
            "s.jsonl:1: clock = 'sundial': allowed: cuda_event, cpu_time",
        ),
        ({"grid": "fine"}, {}, "s.jsonl:1: grid = 'fine': allowed: gpu, cpu, tiny"),
        ({"created": None}, {}, "s.jsonl:1: created = None"),
        ({"hardware_name": 3}, {}, "s.jsonl:1: hardware_name = 3"),
        ({}, {"t_s": float("inf")}, "s.jsonl:2: t_s = inf: allowed: a finite number"),
        ({}, {"t_s": float("nan")}, "s.jsonl:2: t_s = nan"),
        ({}, {"wall_s": 0.0}, "s.jsonl:2: wall_s = 0.0: allowed: above 0"),
        ({}, {"spec": []}, "s.jsonl:2: spec = []"),
        ({}, {"spec": [[1]]}, "s.jsonl:2: spec.0"),
        ({}, {"spec": [[0, 1.5]]}, "s.jsonl:2: spec.0.1 = 1.5"),
        ({}, {"spec": [[-5, 1]]}, "s.jsonl:2: spec.0.0 = -5"),
        ({}, {"family": [1]}, "s.jsonl:2: family = "),
        ({}, {"split": "x"}, "s.jsonl:2: split = 'x'"),
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
    assert got.p99 == pytest.approx(0.198)
    assert got.sum_err == pytest.approx(5.7 / 6 - 1) and got.n == 3


def test_noise_floor_by_hand() -> None:
    """Halves of medians 1 and 1.1, and 2 and 2: they disagree by 0.1/1.05 and by nothing."""
    step = Configuration(DECODE, "fit", ((5, 1),))
    times = np.array([[1.0, 1.1, 1.0, 1.1], [2.0, 2.0, 2.0, 2.0]])
    assert fit.noise_floor(fit.Measured([step, step], times)) == pytest.approx(0.1 / 1.05 / 2)


def test_intervals_by_hand() -> None:
    """Replicates 0, 1, ... 100 of one coefficient: nine tenths lie between 5 and 95."""
    names = ["token", *columns.LINEAR]
    replicates = np.zeros((101, len(names)))
    replicates[:, names.index("step")] = np.arange(101.0)
    fitted = fit.Fitted(names, replicates[50], replicates, 0.0, 1.0, hinged=False)
    assert list(fitted.intervals()) == ["step"]
    assert fitted.intervals()["step"] == pytest.approx((5, 95))
    low, high = fitted.interval([Configuration(DECODE, "fit", ((7, 1),))])
    assert (low[0], high[0]) == pytest.approx((5, 95))


def test_domain_by_hand() -> None:
    """The largest of each, of a prefill of 40 behind 100 and 3 decodes at 60; the box contains its ends."""
    steps = [Configuration(CACHED, "fit", ((100, 40),)), Configuration(DECODE, "fit", ((60, 1),) * 3)]
    box = fit.domain(fit.Measured(steps, np.ones((2, 1))))
    assert (box.tokens, box.sequences) == ((1, 40), (1, 3))
    assert (box.cached, box.kv_tokens) == ((0, 100), (1, 183))
    covers = Box(box).covers
    assert covers(40, 3, 100, 183) and covers(1, 1, 0, 1)
    for outside in ((41, 1, 0, 50), (0, 1, 0, 50), (9, 4, 0, 50), (9, 1, 101, 150), (9, 1, 0, 184)):
        assert not covers(*outside)


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


def test_transfers_by_hand(tmp_path: Path) -> None:
    """2 us and 5 us a block of 262,144 bytes: 52.4288 GB/s, in each path and layout."""
    taken = samples.read(synthetic.write(tmp_path / "s.jsonl", grid="tiny", kv_tokens=800))
    lines = fit.transfers(taken, range(4), 262_144)
    assert {(line["path"], line["layout"]) for line in lines} == {
        (path, layout) for path in ("h2d", "d2h", "gather") for layout in ("contiguous", "scattered")
    }
    for line in lines:
        assert line["latency_s"] == pytest.approx(2e-6, rel=1e-5)
        assert line["per_block_s"] == pytest.approx(5e-6, rel=1e-5)
        assert line["gb_per_s"] == pytest.approx(52.4288, rel=1e-5)


def test_baselines_by_hand() -> None:
    """Times linear in new tokens: the plain fit is exact; a roofline of twice the time is 100 % off."""
    steps = [Configuration(PREFILL, "fit", ((0, n),)) for n in (1, 5, 9, 40)]
    steps += [Configuration(DECODE, "fit", ((h, 1),) * b) for h in (10, 70) for b in (1, 3)]
    truth = Coefficients(step=1e-3, token=1e-5)
    measured = fit.Measured(steps, fit.seconds(truth, steps)[:, None])
    twice = Coefficients(step=2e-3, token=2e-5)
    got = baselines(measured, measured, twice, seed=0)
    assert got["plain linear"].max < 1e-9
    assert (got["roofline"].mape, got["roofline"].bias) == pytest.approx((1.0, 1.0))
    assert got["random forest"].mape < 0.2


@pytest.mark.parametrize(
    ("noise", "drift", "least", "most"), [(0.05, (0.0,), 0.01, 0.1), (0.0, (-0.1, 0.0, 0.1), 0.15, 0.25)]
)
def test_intervals_tell_of_configurations_and_of_passes(
    tmp_path: Path, noise: float, drift: tuple[float, ...], least: float, most: float
) -> None:
    """One noisy pass: other configurations might have been taken. Three passes that differ by 10 % and
    nothing else: the median of three draws is each of them often enough, so the interval is 20 % wide."""
    path = synthetic.write(tmp_path / "s.jsonl", noise=noise, drift=drift)
    steps = _measured(path, "heldout").steps
    low, high = fit.fit(_measured(path), hinged=True, seed=0).interval(steps)
    assert least < float(((high - low) / fit.seconds(synthetic.TRUTH, steps)).mean()) < most


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
    took = [row["t_s"] for row in synthetic.rows(path)[1:] if row["split"] == "fit"]
    assert profile.overhead_s["host_per_step"] == pytest.approx(0.1 * np.median(took), rel=1e-4)
    assert profile.samples is not None and profile.samples.sha256 == samples.sha256(path)


def test_rates_beyond_the_peak_are_refused(tmp_path: Path) -> None:
    """A model that computes ten times faster than the machine's best product was not measured."""
    fast = Coefficients(step=4e-3, token=3e-5, decode_kv=3.5e-6, pair=1e-8)
    path = synthetic.write(tmp_path / "s.jsonl", fast)
    with pytest.raises(InputError, match=r"implies linear_tflops = 1.* or more, beyond the device's 0\.15"):
        build(path, tmp_path / "p.yaml")


SHAPE = catalogue.dense("tiny-40m", Path())
NAMES = ["token", *columns.LINEAR, *fit.HINGE_NAMES]


def _rates(gpu: Gpu, knee: tuple[float, float] = (0.0, 1.0), **draws: np.ndarray) -> dict[str, float]:
    """What a fit with these replicates implies on ``gpu``."""
    replicates = np.zeros((101, len(NAMES)))
    for name, values in draws.items():
        replicates[:, NAMES.index(name.replace("_2", " 2"))] = values
    fitted = fit.Fitted(NAMES, replicates[50], replicates, *knee, hinged=True)
    return _build._rates(Path("s.jsonl"), fitted, SHAPE, gpu).implied


def test_a_rate_is_refused_if_it_is_surely_beyond_the_peak() -> None:
    """An L4's memory gives 300 GB/s. Seconds per KV token whose rates lie around 310 may be noise, unless
    all of the interval is above; a peak that was itself measured may be exceeded by a quarter."""
    l4 = catalogue.gpu("l4")
    kv_gb = SHAPE.kv_bytes_per_token / 1e9
    wide, narrow = (kv_gb / 310 * np.linspace(1 - w, 1 + w, 101) for w in (0.1, 0.01))
    assert _rates(l4, decode_kv=wide)["kv_gb_per_s"] == pytest.approx(310)
    with pytest.raises(InputError, match=r"implies kv_gb_per_s = 307.* or more, beyond the device's 300 "):
        _rates(l4, decode_kv=narrow)
    measured = l4.model_copy(update={"checked": False})
    assert _rates(measured, decode_kv=narrow)["kv_gb_per_s"] == pytest.approx(310)
    with pytest.raises(InputError, match="beyond the device's 375 "):
        _rates(measured, decode_kv=narrow * 300 / 375)


def test_rates_by_hand() -> None:
    """2 FLOP per weight and token, 4 per head, head size, layer and pair, whichever coefficient pays.

    Weights are read for one token: the step, hinges, and a knee at 3 tokens with p = 2, which is sqrt(10)
    tokens' time.
    """
    seconds = {"token": 1e-3, "step": 2e-3, "hinge_2": 5e-4, "pair": 1e-6, "rectangle": 3e-6}
    draws = {name: np.full(101, value) for name, value in seconds.items()}
    implied = _rates(catalogue.gpu("l4"), (3.0, 2.0), **draws)
    assert implied["linear_tflops"] == pytest.approx(2 * SHAPE.layer_params / 1e-3 / 1e12)
    assert implied["attention_tflops"] == pytest.approx(4 * 8 * 8 * 64 / 4e-6 / 1e12)
    weights_gb = (SHAPE.layer_params + SHAPE.head_params) * SHAPE.bytes_per_value / 1e9
    assert implied["weights_gb_per_s"] == pytest.approx(weights_gb / (10**0.5 * 1e-3 + 2.5e-3))


def test_what_graphs_save() -> None:
    """A decode takes 3 ms with graphs and 5 ms without, another one 4 and 8 ms: 3 ms at the median."""
    steps = [Configuration(DECODE, split, ((h, 1),)) for h in (10, 20) for split in ("fit", "eager")]
    steps.append(Configuration("launch", "overhead", ((0, 0),)))
    times = [3e-3, 5e-3, 4e-3, 8e-3, 1e-6]
    taken = samples.Samples({}, steps, [0] * 5, times, [t + 1e-3 for t in times])
    assert _build._overheads(taken, [0]) == pytest.approx(
        {"launch": 1e-6, "host_per_step": 1e-3, "eager_decode": 3e-3}
    )


def test_a_profile_tells_the_passes_that_were_dropped(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "s.jsonl", drift=(0.0, 0.0, 0.3, 0.0))
    profile = build(path, tmp_path / "p.yaml").profile
    assert profile.protocol is not None and profile.protocol.rejected_passes == [2]
    assert profile.source.startswith("measured in 3 passes")


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
        assert max(len(c.spec) for c in timed) == max(grid.batch)
        guards = sentinels(grid)
        first, second = (schedule(made, guards, 1, number) for number in (0, 1))
        assert first != second and sorted(map(str, first)) == sorted(map(str, second))
        assert first[:2] == first[-2:] == guards
        assert first == schedule(made, guards, 1, 0)
        assert first[22:24] == first[44:46] == guards, "sentinels every twenty"
    # Both ends of an axis are drawn: one to four sequences.
    drawn = _steps(GRIDS["tiny"], 1, "any", DECODE, 200, set())
    assert {len(spec) for spec in drawn} == {1, 2, 3, 4}
