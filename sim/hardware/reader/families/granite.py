"""Granite 4 of IBM: Mamba-2 and attention, with experts or without."""

from __future__ import annotations

from sim.hardware.model import Layer, Model
from sim.hardware.reader.assemble import assemble, grouped_heads, layer_count
from sim.hardware.reader.families.states import Mamba2, state_bytes
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import INPUT_AND_POST, Served, mlp, moe, norms

GRANITE = ("mamba", "attention", "linear_attention", "full_attention")
"""How files name Granite's layers, of older and of newer classes."""


def granite_hybrid(f: Fields, served: Served) -> Model:
    """Granite 4: Mamba-2 in most layers, attention in some; a feed-forward for all tokens in each layer,
    and experts beside it unless ``num_local_experts`` is 0.
    """
    count, hidden = layer_count(f), f.whole("hidden_size")
    kinds = f.words(f.get("layer_types", "layers_block_type"), GRANITE, count)
    if kinds is None:
        f.refuse("layer_types", f"a list of {count} of {', '.join(GRANITE[:2])}")
    attention = grouped_heads(f, bias=f.flag("attention_bias"), out_bias=f.flag("attention_bias"))
    heads, inner = f.whole("mamba_n_heads", 128), f.whole("mamba_expand", 2) * hidden
    if inner % heads:
        f.refuse("mamba_n_heads", f"a divisor of {inner}, mamba_expand times hidden_size")
    mamba = Mamba2(
        hidden, heads, inner // heads, f.whole("mamba_n_groups", 1), f.whole("mamba_d_state", 256),
        f.whole("mamba_d_conv", 4), f.flag("mamba_proj_bias"), f.flag("mamba_conv_bias", True),
    )  # fmt: skip
    ssm = state_bytes(f, "mamba_ssm_cache_dtype", served)
    many, shared = f.whole("num_local_experts", 8, least=0), f.whole("shared_intermediate_size", 1024)
    layers = []
    for i, kind in enumerate(kinds):
        prefix = f"model.layers.{i}."
        mixer, cache = mamba.weights(f"{prefix}mamba."), mamba.cache(served, ssm)
        if kind in ("attention", "full_attention"):
            mixer, cache = attention.weights(f"{prefix}self_attn."), attention.cache(served)
        block = mlp(f"{prefix}shared_mlp.", hidden, shared)
        if many:
            block += moe(
                f"{prefix}block_sparse_moe.", hidden, f.whole("intermediate_size"), many,
                f.whole("num_experts_per_tok", 2), router="router",
            )  # fmt: skip
        layers.append(Layer((*mixer, *block, *norms(prefix, hidden, INPUT_AND_POST)), (cache,)))
    return assemble(f, served, layers)
