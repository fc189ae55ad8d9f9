"""Bytes of quantised checkpoints, by the formats and the modules that configurations name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.hardware import catalogue, reader
from sim.hardware.model import Model
from sim.hardware.reader.modules import Modules
from workloads.errors import InputError

D, FFN, LAYERS, VOCABULARY = 1024, 4096, 2, 1000
LLAMA = {
    "model_type": "llama", "hidden_size": D, "intermediate_size": FFN, "num_hidden_layers": LAYERS,
    "num_attention_heads": 8, "vocab_size": VOCABULARY, "max_position_embeddings": 2048,
    "dtype": "bfloat16",
}  # fmt: skip
SQUARE, WIDE = D * D, D * FFN
MATRICES = LAYERS * (4 * SQUARE + 3 * WIDE)
REST = 2 * VOCABULARY * D + D * (2 * LAYERS + 1)
"""Values of embedding, head and norms: 16 bit in any format."""
EXPERTS = {
    **LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip


def read(quantization: dict[str, Any] | None, base: dict[str, Any] = LLAMA, **options: str) -> Model:
    """A small model with that quantization_config."""
    raw = base if quantization is None else {**base, "quantization_config": quantization}
    return reader.read(raw, "config.json", **options)


def scaled(group: int, scale: float) -> float:
    """Bytes of scales for groups of ``group`` inputs in all matrices."""
    return MATRICES / group * scale


BLOCKS = LAYERS * (4 * (8 * 8) + 3 * (8 * 32))
ROWS = LAYERS * (4 * D + 2 * FFN + D)


@pytest.mark.parametrize(
    ("quantization", "matrices"),
    [
        (None, 2 * MATRICES),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, MATRICES + 4 * BLOCKS),
        ({"quant_method": "fp8"}, MATRICES + 8 * 7 * LAYERS),
        ({"quant_method": "fbgemm_fp8"}, MATRICES + 4 * ROWS),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
            MATRICES / 2 + scaled(128, 2.5),
        ),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": False},
            MATRICES / 2 + scaled(64, 2),
        ),
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 128},
            MATRICES / 2 + scaled(128, 2.5) + 4 * LAYERS * (6 * D + FFN),
        ),
        (
            {"quant_method": "gptq", "bits": 8, "group_size": -1},
            MATRICES + 3 * ROWS + 4 * LAYERS * (6 * D + FFN),
        ),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, MATRICES + 8 * 7 * LAYERS),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, MATRICES / 2 + scaled(16, 1)),
        (
            {"quant_method": "modelopt_fp4", "quantization": {"quant_algo": "NVFP4"}},
            MATRICES / 2 + scaled(16, 1),
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, MATRICES / 2 + scaled(64, 4)),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {
                    "group_0": {
                        "targets": ["Linear"],
                        "weights": {
                            "num_bits": 4,
                            "type": "int",
                            "strategy": "group",
                            "group_size": 128,
                            "symmetric": True,
                        },
                    }
                },
            },
            MATRICES / 2 + scaled(128, 2),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {
                        "targets": ["Linear"],
                        "input_activations": {"num_bits": 8, "type": "int"},
                        "weights": {"num_bits": 8, "type": "int", "strategy": "channel"},
                    }
                },
            },
            MATRICES + 2 * ROWS,
        ),
    ],
)
def test_bytes(quantization: dict[str, Any] | None, matrices: float) -> None:
    """Matrices in their format with scales and zero points, everything else in 16 bit."""
    assert read(quantization).weight_bytes == round(matrices + 2 * REST)


def test_modules_left_out_stay_in_16_bit() -> None:
    """By full name, by part, by pattern, by expression, with a wrapper's prefix or without."""
    fp8 = {"quant_method": "modelopt", "quant_algo": "FP8"}
    down = LAYERS * (WIDE - 8)
    for names in (
        ["down_proj"], ["mlp.down_proj"], ["re:.*down_proj$"], ["model.layers.*.mlp.down_proj"],
        ["model.language_model.layers.0.mlp.down_proj", "layers.1.mlp.down_proj*"],
        ["lm_head", "*down_proj"],
    ):  # fmt: skip
        assert read({**fp8, "ignore": names}).weight_bytes - read(fp8).weight_bytes == down, names
    assert read({**fp8, "ignore": ["gate"]}).weight_bytes == read(fp8).weight_bytes, "gate is not gate_proj"
    assert "model.layers.1.mlp.up_proj" not in Modules(["model.layers.10.*"])


