"""Mixtures of experts with keys and values per head."""

from __future__ import annotations

from sim.hardware.model import Cache, Layer, Model
from sim.hardware.reader.assemble import (
    SLIDING,
    assemble,
    grouped_heads,
    layer_count,
    seen,
    window,
)
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import (
    INPUT_AND_POST,
    Heads,
    Served,
    Weights,
    mlp,
    moe,
    norms,
    vector,
)

W123 = ("w1", "w3", "w2")


def layer(
    number: int, hidden: int, attention: Heads, feed_forward: Weights, caches: tuple[Cache, ...]
) -> Layer:
    """A layer of attention and feed-forward with a norm before each."""
    prefix = f"model.layers.{number}."
    return Layer(
        (
            *attention.weights(f"{prefix}self_attn."),
            *feed_forward,
            *norms(prefix, hidden, INPUT_AND_POST),
        ),
        caches,
    )


def mixtral(f: Fields, served: Served) -> Model:
    """Mixtral: eight feed-forwards a layer, two for each token."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    attention, size = grouped_heads(f), window(f)
    layers = []
    for i in range(count):
        block = moe(
            f"model.layers.{i}.block_sparse_moe.", hidden, f.whole("intermediate_size"),
            f.whole(f.get("num_local_experts", "num_experts"), 8), f.whole("num_experts_per_tok", 2),
            names=W123,
        )  # fmt: skip
        layers.append(layer(i, hidden, attention, block, seen(attention, served, SLIDING[0], size)))
    return assemble(f, served, layers)


def phimoe(f: Fields, served: Served) -> Model:
    """Phi 3.5 MoE: Mixtral with biases and LayerNorms."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    bias = f.flag("attention_bias")
    attention, size = grouped_heads(f, bias=bias, out_bias=bias), window(f)
    layers = []
    for i in range(count):
        prefix = f"model.layers.{i}."
        block = moe(
            f"{prefix}block_sparse_moe.", hidden, f.whole("intermediate_size"),
            f.whole(f.get("num_local_experts", "num_experts"), 16), f.whole("num_experts_per_tok", 2),
            names=W123,
        )  # fmt: skip
        weights = (
            *attention.weights(f"{prefix}self_attn."),
            *block,
            *norms(prefix, hidden, INPUT_AND_POST, True),
        )
        layers.append(Layer(weights, seen(attention, served, SLIDING[0], size)))
    others = (vector("model.norm", hidden, 2),)
    return assemble(f, served, layers, head_bias=f.flag("lm_head_bias"), others=others)


def qwen_moe(f: Fields, served: Served) -> Model:
    """Qwen 2 and 3: experts in each ``decoder_sparse_step``-th layer but ``mlp_only_layers``.

    Qwen2 has biases on q, k and v and a gated expert for all tokens; Qwen3 norms q and k instead.
    """
    second = f.text("model_type") == "qwen2_moe"
    count, hidden = layer_count(f), f.whole("hidden_size")
    attention = grouped_heads(
        f,
        bias=f.flag("qkv_bias", True) if second else f.flag("attention_bias"),
        norms="" if second else "head",
    )
    size = window(f) if f.flag("use_sliding_window") else None
    first = f.whole("max_window_layers", 28, least=0)
    kinds = [SLIDING[0] if i >= first else SLIDING[1] for i in range(count)]
    step, dense = f.whole("decoder_sparse_step", 1), f.numbers("mlp_only_layers")
    layers = []
    for i, kind in enumerate(kinds):
        prefix = f"model.layers.{i}.mlp."
        if i in dense or (i + 1) % step:
            block = mlp(prefix, hidden, f.whole("intermediate_size"))
        else:
            block = moe(
                prefix, hidden, f.whole("moe_intermediate_size"),
                f.whole(f.get("num_experts", "num_local_experts")),
                f.whole("num_experts_per_tok"),
                shared_ffn=f.whole("shared_expert_intermediate_size", 5632) if second else 0,
                shared="shared_expert.", shared_gate=second,
            )  # fmt: skip
        layers.append(layer(i, hidden, attention, block, seen(attention, served, kind, size)))
    return assemble(f, served, layers)


def olmoe(f: Fields, served: Served) -> Model:
    """OLMoE: all layers have experts, q and k are normed over all heads."""
    hidden, attention = f.whole("hidden_size"), grouped_heads(f, norms="row")
    layers = [
        layer(
            i, hidden, attention,
            moe(
                f"model.layers.{i}.mlp.", hidden, f.whole("intermediate_size"),
                f.whole(f.get("num_experts", "num_local_experts"), 64), f.whole("num_experts_per_tok", 8),
            ),
            (attention.cache(served),),
        )
        for i in range(layer_count(f))
    ]  # fmt: skip
    return assemble(f, served, layers)


def granitemoe(f: Fields, served: Served) -> Model:
    """IBM Granite 3 MoE; ``granitemoeshared`` has a feed-forward for all tokens beside."""
    hidden, attention = f.whole("hidden_size"), grouped_heads(f, bias=f.flag("attention_bias"))
    shared = f.whole("shared_intermediate_size", 0, least=0) if "shared" in f.text("model_type") else 0
    layers = [
        layer(
            i, hidden, attention,
            moe(
                f"model.layers.{i}.block_sparse_moe.", hidden, f.whole("intermediate_size"),
                f.whole(f.get("num_local_experts", "num_experts"), 8), f.whole("num_experts_per_tok", 2),
                shared_ffn=shared,
            ),
            (attention.cache(served),),
        )
        for i in range(layer_count(f))
    ]  # fmt: skip
    return assemble(f, served, layers)


