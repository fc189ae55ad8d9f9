"""Decoders with one feed-forward in each layer: Llama and its relatives, and older shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sim.hardware.dense import DenseDecoder
from sim.hardware.model import Layer, Model
from sim.hardware.reader.assemble import (
    SLIDING,
    assemble,
    every,
    grouped_heads,
    layer_count,
    layer_kinds,
    seen,
    window,
)
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import INPUT_AND_POST, Served, Weights, linear, mlp, norms, vector

FOUR_NORMS = (*INPUT_AND_POST, "pre_feedforward_layernorm", "post_feedforward_layernorm")


@dataclass(frozen=True)
class Shape:
    """What a class of configurations fixes, or assumes where a file says nothing."""

    tied: bool = False
    bias: bool = False
    """On q, k and v, where ``attention_bias`` is absent."""
    out_bias: bool | None = None
    """On the attention's output matrix; None: as ``attention_bias`` says."""
    bias_key: str = "attention_bias"
    mlp_bias: bool = False
    mlp_bias_key: str = "no bias"
    matrices: int = 3
    qk_norm: str = ""
    """As `Heads.norms` has it."""
    qk_norm_key: str = ""
    """The key that says whether there are such norms; empty: there are."""
    norms: tuple[str, ...] = INPUT_AND_POST
    norm_bias: bool = False
    parallel_key: str = ""
    """The key that says whether a feed-forward beside attention shares its norm."""
    last_norm: bool = True
    activation: int = 0
    """Learned numbers of each layer's activation."""
    head_bias: bool = False
    window: int | None = None
    """Tokens of the sliding window where the key is absent."""
    period: int = 1
    """Of so many layers the last has full attention (1: a window, if there is one, is on all)."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The family's name of a key, by the usual name."""
    ffn: int = 0
    """Feed-forward width in hidden sizes, where ``intermediate_size`` is absent."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    """The class's sizes: files of several parts leave out in ``text_config`` what equals them."""
    positions: int = 0
    """Rows of a learned table of positions: as many as positions, and so many more; 0: no table."""


def read(f: Fields, served: Served, shape: Shape) -> Model:
    """The model of ``f``, a configuration of a class that ``shape`` describes."""
    if shape.renamed:
        usual = {key: f.raw[name] for key, name in shape.renamed.items() if name in f}
        f = Fields({**f.raw, **usual}, f.where, f.prefix)
    if f.prefix:
        f = f.over(**shape.defaults)
    _require_dense(f)
    count, hidden = layer_count(f), f.whole("hidden_size")
    ffn = f.whole("intermediate_size", shape.ffn * hidden or None)
    bias = f.flag(shape.bias_key, shape.bias)
    out_bias = bias if shape.out_bias is None else shape.out_bias
    mlp_bias = f.flag(shape.mlp_bias_key, shape.mlp_bias)
    normed = not shape.qk_norm_key or f.flag(shape.qk_norm_key)
    attention = grouped_heads(f, bias=bias, out_bias=out_bias, norms=shape.qk_norm if normed else "")
    beside = shape.parallel_key and f.flag(shape.parallel_key)
    around = shape.norms[:1] if beside else shape.norms
    size = window(f, default=shape.window)
    for key in ("word_embed_proj_dim", "hidden_size_per_layer_input"):
        if key in f and f.whole(key, least=0) not in (0, hidden):
            f.refuse(key, f"{hidden}, as hidden_size (embeddings of another width are not modelled)")
    kinds = layer_kinds(f, count, SLIDING, _pattern(f, shape, count))
    layers = []
    for i, kind in enumerate(kinds):
        prefix = f"model.layers.{i}."
        weights: Weights = (
            *attention.weights(f"{prefix}self_attn."),
            *mlp(f"{prefix}mlp.", hidden, ffn, shape.matrices, mlp_bias),
            *norms(prefix, hidden, around, shape.norm_bias),
        )
        if shape.activation:
            weights = (*weights, vector(f"{prefix}mlp.act_fn", shape.activation))
        layers.append(Layer(weights, seen(attention, served, kind, size)))
    last = (vector("model.norm", hidden, 2 if shape.norm_bias else 1),) if shape.last_norm else ()
    if shape.positions:
        rows = f.whole("max_position_embeddings") + shape.positions - 1
        last = (*last, linear("model.positions", hidden, rows, linear=False))
    plain = (
        size is None
        and shape.matrices == 3
        and not (out_bias or mlp_bias or shape.norm_bias or shape.head_bias or shape.positions)
        and around == INPUT_AND_POST
        and not shape.activation
    )
    return assemble(
        f, served, layers, tied=shape.tied, head_bias=shape.head_bias, others=last,
        dense=_dense(f, served, shape, bias) if plain else None,
    )  # fmt: skip