def test_experts_alone() -> None:
    """MXFP4 is about routed experts: 4.25 bits a value."""
    model = read({"quant_method": "mxfp4"}, EXPERTS)
    experts = LAYERS * 4 * 3 * WIDE
    assert model.weight_bytes == 2 * (model.params - experts) + experts * 4.25 / 8
    assert {w.compute for layer in model.layers for w in layer.weights} == {"16"}


def test_mixed_precision() -> None:
    """Modules by name, each in its format; the rest in 16 bit. Several schemes of compressed-tensors."""
    listed = {
        "model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
        "language_model.model.layers.1.mlp": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
    }
    model = read({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": listed})
    saved = SQUARE - 8 + 3 * WIDE * (2 - 4.5 / 8)
    assert model.weight_bytes == 2 * (MATRICES + REST) - saved
    groups = {
        "group_0": {
            "targets": ["re:.*self_attn.*"],
            "weights": {"num_bits": 8, "type": "float", "strategy": "tensor"},
        },
        "group_1": {
            "targets": ["Linear"],
            "weights": {"num_bits": 4, "group_size": 32, "strategy": "group"},
        },
    }
    model = read({"quant_method": "compressed-tensors", "config_groups": groups})
    attention, rest = LAYERS * 4 * (SQUARE + 8), LAYERS * 3 * WIDE * (4.5 / 8)
    assert model.weight_bytes == attention + rest + 2 * REST


def test_other_names_of_methods() -> None:
    """In capitals, as vLLM names its kernels, or by the flags alone."""
    for usual, other in (
        ({"quant_method": "fp8"}, {"quant_method": "FP8"}),
        ({"quant_method": "awq", "bits": 4}, {"quant_method": "awq_marlin", "bits": 4}),
        ({"quant_method": "auto-round", "bits": 4}, {"quant_method": "auto_round", "bits": 4}),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {"load_in_4bit": True}),
    ):
        assert read(other).weight_bytes == read(usual).weight_bytes < read(None).weight_bytes


def test_other_ways_to_say_it() -> None:
    """compression_config; single modules of GPTQModel and AutoRound, left out or in other bits."""
    scheme = {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 8}}}}
    early = reader.read({**LLAMA, "compression_config": scheme}, "config.json")
    assert early.weight_bytes == read(scheme).weight_bytes < read(None).weight_bytes
    whole = {"bits": 4, "group_size": 128}
    scaled_4, scaled_8 = (bits / 8 + (2 + bits / 8) / 128 for bits in (4, 8))
    gptq = {"quant_method": "gptq", **whole}
    dynamic = {"-:model.layers.0.mlp.down_proj": {}, r"+:.*\.up_proj": {"bits": 8}}
    saved = read(gptq).weight_bytes - read({**gptq, "dynamic": dynamic}).weight_bytes
    left_out = WIDE * (2 - scaled_4) - 4 * FFN  # and its order of inputs
    assert -saved == left_out + 2 * WIDE * (scaled_8 - scaled_4)
    rounded = {"quant_method": "auto-round", **whole}
    extra = {"model.layers.0.mlp.down_proj": {"bits": 16}, "layers.1.mlp.up_proj": {"bits": 8}}
    assert read(rounded).weight_bytes == MATRICES * scaled_4 + 2 * REST
    saved = read(rounded).weight_bytes - read({**rounded, "extra_config": extra}).weight_bytes
    assert -saved == WIDE * (2 - scaled_4) + WIDE * (scaled_8 - scaled_4)


