"""Mixtures of experts some of whose layers see a part of the context: windows, chunks, chosen blocks."""

from __future__ import annotations

from dataclasses import replace

from sim.hardware.model import Cache, Model
from sim.hardware.reader.assemble import (
    SLIDING,
    assemble,
    grouped_heads,
    layer_count,
    layer_kinds,
    seen,
    window,
)
from sim.hardware.reader.families.mixtures import W123, layer
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Heads, Served, Weights, experts, linear, mlp, moe, vector


def gpt_oss(f: Fields, served: Served) -> Model:
    """gpt-oss: every other layer sees a window; biases everywhere, a sink per head."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    bias = f.flag("attention_bias", True)
    attention = grouped_heads(f, bias=bias, out_bias=bias, sinks=True)
    size, many = window(f, default=128), f.whole(f.get("num_local_experts", "num_experts"), 128)
    kinds = layer_kinds(f, count, SLIDING, [SLIDING[i % 2] for i in range(count)])
    layers = []
    for i, kind in enumerate(kinds):
        prefix = f"model.layers.{i}.mlp."
        block = (
            linear(f"{prefix}router", hidden, many, True, 1, linear=False),
            *experts(
                f"{prefix}experts.", hidden, f.whole("intermediate_size"), many,
                f.whole("num_experts_per_tok", 4), bias=True,
            ),
        )  # fmt: skip
        layers.append(layer(i, hidden, attention, block, seen(attention, served, kind, size)))
    return assemble(f, served, layers)


def llama4(f: Fields, served: Served) -> Model:
    """Llama 4: three layers see their chunk, the fourth everything; one expert a token and one for all."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    attention = grouped_heads(f, bias=f.flag("attention_bias"))
    size, period = window(f, "attention_chunk_size", 8192), f.whole("no_rope_layer_interval", 4)
    no_rope = f.numbers("no_rope_layers") or [int((i + 1) % period != 0) for i in range(count)]
    if len(no_rope) != count:
        f.refuse("no_rope_layers", f"a list of {count}: 1 for layers with chunks, 0 for others")
    kinds = layer_kinds(
        f, count, ("chunked_attention", "full_attention"),
        ["chunked_attention" if rope else "full_attention" for rope in no_rope],
    )  # fmt: skip
    step = f.whole("interleave_moe_layer_step", 1)
    sparse = f.numbers("moe_layers") or range(step - 1, count, step)
    layers = []
    for i, kind in enumerate(kinds):
        prefix, ffn = f"model.layers.{i}.feed_forward.", f.whole("intermediate_size", 8192)
        block = mlp(prefix, hidden, f.whole("intermediate_size_mlp", 16384))
        if i in sparse:
            block = moe(
                prefix, hidden, ffn, f.whole("num_local_experts", 16), f.whole("num_experts_per_tok", 1),
                router="router", shared_ffn=ffn, shared="shared_expert.",
            )  # fmt: skip
        layers.append(layer(i, hidden, attention, block, seen(attention, served, kind, size, "chunk")))
    return assemble(f, served, layers)


def mimo_v2(f: Fields, served: Served) -> Model:
    """MiMo V2: windows have their own heads, values are narrower than keys, sinks in the windows."""
    count, hidden = layer_count(f), f.whole("hidden_size")

    def heads(prefix: str, sinks: bool) -> Heads:
        kv = f.whole(f"{prefix}num_key_value_heads")
        return Heads(
            hidden, f.whole(f"{prefix}num_attention_heads"), kv, f.whole(f"{prefix}head_dim"),
            f.whole(f"{prefix}v_head_dim"), bias=f.flag("attention_bias"), sinks=sinks,
        )  # fmt: skip

    full = heads("", f.flag("add_full_attention_sink_bias"))
    near = heads("swa_", f.flag("add_swa_attention_sink_bias"))
    pattern, sparse = f.numbers("hybrid_layer_pattern"), f.numbers("moe_layer_freq")
    for key, given in (("hybrid_layer_pattern", pattern), ("moe_layer_freq", sparse)):
        if len(given) != count:
            f.refuse(key, f"a list of {count} of 0, 1")
    size = window(f)
    layers = []
    for i in range(count):
        prefix = f"model.layers.{i}.mlp."
        block = mlp(prefix, hidden, f.whole("intermediate_size"))
        if sparse[i]:
            ffn = f.whole("moe_intermediate_size")
            block = moe(
                prefix, hidden, ffn, f.whole("n_routed_experts"), f.whole("num_experts_per_tok"),
                correction=True, shared_ffn=ffn * f.whole("n_shared_experts", 0, least=0),
            )  # fmt: skip
        attention, kind = (near, SLIDING[0]) if pattern[i] else (full, SLIDING[1])
        layers.append(layer(i, hidden, attention, block, seen(attention, served, kind, size)))
    return assemble(f, served, layers)


