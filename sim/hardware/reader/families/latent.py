"""Multi-head latent attention: DeepSeek V2 to V3.2, Kimi K2, GLM 4.7 Flash, GLM 5."""

from __future__ import annotations

from dataclasses import dataclass

from sim.hardware.model import Cache, Layer, Model
from sim.hardware.reader.assemble import assemble, layer_count
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import INPUT_AND_POST, Served, Weights, linear, mlp, moe, norms, vector
from sim.hardware.reader.served import FP8_KV

SPARSE_FP8_BYTES = 656
"""A token's latent in vLLM's fp8 layout for sparse attention: 512 values in fp8, four scales of 4 bytes,
64 rotary values in 16 bit (``fp8_ds_mla``)."""
SPARSE = {
    "deepseek_v32": {"index_topk": 2048, "index_n_heads": 64, "index_head_dim": 128},
    "glm_moe_dsa": {"index_topk": 2048, "index_n_heads": 32, "index_head_dim": 128},
}
"""Indexers of the classes that always have one, where a file leaves out their sizes."""
INDEX_SCALE_VALUES = 128
"""Values of an indexer's key that share a scale of 4 bytes."""


@dataclass(frozen=True, slots=True)
class Latent:
    """One latent per token in place of keys and values; every tensor parallel GPU holds all of it."""

    hidden: int
    heads: int
    q_rank: int
    """0: q has one matrix."""
    kv_rank: int
    nope: int
    rope: int
    value: int
    bias: bool = False
    gated: bool = False
    """Whether a matrix gives a gate as wide as the output."""

    @classmethod
    def of(cls, f: Fields) -> Latent:
        """From the usual keys."""
        return cls(
            f.whole("hidden_size"), f.whole("num_attention_heads"),
            f.whole("q_lora_rank") if "q_lora_rank" in f else 0,
            f.whole("kv_lora_rank"), f.whole("qk_nope_head_dim"), f.whole("qk_rope_head_dim"),
            f.whole("v_head_dim"), f.flag("attention_bias"), f.flag("mla_use_output_gate"),
        )  # fmt: skip

    def weights(self, prefix: str) -> Weights:
        """Down to the ranks (copied on every GPU), and up to the heads (divided)."""
        d, per_head = self.hidden, self.nope + self.rope
        found = []
        if self.q_rank:
            found += [
                linear(f"{prefix}q_a_proj", d, self.q_rank, self.bias, 1),
                vector(f"{prefix}q_a_layernorm", self.q_rank),
                linear(f"{prefix}q_b_proj", self.q_rank, self.heads * per_head),
            ]
        else:
            found.append(linear(f"{prefix}q_proj", d, self.heads * per_head))
        found += [
            linear(f"{prefix}kv_a_proj_with_mqa", d, self.kv_rank + self.rope, self.bias, 1),
            vector(f"{prefix}kv_a_layernorm", self.kv_rank),
            linear(f"{prefix}kv_b_proj", self.kv_rank, self.heads * (self.nope + self.value)),
            linear(f"{prefix}o_proj", self.heads * self.value, d, self.bias),
        ]
        if self.gated:
            found.append(linear(f"{prefix}g_proj", d, self.heads * self.value))
        return tuple(found)

    def cache(self, served: Served, selected: int = 0) -> Cache:
        """The latent and the rotary part of the key.

        A prefill computes with keys and values of each head, a decode with the latent itself.
        """
        width = self.kv_rank + self.rope
        size = width * served.kv_bytes
        if selected and served.kv_cache_dtype in FP8_KV:
            size = SPARSE_FP8_BYTES
        return Cache(
            token_bytes=size,
            query_heads=self.heads,
            pair_flop=2 * self.heads * (self.nope + self.rope + self.value),
            decode_flop=2 * self.heads * (width + self.kv_rank),
            selected=selected,
        )


