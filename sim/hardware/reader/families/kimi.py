"""Kimi Linear and Kimi K3: Kimi Delta Attention in most layers, a latent in the others."""

from __future__ import annotations

from sim.hardware.model import Cache, Layer, Model
from sim.hardware.reader.assemble import assemble, layer_count
from sim.hardware.reader.families.latent import Latent
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import INPUT_AND_POST, Served, Weights, linear, mlp, moe, norms, vector


def kimi_linear(f: Fields, served: Served) -> Model:
    """``linear_attn_config`` lists the layers of each kind, counted from 1."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    mixed = f.sub("linear_attn_config")
    full = set(mixed.numbers("full_attn_layers"))
    latent = Latent.of(f)
    ffn, first = f.whole("moe_intermediate_size"), f.whole("first_k_dense_replace", 1, least=0)
    layers = []
    for i in range(count):
        prefix = f"model.layers.{i}."
        block = mlp(f"{prefix}mlp.", hidden, f.whole("intermediate_size"))
        if i >= first and i % f.whole("moe_layer_freq", 1) == 0:
            block = moe(
                f"{prefix}block_sparse_moe.", hidden, ffn, f.whole("num_experts"),
                f.whole(f.get("num_experts_per_token", "num_experts_per_tok")), names=("w1", "w3", "w2"),
                correction=True, shared_ffn=ffn * f.whole("num_shared_experts", 0, least=0),
                experts_in=f.whole("routed_expert_hidden_size") if "routed_expert_hidden_size" in f else 0,
            )  # fmt: skip
        mixer, cache = latent.weights(f"{prefix}self_attn."), latent.cache(served)
        if i + 1 not in full:
            mixer, cache = _delta(mixed, f"{prefix}self_attn.", hidden, served)
        layers.append(Layer((*mixer, *block, *norms(prefix, hidden, INPUT_AND_POST)), (cache,)))
    return assemble(
        f, served, layers, positions=f.whole(f.get("max_position_embeddings", "model_max_length"))
    )


def _delta(m: Fields, prefix: str, hidden: int, served: Served) -> tuple[Weights, Cache]:
    """Kimi Delta Attention: a matrix of head size x head size for each head, a decay for each channel."""
    heads, size, kernel = m.whole("num_heads"), m.whole("head_dim"), m.whole("short_conv_kernel_size", 4)
    wide = heads * size
    gate: Weights = (linear(f"{prefix}g_proj", hidden, wide),)
    if not m.flag("use_full_rank_gate"):
        gate = (linear(f"{prefix}g_a_proj", hidden, size, parts=1), linear(f"{prefix}g_b_proj", size, wide))
    weights = (
        *(linear(f"{prefix}{part}_proj", hidden, wide) for part in "qkv"),
        *(linear(f"{prefix}{part}_conv1d", kernel, wide, linear=False) for part in "qkv"),
        linear(f"{prefix}f_a_proj", hidden, size, parts=1),
        linear(f"{prefix}f_b_proj", size, wide),
        linear(f"{prefix}b_proj", hidden, heads),
        *gate,
        vector(f"{prefix}A_log", heads),
        vector(f"{prefix}dt_bias", wide),
        vector(f"{prefix}o_norm", size),
        linear(f"{prefix}o_proj", wide, hidden),
    )
    state = heads * size * size
    size_bytes = 3 * (kernel - 1) * wide * served.value_bytes + state * 4  # the matrices in 32 bit
    return weights, Cache(
        "mamba", heads=heads, query_heads=heads, state_bytes=size_bytes, pair_flop=8 * state
    )
