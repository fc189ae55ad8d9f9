"""Llama-Nemotron (DeciLM): a search has taken attention out of layers and narrowed feed-forwards."""

from __future__ import annotations

from sim.hardware.model import Cache, Layer, Model
from sim.hardware.reader.assemble import assemble, layer_count
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Heads, Served, Weights, linear, mlp, norms

MULTIPLE = 256
"""Widths of feed-forwards are rounded up to it."""


def nemotron_nas(f: Fields, served: Served) -> Model:
    """``block_configs`` says for each layer: heads per KV head and width, or that a part is left out
    (``no_op``) or one matrix (``replace_with_linear``).
    """
    count, hidden, heads = layer_count(f), f.whole("hidden_size"), f.whole("num_attention_heads")
    blocks = f.raw.get("block_configs")
    if not isinstance(blocks, list) or len(blocks) != count:
        f.refuse("block_configs", f"a list of {count} objects")
    layers = []
    for i in range(count):
        block = Fields({str(i): blocks[i]}, f.where, "block_configs.").sub(str(i))
        attention, ffn = block.sub("attention"), block.sub("ffn")
        prefix = f"model.layers.{i}."
        weights: Weights = ()
        caches: tuple[Cache, ...] = ()
        if attention.flag("replace_with_linear"):
            weights += (linear(f"{prefix}self_attn.linear", hidden, hidden),)
        elif not attention.flag("no_op"):
            group = attention.whole("n_heads_in_group")
            if heads % group:
                attention.refuse("n_heads_in_group", f"a divisor of {heads}")
            shape = Heads(hidden, heads, heads // group, f.whole("head_dim", hidden // heads))
            weights += shape.weights(f"{prefix}self_attn.")
            window = attention.whole("window_length") if "window_length" in attention else 0
            caches = (shape.cache(served, "swa", window) if window else shape.cache(served),)
        if not attention.flag("no_op"):
            weights += norms(prefix, hidden, ("input_layernorm",))
        if ffn.flag("replace_with_linear"):
            weights += (linear(f"{prefix}mlp.linear", hidden, hidden),)
        elif not ffn.flag("no_op"):
            width = int(2 * ffn.number("ffn_mult", 1) * hidden / 3)
            weights += mlp(f"{prefix}mlp.", hidden, -(-width // MULTIPLE) * MULTIPLE)
        if not ffn.flag("no_op"):
            weights += norms(prefix, hidden, ("post_attention_layernorm",))
        layers.append(Layer(weights, caches))
    return assemble(f, served, layers)