def ernie(f: Fields, served: Served) -> Model:
    """ERNIE 4.5: experts from ``moe_layer_start_index`` to ``moe_layer_end_index``; tied by default."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    bias = f.flag("use_bias")
    attention = grouped_heads(f, bias=bias, out_bias=bias)
    first, step = f.whole("moe_layer_start_index", 1, least=0), f.whole("moe_layer_interval", 1)
    last = f.whole("moe_layer_end_index", count - 1, least=-1)
    last = count - 1 if last == -1 else last
    ffn = f.whole("moe_intermediate_size")
    layers = []
    for i in range(count):
        prefix = f"model.layers.{i}.mlp."
        if first <= i <= last and (i + 1) % step == 0:
            block = moe(
                prefix, hidden, ffn, f.whole(f.get("moe_num_experts", "num_experts")),
                f.whole(f.get("moe_k", "num_experts_per_tok")), bias=bias,
                correction=f.flag("moe_use_aux_free", True),
                shared_ffn=ffn * f.whole("moe_num_shared_experts", 2, least=0),
            )  # fmt: skip
        else:
            block = mlp(prefix, hidden, f.whole("intermediate_size"), bias=bias)
        layers.append(layer(i, hidden, attention, block, (attention.cache(served),)))
    return assemble(f, served, layers, tied=True)


def minimax_m2(f: Fields, served: Served) -> Model:
    """MiniMax M2: experts in all layers, q and k normed over all heads."""
    hidden = f.whole("hidden_size")
    row = "row" if f.flag("use_qk_norm", True) else ""
    attention = grouped_heads(f, norms=row)
    layers = [
        layer(
            i, hidden, attention,
            moe(
                f"model.layers.{i}.block_sparse_moe.", hidden, f.whole("intermediate_size"),
                f.whole(f.get("num_local_experts", "num_experts")), f.whole("num_experts_per_tok"),
                names=W123,
                correction=f.flag("use_routing_bias", True),
            ),
            (attention.cache(served),),
        )
        for i in range(layer_count(f))
    ]  # fmt: skip
    return assemble(f, served, layers)


def glm4_moe(f: Fields, served: Served) -> Model:
    """GLM 4.5 to 4.7: dense first layers, biases on q, k and v, q and k normed in the large ones.

    dots.llm1 is the same with q and k always normed, and no dense first layers unless it says so.
    """
    dots, bias = f.text("model_type") == "dots1", f.flag("attention_bias")
    hidden, ffn = f.whole("hidden_size"), f.whole("moe_intermediate_size")
    attention = grouped_heads(
        f, bias=bias, out_bias=dots and bias, norms="head" if dots or f.flag("use_qk_norm") else ""
    )
    first, shared = f.whole("first_k_dense_replace", 0 if dots else 1, least=0), 0 if dots else 1
    layers = []
    for i in range(layer_count(f)):
        prefix = f"model.layers.{i}.mlp."
        block = mlp(prefix, hidden, f.whole("intermediate_size"))
        if i >= first:
            block = moe(
                prefix, hidden, ffn, f.whole(f.get("n_routed_experts", "num_local_experts")),
                f.whole("num_experts_per_tok"),
                correction=True, shared_ffn=ffn * f.whole("n_shared_experts", shared, least=0),
            )  # fmt: skip
        layers.append(layer(i, hidden, attention, block, (attention.cache(served),)))
    return assemble(f, served, layers)


def bailing_moe(f: Fields, served: Served) -> Model:
    """Ling and Ring 1 and 2: dense first layers, shared experts."""
    hidden, ffn = f.whole("hidden_size"), f.whole("moe_intermediate_size")
    bias = f.flag("use_qkv_bias")
    attention = grouped_heads(f, bias=bias, norms="head" if f.flag("use_qk_norm") else "")
    layers = []
    for i in range(layer_count(f)):
        prefix = f"model.layers.{i}.mlp."
        block = mlp(prefix, hidden, f.whole("intermediate_size"))
        if i >= f.whole("first_k_dense_replace", 0, least=0):
            block = moe(
                prefix, hidden, ffn, f.whole("num_experts"), f.whole("num_experts_per_tok"),
                correction=f.flag("moe_router_enable_expert_bias"),
                shared_ffn=ffn * f.whole("num_shared_experts", 0, least=0),
            )  # fmt: skip
        layers.append(layer(i, hidden, attention, block, (attention.cache(served),)))
    return assemble(f, served, layers)


def dbrx(f: Fields, served: Served) -> Model:
    """DBRX: its keys are those of its own class."""
    attn, ffn = f.sub("attn_config"), f.sub("ffn_config")
    hidden, heads = f.whole("d_model"), f.whole("n_heads")
    f = f.over(
        hidden_size=hidden,
        num_hidden_layers=f.whole("n_layers"),
        max_position_embeddings=f.whole("max_seq_len"),
    )
    attention = Heads(hidden, heads, attn.whole("kv_n_heads", 1), hidden // heads)
    layers = [
        layer(
            i, hidden, attention,
            moe(
                f"model.layers.{i}.ffn.", hidden, ffn.whole("ffn_hidden_size"),
                ffn.whole("moe_num_experts"),
                ffn.whole("moe_top_k"), names=W123, router="router.layer",
            ),
            (attention.cache(served),),
        )
        for i in range(layer_count(f))
    ]  # fmt: skip
    return assemble(f, served, layers)
