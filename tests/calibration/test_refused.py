"""What ``python -m calibration`` refuses: clear messages, nothing overwritten."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")
pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")


import torch

from calibration.runner import Runner
from sim.hardware.profile import Profile, load
from tests.calibration import synthetic
from tests.calibration.tiny import TINY
from tests.refusing import Cli, refused


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--model", "tiny-1m", "--device", "tpu"), ("device = 'tpu'", "allowed: cpu, cuda")),
        (("--model", "tiny-9m"), ("--model = 'tiny-9m'", "did you mean 'tiny-1m'")),
        (("--model", "tiny-1m", "--dtype", "int8"), ("--dtype int8", "bfloat16")),
        (("--model", "tiny-1m", "--grid", "big"), ("--grid big", "gpu, cpu, tiny")),
        (("--model", "tiny-1m", "--hardware", "h300"), ("--hardware = 'h300'", "h200")),
        (("--model", "tiny-1m", "--loads", "1.5"), ("--loads 1.5", "between 0 and 1")),
        (("--model", "tiny-1m", "--passes", "2147483648"), ("--passes", "less than or equal to 1000")),
        (("--model", "tiny-1m", "--seeds", "2147483648"), ("--seeds", "less than or equal to 1000")),
        (("--model", "tiny-1m", "--out", "p.json"), ("--out p.json", "ending in .yaml")),
    ],
)
def test_bad_options(
    calibration: Cli, tmp_path: Path, args: tuple[str, ...], said: tuple[str, ...]
) -> None:
    """One message, exit code 2, nothing written."""
    refused(calibration, tmp_path, "run", *args, said=said)


def test_no_cuda(calibration: Cli, tmp_path: Path) -> None:
    """A GPU is asked for where torch finds none."""

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    said = ("device = 'cuda'", "finds no CUDA device", "allowed: cpu")
    refused(calibration, tmp_path, "run", "--model", "llama-3-8b", "--device", "cuda", said=said)


def test_too_little_memory(calibration: Cli, tmp_path: Path) -> None:
    """70 billion parameters do not fit; the message has the sizes."""
    said = ("'Meta Llama 3.1 70B' does not fit on cpu", "weights take 262.8 GiB", "GiB are free; allowed")
    refused(calibration, tmp_path, "run", "--model", "llama-3.1-70b", said=said)


def test_memory_runs_out_later(
    made: Path, calibration: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU says when it was too full after all: one message, measuring or validating."""

    def full(*args: object) -> Runner:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")

    monkeypatch.setattr("calibration.run.runner_for", full)
    said = ("model = 'Tiny 1M': CUDA out of memory. Tried to allocate 2 GiB.; allowed: a smaller",)
    for command in (("run", *TINY), ("validate", "--profile", made)):
        refused(calibration, tmp_path, *command, said=said)


def test_nothing_is_overwritten(made: Path, calibration: Cli) -> None:
    """An existing profile, or existing samples of one, stop a run before it measures."""
    folder = made.parent
    refused(calibration, folder, "run", *TINY, "--out", made, said=(f"{made}: exists",))
    beside = made.with_name("tiny.samples.jsonl")
    beside.touch()
    refused(calibration, folder, "run", *TINY, "--out", made, said=(f"{made}: exists",))
    beside.unlink()
    packed = folder / "tiny.samples.jsonl.gz"
    refused(calibration, folder, "fit", packed, "--out", made, said=("allowed: a new file name",))
    dangling = folder / "dangling.yaml"
    dangling.symlink_to("nowhere/p.yaml")
    for command in (("run", *TINY), ("fit", packed)):
        refused(calibration, folder, *command, "--out", dangling, said=(f"{dangling}: ",))
        refused(calibration, folder, *command, "--out", made / "p.yaml", said=(f"{made} is not a folder",))
    dangling.unlink()
    name = folder / ("x" * 300 + ".yaml")
    fit = ("fit", packed, "--max-drift", "9", "--out", name)
    refused(calibration, folder, *fit, said=("File name too long",))


def test_profiles_that_do_not_fit(made: Path, calibration: Cli, tmp_path: Path) -> None:
    """Another model, another schema version, another device, no measurement at all."""
    said = ("measured for Tiny 1M, not for Tiny 40M",)
    refused(calibration, tmp_path, "validate", "--profile", made, "--model", "tiny-40m", said=said)
    text = made.read_text()
    other = tmp_path / "p.yaml"
    other.write_text(text.replace("kvprofile/1", "kvprofile/2"))
    for command in (("validate", "--profile"), ("show",)):
        refused(calibration, tmp_path, *command, other, said=("p.yaml: schema = 'kvprofile/2'",))
    profile = load(made)
    assert profile.hardware is not None
    other.write_text(text.replace(f"device: {profile.hardware.device}", "device: another CPU"))
    refused(
        calibration, tmp_path, "validate", "--profile", other, said=("device = 'another CPU', here it is",)
    )
    bare: dict[str, Any] = profile.model_dump(include={"id", "calibrated", "source", "coefficients"})
    other.write_text(Profile(**bare).to_yaml())
    refused(calibration, tmp_path, "validate", "--profile", other, said=("model is missing",))
    refused(calibration, tmp_path, "show", other, "--out", "f", said=("samples is missing",))
    refused(calibration, tmp_path, "show", tmp_path / "no.yaml", said=("no.yaml: No such file",))
    for text in ("", "[1]", "text"):
        other.write_text(text)
        refused(
            calibration,
            tmp_path,
            "show",
            other,
            said=("p.yaml: ", "allowed: a profile in YAML, keys and values"),
        )


def test_damaged_samples(made: Path, calibration: Cli, tmp_path: Path) -> None:
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
            "s.jsonl:1: hardware.gemm_tflops = 'fast'",
        ),
        whole.replace('"t_s":', '"t_s":-', 1): ("s.jsonl:2: t_s = -", "above 0"),
        whole[: whole.rindex("\n", 0, -200) + 1]: ("passes are whole",),
    }
    for text, said in cases.items():
        path.write_text(text)
        refused(calibration, tmp_path, "fit", path, "--out", "p.yaml", said=said)
    packed = tmp_path / "s.jsonl.gz"
    packed.write_bytes(gzip.compress(whole.encode())[:-30])
    refused(calibration, tmp_path, "fit", packed, "--out", "p.yaml", said=("cut off or damaged",))
    refused(calibration, tmp_path, "fit", tmp_path / "no.jsonl", "--out", "p.yaml", said=("no such file",))
    copy = tmp_path / "tiny.yaml"
    copy.write_bytes(made.read_bytes())
    refused(calibration, tmp_path, "show", copy, "--out", "f", said=("no such file beside it",))
    (tmp_path / "tiny.samples.jsonl.gz").write_bytes(packed.read_bytes())
    refused(calibration, tmp_path, "show", copy, "--out", "f", said=("sha256 is not that in",))


def test_a_cut_off_measurement_is_not_overwritten(calibration: Cli, tmp_path: Path) -> None:
    """A damaged samples file where a run would go on: refused, and kept."""
    (tmp_path / "p.samples.jsonl").write_text('{"schema": "kvsamples/1"')
    said = ("p.samples.jsonl:1: the last line is cut off",)
    refused(calibration, tmp_path, "run", *TINY, "--out", tmp_path / "p.yaml", said=said)
