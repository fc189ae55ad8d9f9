"""GPUs by name, alias and file; the commands that list models and GPUs and say what fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from sim import load_config
from sim.hardware import catalogue
from sim.hardware.gpu import GIB, aliases
from sim.systems.engine import EngineSystem
from tests.refusing import Cli, refused
from tests.sim.bad import GOOD, written

OWN = {
    "name": "Half an H100", "memory_mib": 40000, "cuda_memory_gib": 38.5,
    "memory_bandwidth_gb_per_s": 1600, "bf16_tflops": 500, "source": "made up for a test",
}  # fmt: skip


def test_aliases() -> None:
    """Short names, in any case; none is an entry's own or given twice."""
    assert catalogue.gpu("h100") == catalogue.gpu("H100") == catalogue.gpu("h100-sxm")
    assert catalogue.gpu("4090").name == "NVIDIA GeForce RTX 4090 24GB"
    names = catalogue.names("gpus")
    assert not set(aliases()) & set(names)
    assert len(aliases()) == sum(len(catalogue.gpu(name).aliases) for name in names)


def test_cuda_reports_less_than_the_driver() -> None:
    """By up to 2.1 %; the totals that engines print."""
    for name in catalogue.names("gpus"):
        gpu = catalogue.gpu(name)
        assert 0.979 < gpu.cuda_memory_bytes / gpu.memory_bytes <= 1.000001, name
    assert round(catalogue.gpu("rtx-4090").cuda_memory_bytes / 2**20) == 24_081
    assert catalogue.gpu("h200").cuda_memory_bytes == round(139.81 * GIB)


def test_a_gpu_from_a_file(tmp_path: Path) -> None:
    """Relative to the configuration; the resolved one names it from anywhere."""
    (tmp_path / "my-gpu.yaml").write_text(yaml.safe_dump(OWN))
    systems = {
        "one": {**GOOD["systems"]["one"], "hardware": "my-gpu.yaml"},  # type: ignore[index]
        "two": {"kind": "engine", "model": "llama-3-8b", "pools": [{"hardware": "my-gpu.yaml"}]},
    }
    path = written(tmp_path, json.dumps({**GOOD, "systems": systems}))
    config = load_config(path)
    one = config.systems["one"]
    assert isinstance(one, EngineSystem)
    gpu = one.gpu("systems.one", config.folder)
    assert gpu is not None and gpu.cuda_memory_bytes == round(38.5 * GIB)
    assert one.engine.kind == "vllm" and one.engine.max_num_seqs == 256
    resolved = yaml.safe_load(config.to_yaml())["systems"]
    assert resolved["one"]["hardware"] == str(tmp_path / "my-gpu.yaml")
    assert resolved["two"]["pools"][0]["hardware"] == str(tmp_path / "my-gpu.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2", "my-gpu.yaml:1: not YAML: "),
        ("- 3", "my-gpu.yaml: [3]; allowed: a GPU with name"),
        (
            json.dumps({**OWN, "memory_mib": -3}),
            "my-gpu.yaml: memory_mib = -3: allowed: above 0",
        ),
        (json.dumps({**OWN, "cuda_memory_gib": "x"}), "my-gpu.yaml: cuda_memory_gib = 'x'"),
        (json.dumps({**OWN, "tflops": 3}), "my-gpu.yaml: tflops = 3: no such key; a GPU has name"),
        (json.dumps({"name": "x"}), "my-gpu.yaml: memory_mib is missing; a GPU has name"),
        (json.dumps({**OWN, "name": "a\x1b[2J"}), "none that controls a terminal"),
        (
            json.dumps({**OWN, "memory_bandwidth_gb_per_s": 1e-300}),
            "systems.one.latency: the roofline of Meta Llama 3 8B on Half an H100 has floor = 2.3",
        ),
    ],
)
def test_a_bad_gpu_file(cli_here: Cli, tmp_path: Path, text: str, said: str) -> None:
    """The file, the key and what is allowed."""
    (tmp_path / "my-gpu.yaml").write_text(text)
    path = written(tmp_path)
    refused(cli_here, tmp_path, "check", path, "--set", "systems.one.hardware=my-gpu.yaml", said=(said,))


def test_lists(cli_here: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry with its figures and its source."""
    monkeypatch.setenv("COLUMNS", "500")
    models, gpus = cli_here("models").stdout, cli_here("gpus").stdout
    for name in catalogue.names("models"):
        assert name in models and catalogue.source(name) in models
    for name in catalogue.names("gpus"):
        assert name in gpus and catalogue.gpu(name).source in gpus


def test_what_fits(cli_here: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """KV tokens are those of a run; sessions of 32,000 tokens need 2,000 blocks each."""
    monkeypatch.setenv("COLUMNS", "200")
    done = cli_here("memory", "llama-3.1-8b", "4090", "--context", "32000")
    rows = [line.replace("│", " ").split() for line in done.stdout.splitlines() if line.startswith("│")]
    assert rows[0] == ["1", "bfloat16", "21.2", "15.0", "1.1", "5.1", "41,424", "1"]
    assert rows[1][:2] == ["1", "fp8"] and rows[1][-1] == "2"
    assert [row[0] for row in rows] == ["1", "1", "2", "2", "4", "4", "8", "8"]
    assert "estimate: typical error" in done.stdout
    large = cli_here("memory", "llama-3.1-70b", "h100", "--engine", "sglang").stdout
    assert (
        "none: the model does not fit: its weights fill the shares of 3 GPUs" in large
        and "0.83 of the 78.6 GiB that are free" in large
    )
    present = cli_here("memory", "llama-3.1-8b", "h100", "--version", "0.33.0").stdout
    assert "0.92 of the 79.2 GiB" in present


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("llama-3-9b", "h100"), "MODEL = 'llama-3-9b' is not in the catalogue"),
        (("llama-3.1-8b", "h101"), "GPU = 'h101' is not in the catalogue (did you mean 'h100'?)"),
        (("llama-3.1-8b", "h100", "--share", "3"), "--share 3.0: allowed: at most 1"),
        (("llama-3.1-8b", "h100", "--context", "0"), "--context 0: allowed: at least 1"),
        (("llama-3.1-8b", "h100", "--version", "new"), "--version new: not a release"),
        (("llama-3.1-8b", "h100", "--version", "0.1", "--engine", "sglang"), "allowed: with --engine vllm"),
        (("no.json", "h100"), "no.json: no such file"),
    ],
)
def test_bad_arguments(cli_here: Cli, tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    """One message each."""
    refused(cli_here, tmp_path, "memory", *args, said=(said,))
