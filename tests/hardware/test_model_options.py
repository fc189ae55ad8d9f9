"""A system's ``model:``, ``dtype:``, ``kv_cache_dtype:`` and kinds of parallelism, from YAML to records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.config import Config, load_config
from sim.experiment import run
from sim.systems.engine import EngineSystem
from workloads.errors import InputError

WORKLOAD = {
    "kind": "chat", "sessions": 6, "arrival": {"process": "poisson", "rate_per_s": 2},
    "turns": {"distribution": "geometric", "mean": 2},
    "think_time_s": {"distribution": "exponential", "mean": 1},
    "system_prompt": {"tokens": 50}, "user_tokens": {"distribution": "uniform", "low": 5, "high": 50},
    "reply_tokens": {"distribution": "uniform", "low": 5, "high": 50},
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4,
    "num_attention_heads": 8, "vocab_size": 1000, "max_position_embeddings": 2048, "dtype": "bfloat16",
}  # fmt: skip


def config(folder: Path, **system: Any) -> Config:
    """An engine on an H200 with these options, on small chats."""
    options = {"kind": "engine", "hardware": "h200", **system}
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump({"name": "c", "workload": WORKLOAD, "systems": {"e": options}}))
    return load_config(path)


def engine(folder: Path, **system: Any) -> EngineSystem:
    """The system of `config`."""
    found = config(folder, **system).systems["e"]
    assert isinstance(found, EngineSystem)
    return found


def test_a_model_by_its_figures(tmp_path: Path) -> None:
    """Times and memory as of the model that has them: Llama 3.1 8B's, but for its attention's FLOP."""
    figures = {"parameters": "8030261248", "kv_bytes_per_token": 131072, "max_position_embeddings": 131072}
    datasheet = {"latency": {"kind": "roofline", "mfu": 1, "mbu": 1}}
    mine = engine(tmp_path, model=figures, **datasheet)
    theirs = engine(tmp_path, model="llama-3.1-8b", **datasheet)
    reserved = {"memory": {"reserved_gib": 2}}
    blocks = [engine(tmp_path, model=m, **reserved).memory.kv_blocks for m in (figures, "llama-3.1-8b")]
    assert blocks[0] == blocks[1]
    one, other = (system.profile(system.served_model(tmp_path), "", tmp_path) for system in (mine, theirs))
    c, d = one.coefficients, other.coefficients
    assert c.floor == pytest.approx(2 * 8_030_261_248 / 4.8e12) and c.floor > d.floor
    assert c.decode_kv == pytest.approx(d.decode_kv)
    again = config(tmp_path, model=figures)
    assert "parameters: 8030261248" in again.to_yaml()


def test_a_folder_is_written_as_a_path(tmp_path: Path) -> None:
    """The resolved configuration loads from anywhere."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text(json.dumps(LLAMA))
    text = config(tmp_path, model="checkpoint").to_yaml()
    assert f"model: {tmp_path / 'checkpoint' / 'config.json'}" in text
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.yaml").write_text(text)
    assert load_config(elsewhere / "c.yaml").to_yaml() == text


def test_kv_in_8_bit_holds_twice_as_much(tmp_path: Path) -> None:
    """kv_cache_dtype is the pool's, dtype the weights'."""
    fixed = {"model": "llama-3.1-8b", "memory": {"reserved_gib": 0}}
    plain, narrow = engine(tmp_path, **fixed), engine(tmp_path, **fixed, kv_cache_dtype="fp8")
    wide = engine(tmp_path, **fixed, dtype="float32")
    assert plain.memory.kv_blocks and narrow.memory.kv_blocks and wide.memory.kv_blocks
    assert narrow.memory.kv_blocks // 2 == plain.memory.kv_blocks
    assert wide.memory.kv_blocks < plain.memory.kv_blocks / 2


