"""``python -m calibration`` end to end on a tiny model, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")
pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")


import numpy as np
import torch

from calibration import catalogue, samples
from calibration.device import describe
from calibration.fit import errors
from calibration.measure import Bench, measure
from calibration.model import Work
from calibration.plan import Configuration
from calibration.profile import Coefficients, Profile, load
from calibration.run import runner_for
from calibration.runner import Runner
from calibration.validate import CHATS, Comparison, Setup, figures
from sim import load_config
from sim import run as simulate
from sim.records import EngineTotals, Records, RequestLog
from tests.calibration import synthetic
from workloads.errors import InputError
from workloads.trace import Trace

TINY = ("--model", "tiny-1m", "--device", "cpu", "--grid", "tiny", "--max-drift", "9", "--quiet")
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def runner() -> Runner:
    """A tiny model on the CPU."""
    return runner_for(catalogue.model("tiny-1m", Path()), "cpu", "float32", "tiny", 0)


@pytest.fixture
def calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """``python -m calibration ARGS`` within this process, in an empty folder."""

    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        from calibration.cli import main

        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "140")
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args])
        code = end.value.code
        assert code is None or isinstance(code, int)
        out = capsys.readouterr()
        return subprocess.CompletedProcess(args, code or 0, out.out, out.err)

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of the tiny model, measured in three passes."""
    from calibration.cli import main

    path = tmp_path_factory.mktemp("profile") / "tiny.yaml"
    with pytest.raises(SystemExit) as end:
        main(["run", *TINY, "--passes", "3", "--out", str(path)])
    assert not end.value.code
    return path


def test_ctrl_c_keeps_the_samples(tmp_path: Path, root: Path) -> None:
    """A real process that is interrupted while it measures: what it says, its code, what it leaves."""
    command = [sys.executable, "-m", "calibration", "run", *TINY, "--passes", "500", "--out", "p.yaml"]
    env = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
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


def test_several_models_in_one_command(calibration: Command, tmp_path: Path) -> None:
    """A profile each in one folder; given again, the command keeps what is there and does the rest."""
    shape = catalogue.model("tiny-1m", Path()).model_dump()
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
    assert again.returncode == 0 and f"Kept, as it exists: {wide}" in again.stdout
    assert wide.read_bytes() == first and narrow.exists()


def test_one_model_that_fails_does_not_stop_the_others(calibration: Command, tmp_path: Path) -> None:
    """One does not fit into memory: said, exit code 2, the other is written and validated."""
    args = ("run", "--model", "llama-3.1-70b", *TINY[:-1], "--passes", "2", "--validate", "--loads", "0.5")
    done = calibration(*args, "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stdout.count("9 of 9") == 2
    assert "llama-3.1-70b.cpu.float32.yaml: model = 'Meta Llama 3.1 70B' does not fit" in done.stderr
    assert "1 of 2 models failed" in done.stderr
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {"tiny-1m.cpu.float32.yaml", "tiny-1m.cpu.float32.samples.jsonl.gz"}
    again = calibration(*args, "--out", tmp_path / "out")
    assert f"Kept, as it exists: {tmp_path / 'out' / 'tiny-1m.cpu.float32.yaml'}" in again.stdout
    assert again.stdout.count("9 of 9") == 2, "what is kept is validated all the same"


def test_show_fit_compare(made: Path, calibration: Command, tmp_path: Path) -> None:
    """The table has errors, baselines and noise; figures are written; a second fit gives the same file."""
    shown = calibration("show", made, "--out", "figures")
    assert shown.returncode == 0, shown.stderr
    for text in ("held-out steps", "random forest", "plain linear", "roofline", "noise floor", "GB/s"):
        assert text in shown.stdout
    names = ["measured-against-predicted.png", "models.png", "residuals.png"]
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == names
    again = made.parent / "again.yaml"
    fitted = calibration("fit", made.parent / "tiny.samples.jsonl.gz", "--max-drift", "9", "--out", again)
    assert fitted.returncode == 0, fitted.stderr
    assert again.read_bytes() == made.read_bytes()
    again.unlink()
    compared = calibration("compare", made, made)
    assert compared.returncode == 0 and "1.00" in compared.stdout and "extrapolated" in compared.stdout


def test_validate_serves_and_simulates(made: Path, calibration: Command) -> None:
    """Hits equal on every request, cache on and off, two seeds; times within a factor of three."""
    done = calibration("validate", "--profile", made, "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("9 of 9") == 4 and "noise floor" in done.stdout
    for text in ("TTFT", "TPOT", "E2E", "steps", "p99", "cache off"):
        assert text in done.stdout


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
        self.model = catalogue.model("tiny-1m", Path())
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
    model = catalogue.model("tiny-1m", Path())
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
                "memory": {"kv_blocks": 100},
                "latency": {"profile": str(made)},
            }
        },
    }
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(config))
    entry = simulate(load_config(path)).summary()["systems"]["cpu"]
    assert entry["calibrated"] is True
    assert 0 < entry["extrapolated_seconds"] < entry["gpu_busy_seconds"]
    share = entry["extrapolated_seconds"] / entry["gpu_busy_seconds"]
    assert f"extrapolated: {share:.1%} of the busy time" in entry["notes"][-1]
    small = [f"systems.cpu.engine.max_num_batched_tokens={n}" for n in (48,)]
    small.append("systems.cpu.engine.max_num_seqs=4")
    inside = simulate(load_config(path, small)).summary()["systems"]["cpu"]
    assert inside["extrapolated_seconds"] == 0 and not inside["notes"]
    with pytest.raises(InputError, match=r"systems.cpu.latency.profile = .*measured for Tiny 1M in"):
        load_config(path, ["systems.cpu.model=llama-3-8b"])


