"""DeepSeek V4: one key-value vector per token in a window, and compressed ones of what lies before."""

from __future__ import annotations

from sim.hardware.model import Cache, Layer, Model
from sim.hardware.reader.assemble import assemble, layer_count
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import INPUT_AND_POST, Served, Weights, linear, moe, norms, vector
from sim.hardware.reader.served import FP8_KV

FP8_ENTRY_BYTES = 584
"""An entry in vLLM's fp8 layout: 448 values in fp8, 64 rotary ones in 16 bit, 8 bytes of scales."""


def deepseek_v4(f: Fields, served: Served) -> Model:
    """``compress_ratios`` says for each layer how many tokens share a compressed entry: 0 (a window only),
    4 (of which an indexer picks the best), 128.

    The first ``num_hash_layers`` send a token to experts by a table instead of a router's choice.
    """
    count, hidden = layer_count(f), f.whole("hidden_size")
    ratios = f.numbers("compress_ratios")[:count]  # drafts follow
    if len(ratios) != count or not set(ratios) <= {0, 4, 128}:
        f.refuse("compress_ratios", f"{count} of 0, 4, 128")
    hashed = f.whole("num_hash_layers", 0, least=0)
    experts, used = f.whole("n_routed_experts"), f.whole("num_experts_per_tok")
    layers = []
    for i, ratio in enumerate(ratios):
        prefix = f"model.layers.{i}."
        ffn = f.whole("moe_intermediate_size")
        block = moe(
            f"{prefix}ffn.", hidden, ffn, experts, used, names=("w1", "w3", "w2"), correction=i >= hashed,
            shared_ffn=ffn * f.whole("n_shared_experts", 1, least=0),
        )  # fmt: skip
        weights = (
            *_attention(f, f"{prefix}attn.", ratio),
            *block,
            *norms(prefix, hidden, INPUT_AND_POST),
            *_streams(f, prefix),
        )
        layers.append(Layer(weights, _caches(f, served, ratio)))
    mult = f.whole("hc_mult", 4)
    others = (
        vector("model.norm", hidden),
        linear("model.hc_head", mult * hidden, mult, True, 1, linear=False),
    )
    return assemble(f, served, layers, others=others, names=("model.embed", "head"))


def _attention(f: Fields, prefix: str, ratio: int) -> Weights:
    d, heads, size, rank = (
        f.whole(k) for k in ("hidden_size", "num_attention_heads", "head_dim", "q_lora_rank")
    )
    groups, out_rank = f.whole("o_groups"), f.whole("o_lora_rank")
    found = [
        linear(f"{prefix}wq_a", d, rank, parts=1),
        vector(f"{prefix}q_norm", rank),
        linear(f"{prefix}wq_b", rank, heads * size),
        linear(f"{prefix}wkv", d, size, parts=1),
        vector(f"{prefix}kv_norm", size),
        linear(f"{prefix}wo_a", heads * size // groups, groups * out_rank),
        linear(f"{prefix}wo_b", groups * out_rank, d),
        vector(f"{prefix}attn_sink", heads),
    ]
    if ratio:
        found += _compressor(f"{prefix}compressor.", d, size, ratio)
    if ratio == 4:
        index = f.whole("index_head_dim")
        found += [
            linear(f"{prefix}indexer.wq_b", rank, f.whole("index_n_heads") * index, parts=1),
            linear(f"{prefix}indexer.weights_proj", d, f.whole("index_n_heads"), parts=1, linear=False),
            *_compressor(f"{prefix}indexer.compressor.", d, index, ratio),
        ]
    return tuple(found)


def _compressor(prefix: str, hidden: int, size: int, ratio: int) -> Weights:
    """Values and gates of a token; windows of 4 overlap, so there are two of each."""
    wide = 2 * size if ratio == 4 else size
    return (
        linear(f"{prefix}wkv", hidden, wide, parts=1, linear=False),
        linear(f"{prefix}wgate", hidden, wide, parts=1, linear=False),
        linear(f"{prefix}ape", wide, ratio, parts=1, linear=False),
        vector(f"{prefix}norm", size),
    )


def _streams(f: Fields, prefix: str) -> Weights:
    """Hyper-connections: what mixes the residual streams before attention and before the experts."""
    mult = f.whole("hc_mult", 4)
    mix = (2 + mult) * mult
    return tuple(
        linear(f"{prefix}hc_{part}", mult * f.whole("hidden_size"), mix, True, 1, linear=False)
        for part in ("attn", "ffn")
    )


def _caches(f: Fields, served: Served, ratio: int) -> tuple[Cache, ...]:
    heads, size = f.whole("num_attention_heads"), f.whole("head_dim")
    entry = FP8_ENTRY_BYTES if served.kv_cache_dtype in FP8_KV else size * served.kv_bytes
    flop = 4 * heads * size
    window = Cache("swa", f.whole("sliding_window"), token_bytes=entry, query_heads=heads, pair_flop=flop)
    if not ratio:
        return (window,)
    selected = f.whole("index_topk") if ratio == 4 else 0
    far = Cache(token_bytes=entry, per=ratio, query_heads=heads, pair_flop=flop, selected=selected)
    if ratio == 128:
        return (window, far)
    index = f.whole("index_head_dim")
    scored = Cache(
        token_bytes=index + 4 * (index // 128) if served.kv_bytes == 1 else index * served.kv_bytes,
        per=ratio,
        pair_flop=2 * f.whole("index_n_heads") * index,
    )
    return (window, far, scored)
