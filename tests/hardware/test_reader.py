"""What a config.json says, and what its class says where it is silent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.hardware import catalogue, reader
from sim.hardware.model import Model
from sim.hardware.reader.families import FAMILIES
from workloads.errors import InputError

FIXTURES = Path(__file__).parents[1] / "fixtures"
CONFIGS: list[dict[str, Any]] = yaml.safe_load((FIXTURES / "published_configs.yaml").read_text())
CLASS_COUNTS: list[dict[str, Any]] = yaml.safe_load((FIXTURES / "class_counts.yaml").read_text())
ATTENTION = {
    "hidden_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 2,
    "head_dim": 128, "intermediate_size": 4096, "vocab_size": 32000, "max_position_embeddings": 32768,
}  # fmt: skip


def read(**raw: Any) -> Model:
    """The model of a configuration of eight layers, with changes."""
    return reader.read({**ATTENTION, **raw}, "config.json")


@pytest.mark.parametrize("entry", CONFIGS, ids=lambda entry: str(entry["model"]))
def test_published_counts(entry: dict[str, Any]) -> None:
    """Families beside those of the catalogue: parameters as the checkpoints have them, to the digit."""
    assert reader.read(entry["config"], "config.json").params == entry["parameters"]


@pytest.mark.parametrize(
    "entry", CLASS_COUNTS, ids=lambda entry: f"{entry['config']['model_type']}-{entry['parameters']}"
)
def test_absent_keys_are_what_the_class_makes_them(entry: dict[str, Any]) -> None:
    """Heads, ties, norms, biases, indexers that a file leaves out, and keys under their other names."""
    assert reader.read(entry["config"], "config.json").params == entry["parameters"]


def test_ernie_and_a_pattern_of_layers() -> None:
    """Two files in which a dense reading finds 3.3 in place of 21.8 x 10^9, and four times the KV."""
    ernie = reader.read(
        {
            "model_type": "ernie4_5_moe", "num_hidden_layers": 28, "hidden_size": 2560,
            "num_attention_heads": 20,
            "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 12288,
            "moe_intermediate_size": 1536,
            "moe_num_experts": 64, "moe_num_shared_experts": 2, "moe_k": 6, "moe_layer_start_index": 1,
            "moe_layer_end_index": 27, "vocab_size": 103424, "max_position_embeddings": 131072,
        },
        "config.json",
    )  # fmt: skip
    assert (ernie.params, round(ernie.active_params, -8)) == (21_825_437_888, 3_400_000_000)
    hybrid = read(
        model_type="nemotron_h", hybrid_override_pattern="M-M*M-M*", mamba_num_heads=32, mamba_head_dim=64,
        ssm_state_size=128,
    )  # fmt: skip
    assert hybrid.kv_bytes_per_token == 2 * 2 * 2 * 128 * 2
    conv, state = 3 * (32 * 64 + 2 * 8 * 128) * 2, 32 * 64 * 128 * 2
    assert hybrid.state_bytes_per_request == 4 * (conv + state)
    assert hybrid.group_names() == ["full", "mamba:align", "mamba:align"]


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ({"model_type": "llama"}, ["full"]),
        ({"model_type": "mistral"}, ["swa:4096"]),
        ({"model_type": "mistral", "sliding_window": None}, ["full"]),
        ({"model_type": "phi3", "sliding_window": 262144}, ["full"]),
        ({"model_type": "phi3", "sliding_window": 2047}, ["swa:2047"]),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}, ["full"]),
        (
            {
                "model_type": "qwen2",
                "sliding_window": 512,
                "use_sliding_window": True,
                "max_window_layers": 4,
            },
            ["full", "swa:512"],
        ),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 4},
            ["full", "swa:4096"],
        ),
        ({"model_type": "smollm3", "sliding_window": 512, "use_sliding_window": False}, ["full"]),
        ({"model_type": "gemma2", "sliding_window": 1024}, ["full", "swa:1024"]),
        ({"model_type": "gemma3_text", "sliding_window": 512}, ["full"] + ["swa:512"] * 7),
        ({"model_type": "cohere2", "sliding_window": 512}, ["full"] + ["swa:512"] * 3),
        (
            {"model_type": "exaone4", "sliding_window": 512, "sliding_window_pattern": "LLLG"},
            ["full"] + ["swa:512"] * 3,
        ),
        ({"model_type": "llama", "layer_types": ["full_attention"] * 8}, ["full"]),
        ({"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2}, ["full", "swa:128"]),
        (
            {"model_type": "llama4_text", "attention_chunk_size": 256, "intermediate_size_mlp": 64},
            ["full"] + ["chunk:256"] * 3,
        ),
        (
            {"model_type": "llama4_text", "attention_chunk_size": 256, "no_rope_layer_interval": 2},
            ["full", "chunk:256"],
        ),
        ({"model_type": "llama4_text", "attention_chunk_size": 32768}, ["full"]),
        (
            {
                "model_type": "granitemoehybrid",
                "layer_types": ["mamba"] * 6 + ["attention"] * 2,
                "mamba_n_heads": 32,
                "num_local_experts": 0,
            },
            ["full"] + ["mamba:align"] * 3,
        ),
        (
            {
                "model_type": "qwen3_next",
                "num_experts": 4,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": 64,
            },
            ["full"] + ["mamba:align"] * 3,
        ),
    ],
    ids=lambda value: str(value.get("model_type")) if isinstance(value, dict) else "",
)
def test_groups(raw: dict[str, Any], names: list[str]) -> None:
    """Which layers see what, by the file or by the class's pattern; groups as vLLM forms them."""
    assert read(**raw).group_names() == names