# -- bad input -------------------------------------------------------------------------------------


def _fails(command: Command, folder: Path, *args: str | Path, said: tuple[str, ...]) -> None:
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    done = command(*args)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and done.stdout == ""
    for text in said:
        assert text in done.stderr, done.stderr
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--model", "tiny-1m", "--device", "tpu"), ("device = 'tpu'", "allowed: cpu, cuda")),
        (("--model", "tiny-9m"), ("--model = 'tiny-9m'", "did you mean 'tiny-1m'")),
        (("--model", "tiny-1m", "--dtype", "int8"), ("--dtype int8", "bfloat16")),
        (("--model", "tiny-1m", "--grid", "big"), ("--grid big", "gpu, cpu, tiny")),
        (("--model", "tiny-1m", "--hardware", "h300"), ("--hardware = 'h300'", "h200")),
        (("--model", "tiny-1m", "--loads", "1.5"), ("--loads 1.5", "between 0 and 1")),
        (("--model", "tiny-1m", "--out", "p.json"), ("--out p.json", "ending in .yaml")),
    ],
)
def test_bad_options(
    calibration: Command, tmp_path: Path, args: tuple[str, ...], said: tuple[str, ...]
) -> None:
    """One message, exit code 2, nothing written."""
    _fails(calibration, tmp_path, "run", *args, said=said)


def test_no_cuda(calibration: Command, tmp_path: Path) -> None:
    """A GPU is asked for where torch finds none."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    said = ("device = 'cuda'", "finds no CUDA device", "allowed: cpu")
    _fails(calibration, tmp_path, "run", "--model", "llama-3-8b", "--device", "cuda", said=said)


def test_too_little_memory(calibration: Command, tmp_path: Path) -> None:
    """70 billion parameters do not fit; the message has the sizes."""
    said = ("'Meta Llama 3.1 70B' does not fit on cpu", "weights take 262.8 GiB", "GiB are free; allowed")
    _fails(calibration, tmp_path, "run", "--model", "llama-3.1-70b", said=said)


def test_memory_runs_out_later(
    calibration: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU says when it was too full after all: one message."""
    import torch

    def full(*args: object) -> Runner:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")

    monkeypatch.setattr("calibration.run.runner_for", full)
    said = ("model = 'Tiny 1M': CUDA out of memory. Tried to allocate 2 GiB.; allowed: a smaller",)
    _fails(calibration, tmp_path, "run", *TINY, said=said)


def test_nothing_is_overwritten(made: Path, calibration: Command) -> None:
    """An existing profile, or existing samples of one, stop a run before it measures."""
    folder = made.parent
    _fails(calibration, folder, "run", *TINY, "--out", made, said=(f"{made}: exists",))
    beside = made.with_name("tiny.samples.jsonl")
    beside.touch()
    _fails(calibration, folder, "run", *TINY, "--out", made, said=(f"{made}: exists",))
    beside.unlink()
    packed = folder / "tiny.samples.jsonl.gz"
    _fails(calibration, folder, "fit", packed, "--out", made, said=("allowed: a new file name",))
    dangling = folder / "dangling.yaml"
    dangling.symlink_to("nowhere/p.yaml")
    for command in (("run", *TINY), ("fit", packed)):
        _fails(calibration, folder, *command, "--out", dangling, said=(f"{dangling}: ",))
        _fails(calibration, folder, *command, "--out", made / "p.yaml", said=(f"{made} is not a folder",))
    dangling.unlink()
    name = folder / ("x" * 300 + ".yaml")
    fit = ("fit", packed, "--max-drift", "9", "--out", name)
    _fails(calibration, folder, *fit, said=("File name too long",))