MIXTURE = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""Keys of more than one feed-forward in a layer; some dense classes write a 1."""
OTHER_LAYERS = (
    "hybrid_override_pattern", "layers_block_type", "attn_layer_period", "linear_attn_config",
    "ssm_state_size", "mamba_d_state", "kv_lora_rank",
)  # fmt: skip
"""Keys of layers without keys and values per head."""


def _require_dense(f: Fields) -> None:
    """InputError for a file that says it is of a dense class and has what none of these classes has."""
    kind = f.text("model_type")
    for key in MIXTURE:
        if key in f and f.whole(key, least=0) > 1:
            f.refuse(key, f"none: a {kind} has one feed-forward in each layer (is it its model_type?)")
    for key in OTHER_LAYERS:
        if f.raw.get(key) and not (key == "kv_lora_rank" and f.raw.get("use_mla") is False):
            f.refuse(key, f"none: a {kind} has plain attention in each layer (is it its model_type?)")


def _pattern(f: Fields, shape: Shape, count: int) -> list[str]:
    """Which layers have the window: LLLG says it letter by letter, 4 that each fourth has none."""
    key, period = "sliding_window_pattern", shape.period
    if isinstance(f.raw.get(key), str):
        letters = f.text(key)
        if not letters or not set(letters) <= {"L", "G"}:
            f.refuse(key, "letters L (window) and G (full attention), or a number")
        return [SLIDING["LG".index(letters[i % len(letters)])] for i in range(count)]
    period = f.whole(key, period)
    return every(count, period) if period > 1 else [SLIDING[0]] * count


def _dense(f: Fields, served: Served, shape: Shape, bias: bool) -> DenseDecoder:
    heads = grouped_heads(f)
    return DenseDecoder.model_construct(  # the fields are checked
        name="",
        num_hidden_layers=f.whole("num_hidden_layers"),
        hidden_size=heads.hidden,
        num_attention_heads=heads.heads,
        num_key_value_heads=heads.kv_heads,
        head_dim=heads.head_dim,
        intermediate_size=f.whole("intermediate_size"),
        vocab_size=f.whole("vocab_size"),
        max_position_embeddings=f.whole("max_position_embeddings"),
        tie_word_embeddings=f.flag("tie_word_embeddings", shape.tied),
        attention_bias=bias,
        dtype=served.dtype,
    )


LLAMA_7B = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "max_position_embeddings": 2048,
}  # fmt: skip
MISTRAL_7B = {
    **LLAMA_7B, "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072,
}  # fmt: skip
GEMMA = {
    "vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256, "max_position_embeddings": 8192,
}  # fmt: skip
GEMMA2 = {
    "vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192,
}  # fmt: skip
GEMMA3 = {**GEMMA2, "vocab_size": 262208, "max_position_embeddings": 131072}
QWEN2 = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32768,
}  # fmt: skip

SHAPES = {
    "llama": Shape(defaults=LLAMA_7B, mlp_bias_key="mlp_bias"),
    "mistral": Shape(defaults=MISTRAL_7B, window=4096, bias_key="no bias"),
    "ministral": Shape(defaults=MISTRAL_7B, window=4096, bias_key="no bias"),
    "ministral3": Shape(defaults={**MISTRAL_7B, "head_dim": 128}, bias_key="no bias"),
    "gemma": Shape(tied=True, defaults=GEMMA),
    "gemma2": Shape(tied=True, defaults=GEMMA2, norms=FOUR_NORMS, window=4096, period=2),
    "gemma3_text": Shape(
        tied=True, defaults=GEMMA3, norms=FOUR_NORMS, qk_norm="head", window=4096, period=6
    ),
    "granite": Shape(defaults=LLAMA_7B, mlp_bias_key="mlp_bias"),
    "exaone": Shape(renamed={"num_hidden_layers": "num_layers"}, mlp_bias_key="mlp_bias"),
    "internlm2": Shape(bias_key="bias"),
    "minicpm": Shape(tied=True),
    "smollm3": Shape(tied=True, mlp_bias_key="mlp_bias"),
    "seed_oss": Shape(bias=True, out_bias=False, mlp_bias_key="mlp_bias"),
    "olmo": Shape(norms=(), last_norm=False),
    "olmo2": Shape(qk_norm="row"),
    "olmo3": Shape(qk_norm="row", window=4096, period=4),
    "exaone4": Shape(bias_key="no bias", qk_norm="head", window=4096, period=4),
    "glm": Shape(bias=True, out_bias=False),
    "glm4": Shape(bias=True, out_bias=False, norms=FOUR_NORMS),
    "ernie4_5": Shape(tied=True, bias_key="use_bias", mlp_bias_key="use_bias"),
    "hunyuan_v1_dense": Shape(qk_norm="head"),
    "apertus": Shape(matrices=2, qk_norm="head", activation=2),
    "cohere": Shape(tied=True, norms=("input_layernorm",), qk_norm="row", qk_norm_key="use_qk_norm"),
    "cohere2": Shape(tied=True, norms=("input_layernorm",), window=4096, period=4),
    "phi3": Shape(bias_key="no bias"),
    "phi": Shape(
        bias=True, out_bias=True, bias_key="no bias", mlp_bias=True, matrices=2, head_bias=True,
        norms=("input_layernorm",), norm_bias=True,
    ),
    "arcee": Shape(matrices=2, mlp_bias_key="mlp_bias"),
    "helium": Shape(bias_key="attention_bias", out_bias=False, mlp_bias_key="mlp_bias"),
    "gptj": Shape(
        bias_key="no bias", mlp_bias=True, matrices=2, norm_bias=True, ffn=4, head_bias=True,
        norms=("input_layernorm",),
        renamed={
            "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
            "intermediate_size": "n_inner", "max_position_embeddings": "n_positions",
        },
    ),
    "nemotron": Shape(matrices=2, norm_bias=True, mlp_bias_key="mlp_bias"),
    "stablelm": Shape(
        bias_key="use_qkv_bias", out_bias=False, norm_bias=True, qk_norm="row", qk_norm_key="qk_layernorm",
        parallel_key="use_parallel_residual",
    ),
    "starcoder2": Shape(
        tied=True, bias=True, bias_key="use_bias", mlp_bias=True, mlp_bias_key="use_bias", matrices=2,
        norm_bias=True,
    ),
    "gpt_neox": Shape(
        bias=True, mlp_bias=True, mlp_bias_key="no bias", matrices=2, norm_bias=True, ffn=4
    ),
    "gpt2": Shape(
        tied=True, bias=True, bias_key="no bias", mlp_bias=True, matrices=2, norm_bias=True, ffn=4,
        positions=1,
        renamed={
            "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
            "intermediate_size": "n_inner", "max_position_embeddings": "n_positions",
        },
    ),
    "opt": Shape(
        tied=True, bias=True, bias_key="enable_bias", mlp_bias=True, mlp_bias_key="enable_bias", matrices=2,
        norm_bias=True, positions=3, renamed={"intermediate_size": "ffn_dim"},
    ),
}  # fmt: skip