@dataclass(frozen=True, slots=True)
class Indexer:
    """DeepSeek's lightning indexer: few small heads that score all tokens; attention sees the best."""

    heads: int
    head_dim: int
    selected: int

    @classmethod
    def of(cls, f: Fields) -> Indexer | None:
        """From the usual keys, or as the class of sparse attention has them; else None."""
        f = f.absent(**SPARSE.get(f.text("model_type"), {}))
        if "index_topk" not in f:
            return None
        return cls(f.whole("index_n_heads"), f.whole("index_head_dim"), f.whole("index_topk"))

    def weights(self, prefix: str, hidden: int, q_rank: int) -> Weights:
        """Copied on every GPU."""
        return (
            linear(f"{prefix}indexer.wq_b", q_rank, self.heads * self.head_dim, parts=1),
            linear(f"{prefix}indexer.wk", hidden, self.head_dim, parts=1),
            vector(f"{prefix}indexer.k_norm", self.head_dim, 2),
            linear(f"{prefix}indexer.weights_proj", hidden, self.heads, parts=1, linear=False),
        )

    def cache(self) -> Cache:
        """A key of all tokens in fp8 with its scales, whatever the data type of the KV cache."""
        return Cache(
            token_bytes=self.head_dim + 4 * (self.head_dim // INDEX_SCALE_VALUES),
            pair_flop=2 * self.heads * self.head_dim,
        )


def deepseek(f: Fields, served: Served) -> Model:
    """Dense first layers, then routed and shared experts; with an indexer, attention is sparse.

    ``indexer_types`` (GLM 5.2 on): layers that are ``shared`` use the choice of the layer before, and have
    no indexer of their own. ``index_topk_pattern`` says it in letters, ``index_topk_freq`` how far apart
    the layers with one are.
    """
    count, hidden = layer_count(f), f.whole("hidden_size")
    attention, indexer = Latent.of(f), Indexer.of(f)
    first = f.whole("first_k_dense_replace", 0, least=0)
    step = f.whole("moe_layer_freq", 1)
    types, many = _indexers(f, count), f.get("n_routed_experts", "num_local_experts")
    correction = f.text("topk_method", "noaux_tc") == "noaux_tc" and f.text("model_type") != "deepseek_v2"
    layers = []
    for i in range(count):
        prefix = f"model.layers.{i}."
        block = mlp(f"{prefix}mlp.", hidden, f.whole("intermediate_size"))
        if many in f and i >= first and i % step == 0:
            ffn = f.whole("moe_intermediate_size")
            block = moe(
                f"{prefix}mlp.", hidden, ffn, f.whole(many), f.whole("num_experts_per_tok"),
                correction=correction, shared_ffn=ffn * f.whole("n_shared_experts", 0, least=0),
            )  # fmt: skip
        weights = [
            *attention.weights(f"{prefix}self_attn."),
            *block,
            *norms(prefix, hidden, INPUT_AND_POST),
        ]
        caches = [attention.cache(served, indexer.selected if indexer else 0)]
        if indexer is not None and types[i] == "full":
            weights += indexer.weights(f"{prefix}self_attn.", hidden, attention.q_rank)
            caches.append(indexer.cache())
        layers.append(Layer(tuple(weights), tuple(caches)))
    return assemble(f, served, layers)


def _indexers(f: Fields, count: int) -> list[str]:
    """For each layer whether it has an indexer (``full``) or uses that of a layer before (``shared``)."""
    types = f.words("indexer_types", KINDS_OF_INDEXER, count)
    if types is not None:
        return types
    if "index_topk_pattern" in f:
        letters = f.text("index_topk_pattern")
        if len(letters) != count or not set(letters) <= set("FS"):
            f.refuse("index_topk_pattern", f"{count} letters F (an indexer) or S (that of a layer before)")
        return [KINDS_OF_INDEXER["FS".index(letter)] for letter in letters]
    period, offset = f.whole("index_topk_freq", 1), f.whole("index_skip_topk_offset", 2, least=0)
    return [KINDS_OF_INDEXER[max(i - offset + 1, 0) % period != 0] for i in range(count)]


KINDS_OF_INDEXER = ("full", "shared")
