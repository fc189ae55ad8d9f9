"""Gemma 4: windows and full layers with heads of their own, experts beside a feed-forward, shared KV."""

from __future__ import annotations

from dataclasses import replace

from sim.hardware.model import Cache, Layer, Model
from sim.hardware.reader.assemble import SLIDING, assemble, every, layer_count, layer_kinds, window
from sim.hardware.reader.families.dense import FOUR_NORMS
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Heads, Served, Weights, experts, linear, mlp, norms, vector
from sim.hardware.weights import Weight

DEFAULTS = {
    "vocab_size": 262144, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "global_head_dim": 512,
    "max_position_embeddings": 131072, "hidden_size_per_layer_input": 256, "sliding_window": 512,
    "vocab_size_per_layer_input": 262144,
}  # fmt: skip
MORE_NORMS = ("pre_feedforward_layernorm_2", "post_feedforward_layernorm_1", "post_feedforward_layernorm_2")


def gemma4(f: Fields, served: Served) -> Model:
    """Full layers have ``num_global_key_value_heads`` of ``global_head_dim``, and with
    ``attention_k_eq_v`` no matrix for values. The last ``num_kv_shared_layers`` attend to the KV of the
    last layer of their kind before them and keep none.
    """
    f = f.over(**DEFAULTS) if f.prefix else f.over(head_dim=256, global_head_dim=512)
    count, hidden, heads = layer_count(f), f.whole("hidden_size"), f.whole("num_attention_heads")
    kinds = layer_kinds(f, count, SLIDING, [*every(count, 6)[:-1], SLIDING[1]])
    same = f.flag("attention_k_eq_v")
    near = Heads(
        hidden,
        heads,
        f.whole("num_key_value_heads"),
        f.whole("head_dim"),
        bias=f.flag("attention_bias"),
        norms="head",
    )
    far = replace(near, head_dim=f.whole("global_head_dim"), value=not same)
    if same and "num_global_key_value_heads" in f:
        far = replace(far, kv_heads=f.whole("num_global_key_value_heads"))
    size = window(f, default=512)
    first_shared = count - f.whole("num_kv_shared_layers", 0, least=0)
    wide, extra = f.flag("use_double_wide_mlp"), f.whole("hidden_size_per_layer_input", 256, least=0)
    layers = []
    for i, kind in enumerate(kinds):
        prefix, shares = f"model.layers.{i}.", i >= first_shared
        attention = far if kind == SLIDING[1] else near
        cache = attention.cache(served)
        if kind == SLIDING[0] and size is not None:
            cache = attention.cache(served, "swa", size)
        own = attention.weights(f"{prefix}self_attn.")
        if shares:
            own = tuple(w for w in own if not w.name.endswith(("k_proj", "v_proj")))
        ffn = f.whole("intermediate_size") * (2 if wide and shares else 1)
        weights = (
            *own,
            *mlp(f"{prefix}mlp.", hidden, ffn),
            *norms(prefix, hidden, FOUR_NORMS),
            *_experts(f, prefix, hidden),
            *_per_layer(prefix, hidden, extra),
        )
        layers.append(_sharing(weights, cache, shares))
    others: Weights = (vector("model.norm", hidden),)
    if extra:
        rows = f.whole("vocab_size_per_layer_input", 262144)
        others += (
            Weight("model.embed_tokens_per_layer", rows, count * extra, used=0, linear=False),
            linear("model.per_layer_model_projection", hidden, count * extra),
            vector("model.per_layer_projection_norm", extra),
        )
    return assemble(f, served, layers, tied=True, others=others)


def _sharing(weights: Weights, cache: Cache, shares: bool) -> Layer:
    return Layer(weights, (), (cache,)) if shares else Layer(weights, (cache,))


def _experts(f: Fields, prefix: str, hidden: int) -> Weights:
    if not f.flag("enable_moe_block"):
        return ()
    count = f.whole("num_experts")
    ffn = f.whole(f.get("moe_intermediate_size", "expert_intermediate_size"))
    return (
        linear(f"{prefix}router.proj", hidden, count, parts=1, linear=False),
        vector(f"{prefix}router.scale", hidden + count),
        *experts(f"{prefix}experts.", hidden, ffn, count, f.whole("top_k_experts")),
        *norms(prefix, hidden, MORE_NORMS),
    )


def _per_layer(prefix: str, hidden: int, extra: int) -> Weights:
    """What mixes a small embedding of the token, one for each layer, into the layer."""
    if not extra:
        return ()
    return (
        linear(f"{prefix}per_layer_input_gate", hidden, extra),
        linear(f"{prefix}per_layer_projection", extra, hidden),
        vector(f"{prefix}post_per_layer_input_norm", hidden),
    )