def test_a_file_beside(tmp_path: Path) -> None:
    """hf_quant_config.json counts where config.json says nothing of quantisation."""
    import json

    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    plain = catalogue.model(str(tmp_path), tmp_path)
    beside = {
        "producer": {"name": "modelopt"},
        "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    }
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(beside))
    model = catalogue.model(str(tmp_path / "config.json"), tmp_path)
    assert plain.weight_bytes - model.weight_bytes == MATRICES - 8 * 7 * LAYERS
    assert (model.kv_cache_dtype, model.kv_bytes_per_token) == ("fp8", plain.kv_bytes_per_token // 2)


@pytest.mark.parametrize(
    ("name", "written", "method"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": False}, "gptq"),
        ("quant_config.json", {"w_bit": 4, "q_group_size": 128, "zero_point": True}, "awq"),
    ],
)
def test_early_files_beside(tmp_path: Path, name: str, written: dict[str, Any], method: str) -> None:
    """AutoGPTQ and AutoAWQ wrote files of their own before config.json had a place for it."""
    import json

    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / name).write_text(json.dumps(written))
    model = catalogue.model(str(tmp_path), tmp_path)
    assert model.weight_bytes == read({"quant_method": method, **written}).weight_bytes
    assert model.quantization == f"{method} 4 bit"


def test_data_types() -> None:
    """vLLM's options: files in 32 bit are served in 16; the KV follows, or is asked for."""
    wide = {**LLAMA, "dtype": "float32"}
    assert read(None, wide).weight_bytes == read(None).weight_bytes
    assert read(None, wide, dtype="float32").weight_bytes == 2 * read(None).weight_bytes
    kv = read(None).kv_bytes_per_token
    assert kv == 2 * LAYERS * D * 2
    assert read(None, wide, dtype="float").kv_bytes_per_token == 2 * kv
    assert read(None, kv_cache_dtype="fp8").kv_bytes_per_token == kv // 2
    scheme = {"kv_cache_scheme": {"num_bits": 8, "type": "float"}}
    assert read({"quant_method": "fp8", **scheme}).kv_bytes_per_token == kv // 2
    assert read({"quant_method": "fp8", **scheme}, kv_cache_dtype="bfloat16").kv_bytes_per_token == kv


def test_layouts_of_sparse_attention() -> None:
    """DSA in fp8: 656 bytes of latent and 132 of the indexer's key; in 16 bit 1,152 and 132."""
    wide = catalogue.model("deepseek-v3.2", Path())
    narrow = catalogue.model("deepseek-v3.2", Path(), kv_cache_dtype="fp8")
    assert (wide.kv_bytes_per_token, narrow.kv_bytes_per_token) == (61 * (1152 + 132), 61 * (656 + 132))
    assert catalogue.model("deepseek-v3", Path(), kv_cache_dtype="fp8").kv_bytes_per_token == 61 * 576


@pytest.mark.parametrize(
    ("quantization", "said"),
    [
        ({"quant_method": "quark"}, "quantization_config.quant_method = 'quark'; allowed: fp8,"),
        ({"quant_method": "modelopt", "quant_algo": "INT3"}, "quant_algo = 'INT3'; allowed: FP8,"),
        ({"quant_method": "awq", "bits": 5}, "bits = 5; allowed: 2, 3, 4, 8"),
        (
            {"quant_method": "fp8", "weight_block_size": [128]},
            "weight_block_size = [128]; allowed: two numbers",
        ),
        ({"quant_method": "fp8", "ignore": "lm_head"}, "ignore = 'lm_head'; allowed: a list of names"),
        ({"quant_method": "fp8", "ignore": ["re:("]}, "in a regular expression"),
        ({"quant_method": "gptq", "lm_head": True}, "lm_head = True; allowed: false"),
        ({"quant_method": "auto-round", "data_type": "mx_fp"}, "data_type = 'mx_fp'; allowed: int"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 8}}},
                "sparsity_config": {"format": "sparse-24-bitmask"},
            },
            "sparsity_config.format = 'sparse-24-bitmask'; allowed: dense",
        ),
        ({"quant_method": "compressed-tensors"}, "config_groups = None; allowed: an object"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "g": {"weights": {"num_bits": 8, "strategy": "block", "block_structure": [0, 128]}}
                },
            },
            "weights.block_structure = [0, 128]; allowed: two numbers above 0",
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": {}},
            "config_groups = {}; allowed: at least one",
        ),
        (
            {
                "quant_method": "modelopt",
                "quant_algo": "MIXED_PRECISION",
                "quantized_layers": {"a": {"quant_algo": "?"}},
            },
            "quantized_layers.a.quant_algo = '?'",
        ),
    ],
)
def test_what_is_not_known_is_refused(quantization: dict[str, Any], said: str) -> None:
    """By key and value, with what is allowed."""
    with pytest.raises(InputError) as error:
        read(quantization)
    assert said in str(error.value)