def test_kv_of_one_request() -> None:
    """gpt-oss 120B: 18 layers keep everything, 18 the last 128 tokens, 2,048 bytes a layer and token."""
    model = catalogue.model("gpt-oss-120b", Path())
    assert model.kv_bytes(100) == 36 * 2048 * 100
    assert model.kv_bytes(1000) == 18 * 2048 * (1000 + 128)
    scout = catalogue.model("llama-4-scout", Path())
    assert scout.kv_bytes(8192) == 48 * 4096 * 8192
    assert scout.kv_bytes(8193) == 4096 * (12 * 8193 + 36)


def test_layers_that_share_kv() -> None:
    """Gemma 4's last layers attend to the KV of others: no matrices for it, nothing kept."""
    raw = {
        "model_type": "gemma4_text", "hidden_size_per_layer_input": 0, "sliding_window": 512,
        "layer_types": ["sliding_attention", "full_attention"] * 4,
    }  # fmt: skip
    alone, shared = read(**raw), read(**raw, num_kv_shared_layers=4)
    assert [group.layers for group in alone.kv_groups] == [4, 4]
    assert [group.layers for group in shared.kv_groups] == [2, 2]
    saved = 4 * 1024 * 2 * 2 * (128 + 512) // 2
    assert alone.params - shared.params == saved
    assert all(layer.shared for layer in shared.layers[4:])


def test_a_tower_for_sound() -> None:
    """Gemma 4's small models hear: 12 layers of 24 matrices of 1024 x 1024, as far as it matters."""
    text = {**ATTENTION, "model_type": "gemma4_text", "hidden_size_per_layer_input": 0}
    silent = reader.read({"model_type": "gemma4", "text_config": text}, "config.json")
    audio = {"hidden_size": 1024, "num_hidden_layers": 12}
    heard = reader.read({"model_type": "gemma4", "text_config": text, "audio_config": audio}, "config.json")
    assert heard.params - silent.params == pytest.approx(12 * 24 * 1024**2, rel=0.02)
    assert heard.active_params == silent.active_params


def test_tied_by_class() -> None:
    """Where a file says nothing: Gemma, Cohere, GPT-2 tie their tables, Llama and Qwen do not."""
    table = 1024 * 32000
    ties = {"gemma": True, "cohere": True, "starcoder2": True, "llama": False, "qwen3": False}
    for family, tied in ties.items():
        said = read(model_type=family, tie_word_embeddings=not tied)
        assert said.params - read(model_type=family).params == (table if tied else -table), family