def test_data_parallel_ranks_are_replicas(tmp_path: Path) -> None:
    """Two ranks of a replica: two queues and caches, two GPUs held, and the experts divided."""
    shared = {"model": "qwen3-30b-a3b", "memory": {"reserved_gib": 0}, "router": "least_loaded"}
    apart = config(tmp_path, **shared, replicas=2)
    together = config(tmp_path, **shared, data_parallel=2, expert_parallel=2)
    one, other = run(apart).runs["e"].records, run(together).runs["e"].records
    assert len(one.steps) == len(other.steps) == 2
    assert one.gpus == other.gpus == [1, 1]
    system = together.systems["e"]
    assert isinstance(system, EngineSystem) and system.ranks == 2
    alone = apart.systems["e"]
    assert isinstance(alone, EngineSystem)
    half_of_the_experts = 48 * 128 * 3 * 2048 * 768  # bytes, in 16 bit
    assert system.usable_blocks - alone.usable_blocks == half_of_the_experts // (16 * 98_304)


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (
            {"model": "deepseek-v3", "tensor_parallel": 8, "expert_parallel": 3},
            "expert_parallel = 3 does not divide",
        ),
        (
            {"model": "llama-3.1-8b", "tensor_parallel": 2, "expert_parallel": 2},
            "expert_parallel = 2; allowed: at most the 1 experts",
        ),
        (
            {"model": "llama-3.1-8b", "pipeline_parallel": 33},
            "pipeline_parallel = 33; allowed: at most the 32 layers",
        ),
        ({"model": "llama-3.1-8b", "kv_cache_dtype": "int3"}, "systems.e.kv_cache_dtype = 'int3'"),
        ({"model": {"parameters": 7e9}}, "kv_bytes_per_token"),
        ({"model": {"parameters": 7e9, "kv_bytes_per_token": 1, "layers": 3}}, "unknown key 'layers'"),
        (
            {"model": {"parameters": 7e9, "kv_bytes_per_token": 1, "experts": 3}},
            "experts and experts_per_token",
        ),
        (
            {"model": {"parameters": 7e9, "kv_bytes_per_token": 1, "active_parameters": 8e9}},
            "must be no more than parameters",
        ),
        (
            {"model": {"parameters": 7e9, "kv_bytes_per_token": 1}, "dtype": "half"},
            "allowed: auto (its figures say it)",
        ),
        (
            {"model": {"parameters": 7e9, "kv_bytes_per_token": 1, "kv_heads": 3}, "tensor_parallel": 2},
            "tensor_parallel = 2 neither divides the 3 KV heads",
        ),
        (
            {"model": {"parameters": 7e9, "kv_bytes_per_token": 1, "attention_flop_per_pair": 10**400}},
            "an integer of over 100 digits",
        ),
        (
            {"data_parallel": 1000, "replicas": 101},
            "data_parallel = 1000 x replicas = 101; allowed: at most",
        ),
        ({"model": 3}, "systems.e.model"),
        ({"model": "gpt-4"}, "systems.e.model = 'gpt-4' is not in the catalogue"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, system: dict[str, Any], said: str) -> None:
    """One message with the key and what is allowed."""
    with pytest.raises(InputError) as error:
        config(tmp_path, **system)
    assert said in str(error.value)


CASES = {
    "q-fp8-qwen3-32b": (32_762_123_264, 34_326_243_328, 262_144),
    "q-awq-qwen25-32b": (32_763_876_352, 19_328_804_864, 262_144),
    "q-float32-checkpoint": (1_100_048_384, 2_200_096_768, 22_528),
    "arch-hybrid-pattern": (121_341_312, 242_682_624, 2_048),
    "arch-moe-num-experts": (21_825_437_888, 43_650_875_776, 57_344),
    "arch-two-matrix-mlp": (2_779_683_840, 5_559_367_680, 327_680),
    "tie-default-gemma": (8_537_680_896, 17_075_361_792, 458_752),
    "nested-text-config": (24_011_545_600, 48_023_091_200, 163_840),
    "window-longer-than-context": (3_836_021_760, 7_672_043_520, 131_072),
}
"""Parameters, weight bytes, KV bytes per token; the first is 32.76B, 34.3 GB in its README, and so on."""


@pytest.mark.parametrize("case", CASES)
def test_shared_cases(shared_data: Path, case: str) -> None:
    """Files that users reported, each with its right values."""
    folder = shared_data.parent / "cases" / case
    system = load_config(folder / "case.yaml").systems["e"]
    assert isinstance(system, EngineSystem)
    model = system.served_model(folder)
    assert model is not None
    assert (model.params, model.weight_bytes, model.kv_bytes_per_token) == CASES[case]


def test_ranks_that_share_experts_wait_for_each_other(tmp_path: Path) -> None:
    """In vLLM's engine; those of a dense model are engines of their own, SGLang's are said not to wait."""

    def notes(**options: Any) -> str:
        found = config(tmp_path, **options, data_parallel=2)
        return " ".join(run(found).summary()["systems"]["e"]["notes"])

    experts = {"model": "qwen3-30b-a3b", "expert_parallel": 2}
    assert "as long as that of the slowest of them" in notes(**experts)
    assert "data parallel ranks wait" in notes(**experts, engine={"kind": "sglang"})
    assert "data parallel" not in notes(model="llama-3.1-8b")
