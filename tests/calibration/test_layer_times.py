"""Profiles from tables of layers: made-up ones, and those of GPUs against what real engines took there."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from calibration import layer_times
from calibration.form import Step
from calibration.layer_profile import build
from calibration.layer_times import Experts
from sim import experiment
from sim.config import load_config
from sim.hardware import catalogue
from sim.hardware.parallel import Parallel
from sim.hardware.profile import Profile, load
from tests.calibration import layers
from tests.refusing import Cli, refused

LAYERS = 32


def test_a_step_is_the_sum_of_its_layers(tmp_path: Path) -> None:
    """On entries of the tables exactly: attention and matrices in each layer, the rest once."""
    times = layer_times.read(layers.write(tmp_path / "tables"))
    steps = [Step(((64, 128),)), Step((), 8, 8 * 512), Step(((0, 256),), 16, 16 * 1024), Step((), 1, 16)]
    want = []
    for step in steps:
        cached, new = step.prefills[0] if step.prefills else (0, 0)
        context = step.context // step.decodes if step.decodes else 0
        dense = layers.dense_us(step.tokens) if step.tokens in layers.TOKENS else 0.5 * step.tokens
        each = dense + layers.attention_us(new, cached, step.decodes, context)
        head = 100.0 + step.sequences
        want.append((LAYERS * each + 3.0 + head) / 1e6)
    assert times.seconds(steps, LAYERS, None) == pytest.approx(want, rel=1e-9)


def test_decodes_of_uneven_lengths(tmp_path: Path) -> None:
    """A quarter of the way from decodes as long as the mean to decodes as long as the longest."""
    folder = layers.write(tmp_path / "tables")
    rows = [f"{chunk},{n},0.25,100,200,125" for chunk in (0, 16) for n in (2, 32)]
    text = "\n".join(["pc,n,ratio,t_mean_us,t_max_us,t_skew_us", *rows, "0,2,0.9,100,200,199"])
    (folder / "skew.csv.gz").write_bytes(gzip.compress(text.encode()))
    times = layer_times.read(folder)
    uneven, mean, longest = Step((), 8, 8 * 512, 8 * 512), Step((), 8, 8 * 512), Step((), 8, 8 * 1024)
    got, low, high = times.seconds([uneven, mean, longest], LAYERS, None)
    assert got == pytest.approx(low + 0.25 * (high - low), rel=1e-9)


def test_experts_that_a_batch_reaches(tmp_path: Path) -> None:
    """Of 8 experts with 2 for each token one token reaches 2, two tokens 3.5; two ranks share them."""
    times = layer_times.read(layers.write(tmp_path / "tables", moe=True))

    def us(tokens: float, experts: Experts) -> float:
        return float(times._experts_us(np.array([tokens]), experts)[0])

    assert us(1, Experts(8, 2)) == pytest.approx(10 * 2 + 0.5)
    assert us(512, Experts(8, 2)) == pytest.approx(10 * 8 + 256)
    apart = Experts(8, 2, data=2, expert=2)  # four experts here, as much work as with all on one GPU
    assert us(512, apart) == pytest.approx(10 * 4 + 256)


def test_a_profile_of_made_up_tables(calibration: Cli, tmp_path: Path) -> None:
    """The command writes a profile that says where it is from and how far it is off."""
    folder, out = layers.write(tmp_path / "tables"), tmp_path / "my.yaml"
    (tmp_path / "LICENSE.MIT").write_text("free")
    args = ["import", "--from", "layer-times", str(folder), "--model", "llama-3.1-8b", "--gpu", "h200"]
    assert "Written" in calibration(*args, "--tp", "2", "--out", str(out)).stdout
    profile = load(out)
    assert profile.origin == "imported" and profile.tables is not None and profile.serves is not None
    assert profile.tables.licence == "MIT" and profile.serves.tensor_parallel == 2
    assert profile.coefficients.link > 0, "two GPUs talk"
    assert profile.heldout is not None and profile.heldout.errors.mape < 0.04
    assert abs(profile.heldout.errors.bias) < 0.02
    refused(calibration, tmp_path, *args, "--out", str(out), said=("--out", "allowed: a new file name"))


def _without(name: str) -> dict[str, Any]:
    return {name: None}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("no meta", ("meta.yaml", "No such file", "allowed")),
        ("no dense", ("dense.csv.gz", "No such file", "allowed: a table of layer times")),
        ("cut off", ("attention.csv.gz", "cut off", "allowed")),
        ("column", ("per_sequence.csv.gz", "column time_us is missing", "layer, sequences, time_us")),
        ("text", ("dense.csv.gz:2", "time_us = 'fast'", "allowed: a number above 0")),
        ("huge", ("dense.csv.gz:2", "time_us = '1e+300'", "up to 1e+12")),
        ("hole", ("attention.csv.gz", "no entry for", "allowed: a whole grid")),
        ("apart", ("attention.csv.gz: no entry for decodes beside a prefill_chunk of 512", "a whole grid")),
        ("skew", ("skew.csv.gz: pc", "allowed: rows with and without a prefill")),
        ("moe", ("moe.csv.gz", "allowed: the tables of Meta Llama 3.1 8B")),
    ],
)
def test_bad_tables(calibration: Cli, tmp_path: Path, spoil: str, said: tuple[str, ...]) -> None:
    """One message with the file; nothing is written."""
    folder = layers.write(tmp_path / "tables", moe=spoil == "moe")
    if spoil == "no meta":
        (folder / "meta.yaml").unlink()
    if spoil == "no dense":
        (folder / "dense.csv.gz").unlink()
    if spoil == "cut off":
        path = folder / "attention.csv.gz"
        path.write_bytes(path.read_bytes()[:500])
    if spoil == "column":
        (folder / "per_sequence.csv.gz").write_bytes(gzip.compress(b"layer,sequences\nlm_head,1\n"))
    if spoil == "text":
        (folder / "dense.csv.gz").write_bytes(gzip.compress(b"layer,tokens,time_us\nqkv,1,fast\n"))
    if spoil == "huge":
        (folder / "dense.csv.gz").write_bytes(gzip.compress(b"layer,tokens,time_us\nqkv,1,1e300\n"))
    if spoil == "skew":
        skew = b"pc,n,ratio,t_mean_us,t_max_us,t_skew_us\n0,2,0.25,100,200,125\n"
        (folder / "skew.csv.gz").write_bytes(gzip.compress(skew))
        meta = folder / "meta.yaml"
        meta.write_text(
            yaml.safe_dump(yaml.safe_load(meta.read_text()) | {"skew_profile": {"enabled": True}})
        )
    if spoil == "apart":
        rows = gzip.decompress((folder / "attention.csv.gz").read_bytes()).splitlines()
        rows = [row for row in rows if not row.startswith(b"512,0,") or row.startswith(b"512,0,0,")]
        (folder / "attention.csv.gz").write_bytes(gzip.compress(b"\n".join(rows)))
    if spoil == "hole":
        rows = gzip.decompress((folder / "attention.csv.gz").read_bytes()).splitlines()
        (folder / "attention.csv.gz").write_bytes(gzip.compress(b"\n".join(rows[:5] + rows[6:])))
    args = ("--from", "layer-times", str(folder), "--model", "llama-3.1-8b", "--gpu", "h200")
    refused(calibration, tmp_path, "import", *args, said=said)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--from", "tables"), ("--from tables", "layer-times")),
        (("--from", "layer-times"), ("FOLDER is missing",)),
    ],
)
def test_bad_options(
    calibration: Cli, tmp_path: Path, args: tuple[str, ...], said: tuple[str, ...]
) -> None:
    """What the command line lacks."""
    refused(calibration, tmp_path, "import", *args, "--model", "llama-3.1-8b", "--gpu", "h200", said=said)


def test_a_profile_is_of_one_model_and_gpu(tmp_path: Path) -> None:
    """Times of Llama 3.1 8B on H200 are refused for another model or GPU, and taken for Llama 3."""
    h200 = catalogue.gpu("h200")
    made = build(
        layers.write(tmp_path / "tables"), catalogue.model("llama-3.1-8b", Path()), h200, Parallel()
    )
    path = tmp_path / "p.yaml"
    path.write_text(made.to_yaml())

    def notes(model: str, hardware: str) -> Profile:
        from sim.hardware.latency_config import ProfileFile

        config = ProfileFile.model_validate({"profile": str(path)})
        return config.profile(
            catalogue.model(model, Path()), catalogue.gpu(hardware), "systems.x", tmp_path
        )

    assert notes("llama-3-8b", "h200").origin == "imported"
    with pytest.raises(ValueError, match=r"its times are of Meta Llama 3.1 8B .* not of Qwen3 8B"):
        notes("qwen3-8b", "h200")
    with pytest.raises(ValueError, match="its times are of NVIDIA H200 SXM 141GB, not of NVIDIA H100"):
        notes("llama-3.1-8b", "h100")


REAL: dict[str, tuple[str, dict[str, Any], dict[str, float]]] = {
    "rtx4090.llama-3.1-8b.tp1": (
        "rtx4090.llama-3.1-8b.tp1",
        {"model": "llama-3.1-8b", "hardware": "rtx-4090", "memory": {"kv_blocks": 2588}, "seqs": 256},
        {"ttft": 0.03, "tpot": 0.03, "e2e": 0.03},
    ),
    "rtxpro6000.llama-3.1-8b.tp1": (
        "rtxpro6000.llama-3.1-8b.tp1",
        {"model": "llama-3.1-8b", "hardware": "rtx-pro-6000", "seqs": 128},
        {"ttft": 0.10, "tpot": 0.03},
    ),
    "rtxpro6000.qwen3-30b-a3b.dp2ep2": (
        "rtxpro6000.qwen3-30b-a3b.tp1",
        {"model": "qwen3-30b-a3b", "hardware": "rtx-pro-6000", "seqs": 128, "ranks": 2},
        {"tpot": 0.10},
    ),
}
"""Of each run: its tables, what was served and how, and how far means may be off."""


@pytest.mark.parametrize("run", REAL)
def test_real_engines(run: str, shared_data: Path, tmp_path: Path) -> None:
    """300 requests that vLLM 0.19 served, simulated with times from its layers alone: nothing is fitted to
    the requests."""
    tables, served, bounds = REAL[run]
    folder = shared_data / "real_runs"
    if not folder.is_dir():
        pytest.skip("the public measurements (../shared/data/real_runs) are not on this machine")
    ranks = served.get("ranks", 1)
    made = build(
        folder / "vllm_019_layer_times" / tables,
        catalogue.model(served["model"], Path()),
        catalogue.gpu(served["hardware"]),
        Parallel(data=ranks, expert=ranks),
    )
    (tmp_path / "profile.yaml").write_text(made.to_yaml())
    requests, expand = (
        folder / "vllm_019_runs" / f"{run}.requests.jsonl",
        folder / "vllm_019_runs/expand.py",
    )
    subprocess.run([sys.executable, expand, requests, tmp_path / "trace.jsonl"], check=True)
    config = tmp_path / "run.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "name": "run",
                "workload": {"kind": "trace", "path": str(tmp_path / "trace.jsonl")},
                "warmup_s": 0,
                "systems": {
                    "vllm": {
                        "kind": "engine",
                        "model": served["model"],
                        "hardware": served["hardware"],
                        "memory": served.get("memory", {}),
                        "data_parallel": ranks,
                        "expert_parallel": ranks,
                        "cache": {"kind": "block", "block_size": 16},
                        "engine": {"max_num_seqs": served["seqs"], "max_num_batched_tokens": 2048},
                        "latency": {"profile": str(tmp_path / "profile.yaml")},
                    }
                },
            }
        )
    )
    records = experiment.run(load_config(config)).runs["vllm"].records
    real = [json.loads(line) for line in requests.read_text().splitlines()]
    names = ("arrival_s", "first_token_s", "last_token_s", "output_tokens")
    arrival, first, last, output = (np.array([row[name] for row in real]) for name in names)
    found = {
        "ttft": (records.first_token_s - records.arrival_s, first - arrival),
        "e2e": (records.finished_s - records.arrival_s, last - arrival),
        "tpot": (
            (records.finished_s - records.first_token_s) / (records.output_tokens - 1),
            (last - first) / (output - 1),
        ),
    }
    for name, bound in bounds.items():
        simulated, measured = found[name]
        assert simulated.mean() == pytest.approx(measured.mean(), rel=bound), name
        if run.startswith("rtx4090"):
            p99 = np.quantile(measured, 0.99)
            assert np.quantile(simulated, 0.99) == pytest.approx(p99, rel=bound), name
