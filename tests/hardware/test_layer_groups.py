"""The groups of a model's layers as an engine's cache: which are kept, and how many blocks there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.experiment import run
from sim.hardware import catalogue
from sim.systems.layer_groups import block_part
from tests.hardware.test_model_options import config, engine
from workloads.errors import InputError


@pytest.mark.parametrize(
    ("model", "groups"),
    [
        ("gemma-3-4b", ["full"] + ["swa:1024"] * 6),
        ("gpt-oss-20b", ["full", "swa:128"]),
        ("llama-3.1-8b", None),
        ("gemma-4-26b-a4b", None),  # its windows keep twice the bytes of its other layers
        ("qwen3-next-80b-a3b", None),  # states
    ],
)
@pytest.mark.parametrize("kind", ["block", "none"])
def test_groups_of_the_model(tmp_path: Path, model: str, groups: list[str] | None, kind: str) -> None:
    """They are the cache's where it says none, if blocks of all of them are alike."""
    found = engine(tmp_path, model=model, cache={"kind": kind}, tensor_parallel=2)
    resolved = found.resolved("e", tmp_path)
    assert getattr(resolved.cache, "groups", None) == groups


def test_a_run_with_the_groups_of_its_model(tmp_path: Path) -> None:
    """Its requests are served, and no note says that windows take no blocks; with one group one does."""
    said = "approximate: KV of layers with a window takes no blocks"
    many = run(config(tmp_path, model="gpt-oss-20b")).runs["e"]
    one = run(config(tmp_path, model="gpt-oss-20b", cache={"kind": "block", "groups": ["full"]})).runs["e"]
    assert set(many.records.status.tolist()) == {"completed"}
    assert said not in many.notes and said in one.notes


@pytest.mark.parametrize(
    "other", [{"cache": {"kind": "block", "eviction": "fifo"}}, {"engine": {"kind": "sglang"}}]
)
def test_one_group_stands_for_those_that_cannot_be_kept(tmp_path: Path, other: dict[str, Any]) -> None:
    found = engine(tmp_path, model="gpt-oss-20b", **other).resolved("e", tmp_path)
    assert getattr(found.cache, "groups", None) is None


def test_groups_go_with_vllm_only(tmp_path: Path) -> None:
    cache = {"kind": "none", "groups": ["full", "swa:128"]}
    with pytest.raises(InputError, match="SGLang has none"):
        engine(tmp_path, model="gpt-oss-20b", engine={"kind": "sglang"}, cache=cache).resolved(
            "e", tmp_path
        )


def test_what_a_block_holds() -> None:
    """Groups of 10 of 62 layers: as much as the 10 full ones; equal layers in two groups: half of them."""
    gemma, llama = (catalogue.model(name, Path()) for name in ("gemma-3-27b", "llama-3.1-8b"))
    assert block_part(gemma, gemma.group_names()) == block_part(gemma, ["full"]) == 1
    assert block_part(llama, ["full", "swa:128"]) * 2 == block_part(llama, ["full"]) == 1


def test_too_long_for_all_groups(tmp_path: Path) -> None:
    """A window holds only what is in flight besides, so a long prompt fits where two full groups would
    not."""
    limits = {"kind": "vllm", "max_num_batched_tokens": 64, "max_num_seqs": 4, "async_scheduling": False}
    options = {"model": "llama-3.1-8b", "memory": {"kv_blocks": 111}, "engine": limits}
    groups = ["full", "swa:33"]
    pool = engine(tmp_path, cache={"kind": "block", "groups": groups}, **options).resolved("e", tmp_path)
    # The window: 32 + 64 tokens in 6 blocks and one that it begins inside of; so 103 for full attention.
    assert not pool.too_long(103 * 16, 1, 16, groups)
    assert pool.too_long(103 * 16, 2, 16, groups)
    assert pool.too_long(60 * 16, 1, 16, ["full", "full"])