def minimax_m3(f: Fields, served: Served) -> Model:
    """MiniMax M3: in sparse layers small heads score blocks of tokens, and attention sees the best."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    attention = grouped_heads(f, norms="head" if f.flag("use_qk_norm", True) else "")
    sparse = f.sub("sparse_attention_config")
    scored, experts_at = sparse.numbers("sparse_attention_freq"), f.numbers("moe_layer_freq")
    for fields, key, given in (
        (sparse, "sparse_attention_freq", scored),
        (f, "moe_layer_freq", experts_at),
    ):
        if len(given) != count:
            fields.refuse(key, f"a list of {count} of 0, 1")
    size, heads = sparse.whole("sparse_index_dim"), sparse.whole("sparse_num_index_heads")
    selected = sparse.whole("sparse_block_size") * sparse.whole("sparse_topk_blocks")
    index = Cache(token_bytes=size * served.kv_bytes, pair_flop=2 * heads * size)
    layers = []
    for i in range(count):
        prefix = f"model.layers.{i}."
        block = mlp(f"{prefix}mlp.", hidden, f.whole("dense_intermediate_size"))
        if experts_at[i]:
            shared = f.whole("shared_intermediate_size", 0, least=0)
            block = moe(
                f"{prefix}block_sparse_moe.", hidden, f.whole("intermediate_size"),
                f.whole("num_local_experts"),
                f.whole("num_experts_per_tok"), names=W123, correction=f.flag("use_routing_bias", True),
                shared_ffn=shared * f.whole("n_shared_experts", 1, least=0),
            )  # fmt: skip
        cache = attention.cache(served)
        more: Weights = ()
        caches: tuple[Cache, ...] = (cache,)
        if scored[i]:
            caches = (replace(cache, selected=selected), index)
            more = (
                linear(f"{prefix}self_attn.index_q_proj", hidden, heads * size, parts=1),
                linear(f"{prefix}self_attn.index_k_proj", hidden, size, parts=1),
                vector(f"{prefix}self_attn.index_norms", size, 2),
            )
        layers.append(layer(i, hidden, attention, (*block, *more), caches))
    return assemble(f, served, layers)


def step3(f: Fields, served: Served) -> Model:
    """Step 3.5 and 3.7 Flash: windows in three layers of four, a gate for each head."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    full, size = grouped_heads(f, norms="head"), window(f)
    near = full
    if "num_sliding_attention_heads" in f:
        near = replace(full, heads=f.whole("num_sliding_attention_heads"))
    elif "attention_other_setting" in f:
        near = replace(
            full, heads=f.sub("attention_other_setting").whole("num_attention_heads", full.heads)
        )
    kinds = layer_kinds(f, count, SLIDING, [SLIDING[1]] * count)
    ffn, many = f.whole("moe_intermediate_size"), f.whole(f.get("num_experts", "moe_num_experts"), 288)
    layers = []
    for i, kind in enumerate(kinds):
        prefix = f"model.layers.{i}."
        attention = near if kind == SLIDING[0] else full
        block = mlp(f"{prefix}mlp.", hidden, f.whole("intermediate_size"))
        if i >= f.whole("first_k_dense_replace", 3, least=0):
            block = moe(
                f"{prefix}moe.", hidden, ffn, many, f.whole(f.get("num_experts_per_tok", "moe_top_k"), 8),
                correction=True, shared_ffn=f.whole("share_expert_dim", ffn), shared="share_expert.",
            )  # fmt: skip
        gate = linear(f"{prefix}self_attn.g_proj", hidden, attention.heads)
        layers.append(layer(i, hidden, attention, (*block, gate), seen(attention, served, kind, size)))
    return assemble(f, served, layers)