def test_profiles_that_do_not_fit(made: Path, calibration: Command, tmp_path: Path) -> None:
    """Another model, another schema version, another device, no measurement at all."""
    said = ("measured for Tiny 1M, not for Tiny 40M",)
    _fails(calibration, tmp_path, "validate", "--profile", made, "--model", "tiny-40m", said=said)
    text = made.read_text()
    other = tmp_path / "p.yaml"
    other.write_text(text.replace("kvprofile/1", "kvprofile/2"))
    for command in (("validate", "--profile"), ("show",)):
        _fails(calibration, tmp_path, *command, other, said=("p.yaml: schema = kvprofile/2",))
    profile = load(made)
    assert profile.hardware is not None
    other.write_text(text.replace(f"device: {profile.hardware.device}", "device: another CPU"))
    _fails(
        calibration, tmp_path, "validate", "--profile", other, said=("device = 'another CPU', here it is",)
    )
    bare: dict[str, Any] = profile.model_dump(include={"id", "calibrated", "source", "coefficients"})
    other.write_text(Profile(**bare).to_yaml())
    _fails(calibration, tmp_path, "validate", "--profile", other, said=("model is missing",))
    _fails(calibration, tmp_path, "show", other, "--out", "f", said=("samples is missing",))
    _fails(calibration, tmp_path, "show", tmp_path / "no.yaml", said=("no.yaml: No such file",))


def test_damaged_samples(made: Path, calibration: Command, tmp_path: Path) -> None:
    """Cut off, not JSON, of another schema, changed since the fit."""
    path = synthetic.write(tmp_path / "s.jsonl", grid="tiny", kv_tokens=800)
    whole = path.read_text()
    cases = {
        whole[:-20]: ("the last line is cut off",),
        whole.replace("kvsamples/1", "kvsamples/0"): ("s.jsonl:1: schema = 'kvsamples/0'",),
        whole.replace('"t_s":', '"time":', 1): ("s.jsonl:2: t_s is missing",),
        whole + "nonsense\n": ("'nonsense' is no JSON object",),
        whole.replace('"hardware"', '"hardwear"', 1): ("s.jsonl:1: hardware is missing",),
        whole.replace('"gemm_tflops": 0.12', '"gemm_tflops": "fast"'): (
            "s.jsonl:1: hardware.gemm_tflops = fast",
        ),
        whole.replace('"t_s":', '"t_s":-', 1): ("s.jsonl:2: t_s = -", "greater than 0"),
        whole[: whole.rindex("\n", 0, -200) + 1]: ("passes are whole",),
    }
    for text, said in cases.items():
        path.write_text(text)
        _fails(calibration, tmp_path, "fit", path, "--out", "p.yaml", said=said)
    packed = tmp_path / "s.jsonl.gz"
    packed.write_bytes(gzip.compress(whole.encode())[:-30])
    _fails(calibration, tmp_path, "fit", packed, "--out", "p.yaml", said=("cut off or damaged",))
    _fails(calibration, tmp_path, "fit", tmp_path / "no.jsonl", "--out", "p.yaml", said=("no such file",))
    copy = tmp_path / "tiny.yaml"
    copy.write_bytes(made.read_bytes())
    _fails(calibration, tmp_path, "show", copy, "--out", "f", said=("no such file beside it",))
    (tmp_path / "tiny.samples.jsonl.gz").write_bytes(packed.read_bytes())
    _fails(calibration, tmp_path, "show", copy, "--out", "f", said=("sha256 is not that in",))


def test_a_cut_off_measurement_is_not_overwritten(calibration: Command, tmp_path: Path) -> None:
    """A damaged samples file where a run would go on: refused, and kept."""
    (tmp_path / "p.samples.jsonl").write_text('{"schema": "kvsamples/1"')
    said = ("p.samples.jsonl:1: the last line is cut off",)
    _fails(calibration, tmp_path, "run", *TINY, "--out", tmp_path / "p.yaml", said=said)


def test_importing_needs_no_torch(root: Path) -> None:
    """``import calibration``, its profiles and the help of both command lines leave torch alone."""
    code = (
        "import sys, calibration, calibration.profile, calibration.catalogue, calibration.roofline\n"
        "import calibration.cli, sim.cli\n"
        "heavy = {'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)
