"""KV pools as engines compute them: against printed ones, by hand, and called estimates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim import load_config
from sim.hardware import catalogue, sglang_memory, vllm_memory
from sim.hardware.estimate import accuracy, measured_pools
from sim.hardware.gpu import GIB
from sim.hardware.memory import Memory
from sim.hardware.parallel import Parallel
from sim.systems.engine import EngineSystem
from tests.refusing import Cli

POOLS = measured_pools()
LLAMA = catalogue.model("llama-3.1-8b", Path())
LIMITS: dict[str, Any] = {"max_num_batched_tokens": 8192, "max_num_seqs": 1024}
CHAT = {
    "kind": "chat", "sessions": 2, "turns": 1, "think_time_s": 1, "user_tokens": 20, "reply_tokens": 3,
    "system_prompt": {"tokens": 40}, "arrival": {"process": "poisson", "rate_per_s": 1},
}  # fmt: skip


def _config(folder: Path, system: dict[str, Any], workload: dict[str, Any] = CHAT) -> Path:
    path = folder / "memory.yaml"
    system = {"kind": "engine", "model": "llama-3.1-8b", "hardware": "h100", **system}
    path.write_text(json.dumps({"name": "memory", "workload": workload, "systems": {"one": system}}))
    return path


def _resolved(folder: Path, **system: Any) -> EngineSystem:
    found = load_config(_config(folder, system)).systems["one"]
    assert isinstance(found, EngineSystem)
    return found


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: f"{pool.release}-{pool.gpu}-{pool.model}")
def test_measured_pools(pool: Any) -> None:
    """Within 5 % of vLLM 0.19's, within 20 % of the others', most of whose releases are not told."""
    assert abs(pool.error) < (0.05 if pool.release.startswith("0.19") else 0.2)


def test_the_typical_error() -> None:
    """The mean size over the eight pools, not over the further ones; SGLang has one."""
    errors = [abs(pool.error) for pool in POOLS if not pool.further]
    assert len(errors) == 8 and f"typical error {100 * sum(errors) / 8:.0f} %" in accuracy("vllm")
    [one] = [pool for pool in POOLS if pool.engine == "sglang"]
    assert f"{100 * one.error:+.0f} % against the only pool" in accuracy("sglang")


def test_the_documented_table(root: Path) -> None:
    """docs/models.md shows each measured pool with what is computed now, and the typical error."""
    text = (root / "docs" / "models.md").read_text()
    rows = re.findall(r"^\|.*\| ([\d,]+) \| ([\d,]+) \| ([+-][\d.]+) % \|$", text, re.M)
    shown = [(int(a.replace(",", "")), int(b.replace(",", "")), c) for a, b, c in rows]
    assert shown == [(p.tokens, p.computed_tokens, f"{100 * p.error:+.1f}") for p in POOLS]
    assert accuracy("vllm") in " ".join(text.split())


def test_vllm_by_hand() -> None:
    """Llama 3.1 8B on an H100, 0.95: logits of 1,024 rows twice, the feed-forward of 8,192 tokens."""
    gpu = catalogue.gpu("h100-sxm")
    budget = vllm_memory.budget(LLAMA, gpu, Memory(gpu_memory_utilization=0.95), **LIMITS)
    assert budget.usable == int(0.95 * round(79.19 * GIB))
    assert budget.weights == 2 * 8_030_261_248, "bytes"
    logits, feed_forward = 6 * 1024 * 128_256, 6 * 8192 * 14_336
    assert budget.activations == round(0.6 * GIB) + logits + feed_forward
    assert (budget.outside, budget.graphs) == (round(0.2 * GIB), 0)
    assert budget.blocks(16) == budget.kv // (16 * 131_072)
    two = vllm_memory.budget(LLAMA, gpu, Memory(), **LIMITS, parallel=Parallel(2))
    norms = 2 * 65 * 4096  # which each GPU holds whole
    assert two.weights == (budget.weights + norms) // 2 and two.kv_bytes_per_token == 131_072 // 2
    assert two.outside == round(2.1 * GIB)
    assert two.activations == round(0.6 * GIB) + logits + feed_forward // 2


def test_releases_differ() -> None:
    """Before 0.17 the sampler sorts all logits; from 0.21 on CUDA graphs count, and the share is larger."""
    gpu = catalogue.gpu("h100-sxm")

    def of(version: str | None) -> Any:
        return vllm_memory.budget(LLAMA, gpu, Memory(), **LIMITS, version=version)

    old, present = of("0.10.2"), of("0.33.0")
    assert old.activations == 38 * 1024 * 128_256
    assert abs(16 * old.blocks(16) / 420_904 - 1) < 0.01, "the pool printed before 0.17"
    assert (old.graphs, present.graphs) == (0, round(0.5 * GIB))
    assert present.usable / old.usable == pytest.approx(0.92 / 0.9)
    assert of("0.19") == of(None) == of("0.20.9")
    assert abs(present.blocks(16) / of(None).blocks(16) - 1) < 0.03, "0.92 with graphs is 0.9 without"


def test_sglang_by_hand() -> None:
    """A chunk of 8,192, 256 decodes, 58 prompt graphs and an eighth of a GiB: 13,904 of 81,559 MiB."""
    gpu = catalogue.gpu("h100-sxm")
    reserved = 512 + 1.5 * 8192 + 1024 / 8 + 2 * 256 + 8 * 58
    assert reserved == 13_904
    share = sglang_memory.mem_fraction_static(gpu, 8192, 16384)
    assert share == round((81_559 - reserved) / 81_559, 3) == 0.83
    assert sglang_memory.mem_fraction_static(catalogue.gpu("h200"), 2048, 16384) == round(
        (143_771 - 10 * 1024) / 143_771, 3
    ), "at least 10 GiB of a large GPU"
    budget = sglang_memory.budget(LLAMA, gpu, Memory(), share)
    free = round(79.19 * GIB) - round(0.6 * GIB)
    assert budget.kv == int(0.83 * free) - 2 * 8_030_261_248
    assert sglang_memory.budget(LLAMA, gpu, Memory(reserved_gib=0), share).usable > budget.usable


def test_what_is_given_overrides(tmp_path: Path) -> None:
    """reserved_gib in the place of all estimates; kv_blocks in the place of everything."""
    gpu = catalogue.gpu("h100-sxm")
    reserved = _resolved(tmp_path, memory={"reserved_gib": 3.0}).memory
    left = int(0.9 * gpu.cuda_memory_bytes) - 3 * GIB - 2 * 8_030_261_248
    assert reserved.kv_blocks == left // (16 * 131_072) and reserved.estimate
    given = _resolved(tmp_path, memory={"kv_blocks": 1000})
    assert given.memory == Memory(kv_blocks=1000) and given.usable_blocks == 999
    stated = _resolved(tmp_path, cache={"kind": "block", "capacity_blocks": 1000})
    assert stated.usable_blocks == 1000 and not stated.memory.estimate
    sglang = _resolved(tmp_path, engine={"kind": "sglang"}, memory={"kv_blocks": 1000})
    assert sglang.usable_blocks == 1000


def test_shares_have_the_engines_defaults(tmp_path: Path) -> None:
    """They stand in the resolved configuration."""
    assert _resolved(tmp_path).memory.gpu_memory_utilization == 0.9
    assert _resolved(tmp_path, engine={"version": "0.33.0"}).memory.gpu_memory_utilization == 0.92
    sglang = _resolved(tmp_path, engine={"kind": "sglang"}).memory
    assert (sglang.mem_fraction_static, sglang.gpu_memory_utilization) == (0.83, None)


def test_an_estimate_is_called_one(cli_here: Cli, tmp_path: Path) -> None:
    """In check, console, report and summary, also of the resolved file; not if it is given."""
    path = _config(tmp_path, {})
    check = cli_here("check", path)
    resolved = yaml.safe_load(check.stdout)["systems"]["one"]["memory"]
    assert resolved == {"gpu_memory_utilization": 0.9, "kv_blocks": 27711, "estimate": True}
    said = "estimate: the KV memory of 27,711 blocks is computed, not the engine's own count; "
    said += accuracy("vllm")
    assert said in check.stderr
    done = cli_here("run", path, "--out", "one")
    assert "estimate: the KV memory of 27,711 blocks" in done.stdout
    again = cli_here("run", tmp_path / "one" / "config.yaml", "--out", "two", "--quiet")
    assert again.returncode == 0, again.stderr
    first, second = (
        json.loads((tmp_path / folder / "summary.json").read_text())["systems"]["one"]["notes"]
        for folder in ("one", "two")
    )
    assert first == second and any(note.startswith(said) for note in first)
    assert said.replace("'", "&#39;") in (tmp_path / "one" / "report.html").read_text("utf-8")
    given = cli_here("check", path, "--set", "systems.one.memory.kv_blocks=27711")
    assert "estimate:" not in given.stdout + given.stderr


def test_the_null_block_holds_nothing(cli_here: Cli, tmp_path: Path) -> None:
    """vLLM prints 5 blocks, one of them the null block: 64 tokens, and no prompt of 65."""
    (tmp_path / "t.jsonl").write_text(
        "".join(
            json.dumps({"arrival": 9 * i, "tokens": list(range(tokens)), "output_tokens": [9001]}) + "\n"
            for i, tokens in enumerate((64, 65, 79))
        )
    )
    workload = {"kind": "trace", "format": "tokens", "path": "t.jsonl"}
    path = _config(tmp_path, {"memory": {"kv_blocks": 5}}, workload)
    done = cli_here("run", path, "--out", "one")
    assert done.returncode == 0, done.stderr
    entry = json.loads((tmp_path / "one" / "summary.json").read_text())["systems"]["one"]
    assert (entry["completed"], entry["rejected"]) == (1, 2)
    assert entry["cache"]["kv_cache_usage_perc"] == 1.0


@pytest.fixture(scope="module")
def cases(root: Path) -> Path:
    """The folder of shared cases beside the project."""
    folder = root.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("the shared cases (../shared/cases) are not on this machine")
    return folder


@pytest.mark.parametrize(("name", "blocks", "within"), [
    ("kv-rtx4090-llama8b", 2588, 0.05), ("kv-a10g-llama8b", 2356, 0.2),
])  # fmt: skip
def test_shared_cases(cases: Path, cli_here: Cli, name: str, blocks: int, within: float) -> None:
    """The pools that vLLM printed on two cards of 24 GB."""
    done = cli_here("check", cases / name / "case.yaml")
    got = int(re.findall(r"kv_blocks: (\d+)", done.stdout)[0])
    assert abs(got / blocks - 1) < within
    assert "estimate" in done.stdout and "estimate" in done.stderr


@pytest.mark.parametrize(("name", "ends"), [("kv-null-block", (0, 1)), ("one-oversize-request", (5, 1))])
def test_shared_cases_of_long_requests(
    cases: Path, cli_here: Cli, tmp_path: Path, name: str, ends: tuple[int, int]
) -> None:
    """What does not fit is rejected, the rest is served."""
    done = cli_here("run", cases / name / "case.yaml", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    entry = json.loads((tmp_path / "out" / "summary.json").read_text())["systems"]["e"]
    assert (entry["completed"], entry["rejected"]) == ends
