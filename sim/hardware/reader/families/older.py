"""Falcon, BLOOM and StarCoder 1: one or few KV heads, feed-forwards of two matrices, keys of their own."""

from __future__ import annotations

from dataclasses import replace

from sim.hardware.model import Model
from sim.hardware.reader.families.dense import SHAPES, Shape, read
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import INPUT_AND_POST, Served, vector


def falcon(f: Fields, served: Served) -> Model:
    """One KV head (``multi_query``), or ``num_kv_heads`` in the newer architecture."""
    newer = f.flag("new_decoder_architecture")
    kv_heads = f.whole("num_attention_heads")
    if newer:
        kv_heads = f.whole("num_kv_heads", kv_heads)
    elif f.flag("multi_query", True):
        kv_heads = 1
    one_norm = f.flag("parallel_attn", True) and (not newer or f.raw.get("num_ln_in_parallel_attn") == 1)
    shape = Shape(
        tied=True, bias_key="bias", mlp_bias_key="bias", matrices=2, norm_bias=True, ffn=4,
        norms=INPUT_AND_POST[:1] if one_norm else INPUT_AND_POST,
    )  # fmt: skip
    wide = f.whole("ffn_hidden_size", 4 * f.whole("hidden_size"))
    return read(
        f.over(num_key_value_heads=kv_heads, intermediate_size=wide, max_position_embeddings=2048),
        served,
        shape,
    )


def bloom(f: Fields, served: Served) -> Model:
    """Biases everywhere, and a norm behind the embedding."""
    names = {"hidden_size": "n_embed", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
    shape = Shape(
        tied=True,
        bias=True,
        bias_key="no bias",
        mlp_bias=True,
        matrices=2,
        norm_bias=True,
        ffn=4,
        renamed=names,
    )
    model = read(f.over(max_position_embeddings=f.whole("seq_length", 2048)), served, shape)
    norm = vector("model.word_embeddings_layernorm", model.hidden_size, 2)
    return replace(model, others=(*model.others, norm))


def opt(f: Fields, served: Served) -> Model:
    """OPT and Galactica: norms without weights, or none at the end where they come after each part."""
    shape, plain = SHAPES["opt"], f.flag("layer_norm_elementwise_affine", True)
    ended = f.flag("do_layer_norm_before", True) and not f.flag("_remove_final_layer_norm")
    return read(f, served, replace(shape, last_norm=plain and ended, norms=shape.norms if plain else ()))


def gpt_bigcode(f: Fields, served: Served) -> Model:
    """GPT-2 with one KV head."""
    kv_heads = 1 if f.flag("multi_query", True) else None
    return read(
        Fields({**f.raw, "num_key_value_heads": kv_heads}, f.where, f.prefix), served, SHAPES["gpt2"]
    )
