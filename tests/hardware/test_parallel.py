"""What tensor, pipeline, expert and data parallelism divide, and what every GPU has a copy of."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.hardware import catalogue
from sim.hardware.by_hand import ModelByHand
from sim.hardware.parallel import Parallel, stages


@pytest.mark.parametrize("name", catalogue.names("models"))
def test_together_they_hold_everything(name: str) -> None:
    """No GPU holds less than its share, none more than all; one GPU holds the whole."""
    model = catalogue.model(name, Path())
    assert model.weight_bytes_per_gpu() == pytest.approx(model.weight_bytes, abs=1)
    assert model.kv_bytes_per_token_per_gpu() == model.kv_bytes_per_token
    ways = [Parallel(tensor=8), Parallel(pipeline=2), Parallel(tensor=2, data=4), Parallel(2, 2, 4, 2)]
    for way in ways:
        if way.expert > model.experts or way.pipeline > len(model.layers):
            continue
        held = model.weight_bytes_per_gpu(way)
        assert model.weight_bytes / way.gpus <= held + 1 <= model.weight_bytes + 2, way
        kv = model.kv_bytes_per_token_per_gpu(way)
        assert (
            model.kv_bytes_per_token / (way.tensor * way.pipeline) <= kv + 1 <= model.kv_bytes_per_token + 2
        )


def test_kv_heads_fewer_than_gpus_are_copied() -> None:
    """Qwen3 30B has 4 KV heads: 8 GPUs hold each twice, and its matrices for k and v too."""
    model = catalogue.model("qwen3-30b-a3b", Path())
    assert model.kv_bytes_per_token_per_gpu(Parallel(tensor=4)) == 98_304 // 4
    assert model.kv_bytes_per_token_per_gpu(Parallel(tensor=8)) == 98_304 // 4
    four, eight = (model.weight_bytes_per_gpu(Parallel(tensor=n)) for n in (4, 8))
    key_and_value = 48 * 2 * 2048 * 128 * 2  # a head's, in 16 bit
    norms_and_routers = 2 * (48 * (2 * 2048 + 256 + 128 * 2048) + 2048)
    copied = norms_and_routers + key_and_value
    assert four - copied == pytest.approx(2 * (eight - copied), rel=1e-9)


def test_latents_are_copied() -> None:
    """Every tensor parallel GPU holds all of MLA's KV; data parallel ranks only their own requests'."""
    model = catalogue.model("deepseek-v3", Path())
    assert model.kv_bytes_per_token_per_gpu(Parallel(tensor=8)) == 70_272


def test_experts_of_deepseek_v3() -> None:
    """256 experts in 58 layers, 44,040,192 parameters each in fp8 with scales for blocks of 128 x 128.

    Tensor 8 holds an eighth of each, expert 8 holds 32 whole ones: the same bytes. Attention data
    parallel copies all but the experts.
    """
    model = catalogue.model("deepseek-v3", Path())
    experts = 58 * 256 * 3 * (7168 * 2048 + 4 * 56 * 16)
    sliced = model.weight_bytes_per_gpu(Parallel(tensor=8))
    whole = model.weight_bytes_per_gpu(Parallel(tensor=8, expert=8))
    assert sliced == whole
    copied = model.weight_bytes_per_gpu(Parallel(data=8, expert=8))
    assert copied == model.weight_bytes - experts + experts // 8
    sixty = model.weight_bytes_per_gpu(Parallel(data=60, expert=60))  # 256 / 60: some hold 5
    assert sixty == pytest.approx(model.weight_bytes - experts + experts * 5 / 256, abs=1)


def test_pipeline_stages_are_vllms() -> None:
    """What does not divide goes to the stages before the last."""
    assert [len(stage) for stage in stages(61, 4)] == [15, 15, 16, 15]
    assert [len(stage) for stage in stages(62, 4)] == [15, 16, 16, 15]
    assert [len(stage) for stage in stages(80, 8)] == [10] * 8
    model = catalogue.model("llama-3.1-70b", Path())
    two = model.weight_bytes_per_gpu(Parallel(pipeline=2))
    table, layer = 2 * 128_256 * 8192, 2 * model.layers[0].params
    assert two == 40 * layer + table + 2 * 8192  # the second: head and last norm
    assert model.kv_bytes_per_token_per_gpu(Parallel(pipeline=2)) == 327_680 // 2


def test_by_hand() -> None:
    """Figures come back as given; what is not active are experts."""
    model = ModelByHand(
        parameters=30_532_122_624, active_parameters=3_350_000_000, kv_bytes_per_token=98_304, kv_heads=4,
        experts=128, experts_per_token=8, state_bytes_per_request=1000,
    ).model()  # fmt: skip
    assert (model.params, model.kv_bytes_per_token, model.state_bytes_per_request) == (
        30_532_122_624,
        98_304,
        1000,
    )
    assert model.active_params == pytest.approx(3.35e9, rel=1e-6)
    assert model.weight_bytes == 2 * model.params
    assert model.kv_bytes_per_token_per_gpu(Parallel(tensor=8)) == 98_304 // 4
    plain = ModelByHand(parameters=7_000_000_001, kv_bytes_per_token=131_072, weight_bytes=3.5e9).model()
    assert (plain.params, plain.active_params, plain.weight_bytes) == (
        7_000_000_001,
        7_000_000_001,
        3_500_000_000,
    )
    assert plain.weight_bytes_per_gpu(Parallel(tensor=3)) == pytest.approx(3.5e9 / 3, rel=1e-6)
