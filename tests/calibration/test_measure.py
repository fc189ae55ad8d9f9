"""Measuring: what is timed, what is kept, and how a run goes on."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")
pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")


import torch

from calibration import samples
from calibration.device import describe
from calibration.measure import Bench, measure
from calibration.model import Work
from calibration.plan import Configuration
from calibration.runner import Runner
from sim.hardware import catalogue
from tests.calibration import synthetic
from workloads.errors import InputError


def test_an_interrupted_run_goes_on(runner: Runner, tmp_path: Path) -> None:
    """What was taken stays as it is, and the rest is appended; the plan's order is kept."""
    path = tmp_path / "s.jsonl"

    def stop(part: str, done: int, total: int) -> None:
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(runner, path, grid="tiny", seed=0, passes=2, progress=stop)
    before = path.read_text()
    assert before.count("\n") == 41 and before.endswith("\n")
    seen: list[int] = []
    whole = measure(
        runner, path, grid="tiny", seed=0, passes=2, progress=lambda part, done, total: seen.append(done)
    )
    assert path.read_text().startswith(before)
    assert seen[0] == 40 and seen[-1] == len(whole)
    steps = [str(c) for c in whole.configurations]
    half = len(steps) // 2
    assert sorted(steps[:half]) == sorted(steps[half:])


def test_another_measurement_is_not_continued(runner: Runner, tmp_path: Path) -> None:
    """Other passes, or rows that are not the plan's: refused, the file untouched."""
    path = tmp_path / "s.jsonl"
    measure(runner, path, grid="tiny", seed=0, passes=1, progress=lambda *args: None)
    before = path.read_bytes()
    with pytest.raises(InputError, match="a measurement with passes = 1, not 2; allowed: the same"):
        measure(runner, path, grid="tiny", seed=0, passes=2, progress=lambda *args: None)
    with pytest.raises(InputError, match="a measurement with seed = 0, not 1; allowed: the same"):
        measure(runner, path, grid="tiny", seed=1, passes=1, progress=lambda *args: None)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]))
    with pytest.raises(InputError, match=r"s.jsonl:\d+: .* is not in this place of the plan"):
        measure(runner, path, grid="tiny", seed=0, passes=1, progress=lambda *args: None)
    path.write_bytes(before)


def test_every_row_is_a_real_forward_pass(runner: Runner) -> None:
    """More work takes longer: the clock is around the model, not around nothing."""
    bench = Bench(runner, seed=1)

    def best(*spec: tuple[int, int]) -> float:
        step = Configuration("prefill", "fit", spec)
        return min(bench.time(step)[0] for _ in range(7))

    assert best((0, 64)) > 1.5 * best((0, 1))
    assert best((0, 1), (0, 1), (0, 1), (0, 1)) > best((0, 1))


class Noted:
    """A runner that only notes what it is asked for; everything takes two seconds, three by the wall."""

    def __init__(self, blocks: int) -> None:
        self.model = catalogue.dense("tiny-1m", Path())
        self.device = torch.device("cpu")
        pool = SimpleNamespace(blocks=blocks, block_size=16, data=torch.zeros(2, 2, blocks, 16, 2, 32))
        self.decoder = SimpleNamespace(pool=pool, dtype=torch.float32)
        self.work: list[Work] = []
        self.eager: list[bool] = []

    def step(self, work: list[Work], tokens: object, *, eager: bool) -> SimpleNamespace:
        self.work += work
        self.eager.append(eager)
        return SimpleNamespace(t_s=2.0, wall_s=3.0)

    def time(self, call: Callable[[], object]) -> tuple[float, float, object]:
        return 2.0, 3.0, call()


def test_a_bench_rotates_blocks() -> None:
    """Two decodes of three blocks each from a pool of ten: nobody finds its own before all were used."""
    noted: Any = Noted(10)
    bench = Bench(noted, seed=1)
    for split in ("fit", "eager"):
        assert bench.time(Configuration("decode", split, ((33, 1), (47, 1)))) == (2.0, 3.0)
    used = [int(block) for work in noted.work for block in work.blocks]
    assert len(used) == 12 and sorted(used[:10]) == list(range(10)) and used[10:] == used[:2]
    assert noted.eager == [False, True]


def test_a_launch_is_one_of_a_hundred() -> None:
    noted: Any = Noted(10)
    assert Bench(noted, seed=1).time(Configuration("launch", "overhead", ((0, 0),))) == (0.02, 0.03)


def test_peaks_by_hand() -> None:
    """Products of 1,024 x 1,024 are 2 x 1,024^3 FLOP; half a pool of 81,920 floats is read and written."""
    noted: Any = Noted(20)
    noted.time = lambda call: (2e-6, 3e-6, call())
    found = describe(noted)
    assert found.gemm_tflops == round(2 * 1024**3 / 2e-6 / 1e12, 4) > 0
    assert found.copy_gb_per_s == round(2 * 40_960 * 4 / 2e-6 / 1e9, 2) > 0


def test_as_many_blocks_as_there_is_memory_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """85 % of what is free, less the weights: here 20.5 blocks. A tenth of what is asked for has to fit."""
    model = catalogue.dense("tiny-1m", Path())
    free = (model.weight_bytes + 20.5 * 16 * model.kv_bytes_per_token) / 0.85
    (tmp_path / "meminfo").write_text(f"MemFree: 1 kB\nMemAvailable: {free / 1024:.0f} kB\n")
    monkeypatch.setattr("calibration.runner.MEMINFO", tmp_path / "meminfo")

    def blocks(asked: int) -> int:
        return Runner(model, "cpu", model.dtype, asked * 16, 64).decoder.pool.blocks

    assert [blocks(asked) for asked in (10, 100, 200)] == [10, 20, 20]
    with pytest.raises(InputError, match="does not fit on cpu"):
        blocks(201)


def test_a_compressed_file_is_the_same_every_time(tmp_path: Path) -> None:
    """No time of day in it (bytes 4 to 7 of gzip's header): a profile's sha256 is that of its rows."""
    path = synthetic.write(tmp_path / "s.jsonl", grid="tiny", kv_tokens=800)
    assert samples.compress(path, tmp_path / "s.gz") == samples.sha256(tmp_path / "s.gz")
    assert (tmp_path / "s.gz").read_bytes()[4:8] == bytes(4)
    assert gzip.decompress((tmp_path / "s.gz").read_bytes()) == path.read_bytes()


def test_a_row_survives_the_file(tmp_path: Path) -> None:
    """Seven digits of both times, each under its name."""
    samples.begin(tmp_path / "s.jsonl", synthetic.header())
    step = Configuration("mixed", "heldout", ((5, 1), (0, 9)))
    with (tmp_path / "s.jsonl").open("a") as file:
        file.write(samples.row(step, 3, 0.0012345678, 0.5))
    taken = samples.read(tmp_path / "s.jsonl")
    assert (taken.configurations, taken.passes) == ([step], [3])
    assert (taken.t_s, taken.wall_s) == ([0.001234568], [0.5])