def test_a_folder(tmp_path: Path) -> None:
    """Of a checkpoint: its config.json; a name of the catalogue goes first."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**ATTENTION, "model_type": "llama"}))
    model = catalogue.model("checkpoint", tmp_path)
    assert model.name == "checkpoint"
    assert model == catalogue.model("checkpoint/config.json", tmp_path)
    named = tmp_path / "OWNER--NAME_config.json"
    named.write_text((folder / "config.json").read_text())
    assert catalogue.model(named.name, tmp_path).name == "OWNER--NAME"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"model_type": "t5"}, "model_type = 't5'; allowed: apertus, "),
        (
            {"model_type": "mistral3", "text_config": {"model_type": "rwkv"}},
            "text_config.model_type = 'rwkv'; allowed: ",
        ),
        ({"model_type": "mistral3", "text_config": 3}, "text_config = 3; allowed: an object"),
        ({"model_type": "mixtral"}, None),
        (
            {"model_type": "mixtral", "num_experts_per_tok": 9},
            "9 experts per token; allowed: at most all 8",
        ),
        ({"model_type": "deepseek_v3"}, "kv_lora_rank = None; allowed: a valid integer"),
        (
            {"model_type": "nemotron_h", "hybrid_override_pattern": "MX"},
            "hybrid_override_pattern = 'MX'; allowed: one of M",
        ),
        (
            {
                "model_type": "minimax",
                "attn_type_list": [0] * 8,
                "num_local_experts": 2,
                "num_experts_per_tok": 1,
            },
            "no layer has attention",
        ),
        (
            {
                "model_type": "mistral3",
                "text_config": {**ATTENTION, "model_type": "mistral"},
                "vision_config": {"num_hidden_layers": 10**9},
            },
            "vision_config.num_hidden_layers = 1000000000; allowed: at most 2000",
        ),
        ({"model_type": "nemotron_h"}, "layers_block_type = None; allowed: a list of mamba"),
        (
            {
                "model_type": "minimax",
                "attn_type_list": [1],
                "num_local_experts": 2,
                "num_experts_per_tok": 1,
            },
            "attn_type_list = [1]; allowed: a list of 8",
        ),
        (
            {"model_type": "gemma2", "layer_types": ["linear"] * 8},
            "allowed: a list of 8 of sliding_attention, full_attention",
        ),
        ({"model_type": "exaone4", "sliding_window_pattern": "ABC"}, "sliding_window_pattern = 'ABC'"),
        (
            {
                "model_type": "llava",
                "text_config": {**ATTENTION, "model_type": "llama"},
                "audio_config": {},
            },
            "audio_config = {}; allowed: none",
        ),
        ({"model_type": "opt", "word_embed_proj_dim": 512}, "word_embed_proj_dim = 512; allowed: 1024"),
        ({"model_type": "nemotron-nas", "block_configs": []}, "block_configs = []; allowed: a list of 8"),
        (
            {"model_type": "llama", "num_key_value_heads": True},
            "num_key_value_heads = True; allowed: a valid integer",
        ),
        ({"model_type": "deepseek_v4", "compress_ratios": [3] * 8}, "compress_ratios = [3, 3, "),
        (
            {"model_type": "mimo_v2_flash", "hybrid_layer_pattern": [1], "swa_num_key_value_heads": 2},
            "v_head_dim = None",
        ),
        (
            {
                "model_type": "llava",
                "vision_config": {"model_type": "vit"},
                "text_config": {"model_type": "llama"},
            },
            "vision_config.model_type = 'vit'",
        ),
    ],
)
def test_what_is_refused(raw: dict[str, Any], said: str | None) -> None:
    """By key and value, with what is allowed; None: nothing is."""
    if said is None:
        read(**raw)
        return
    with pytest.raises(InputError) as error:
        read(**raw)
    assert said in str(error.value)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_nothing_but_input_errors(family: str) -> None:
    """A file with a model_type alone, or with nonsense for every key, is refused with one message."""
    for raw in (
        {},
        dict.fromkeys(ATTENTION, "x"),
        dict.fromkeys(ATTENTION, -1),
        {**ATTENTION, "text_config": {}},
    ):
        said = "allowed"
        try:
            reader.read({**raw, "model_type": family}, "config.json")
        except InputError as error:
            said = str(error)
        assert "allowed" in said or "must be" in said


def test_parts_around_a_known_decoder() -> None:
    """A model of several parts that is not known says which of them is, and what to do."""
    raw = {"model_type": "internvl", "text_config": {**ATTENTION, "model_type": "qwen2"}}
    with pytest.raises(InputError) as error:
        reader.read(raw, "config.json")
    assert "model_type = 'internvl'; allowed: apertus," in str(error.value)
    assert str(error.value).endswith(
        "; its text_config is a qwen2: in a config.json of its own it is read, without the other parts"
    )


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"model_type": "llama", "num_local_experts": 8}, "num_local_experts = 8; allowed: none: a llama"),
        ({"model_type": "qwen2", "moe_num_experts": 64}, "moe_num_experts = 64; allowed: none: a qwen2"),
        ({"model_type": "llama", "hybrid_override_pattern": "M*"}, "hybrid_override_pattern = 'M*'"),
        ({"model_type": "granite", "layers_block_type": ["mamba"] * 8}, "plain attention in each layer"),
        ({"model_type": "mistral", "kv_lora_rank": 512}, "kv_lora_rank = 512"),
    ],
)
def test_a_dense_class_with_other_layers(raw: dict[str, Any], said: str) -> None:
    """Keys of mixtures and hybrids are not passed over because the class is a dense one."""
    with pytest.raises(InputError) as error:
        read(**raw)
    assert said in str(error.value)
    read(model_type="hunyuan_v1_dense", num_experts=1, kv_lora_rank=512, use_mla=False)
