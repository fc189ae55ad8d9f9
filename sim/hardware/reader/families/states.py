"""Hybrids: most layers keep a state of fixed size (linear attention, Mamba), some keys and values."""

from __future__ import annotations

from dataclasses import dataclass

from sim.hardware.dense import BYTES_PER_VALUE
from sim.hardware.model import Cache, Layer, Model
from sim.hardware.reader.assemble import assemble, grouped_heads, layer_count, layer_kinds
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import (
    INPUT_AND_POST,
    Heads,
    Served,
    Weights,
    linear,
    mlp,
    moe,
    norms,
    vector,
)

LINEAR = ("linear_attention", "full_attention")


def state_bytes(f: Fields, key: str, served: Served) -> int:
    """Bytes of a value of a state: as ``key`` says, else as the model is served."""
    return BYTES_PER_VALUE[f.choice(key, tuple(BYTES_PER_VALUE), served.dtype)]


@dataclass(frozen=True, slots=True)
class GatedDelta:
    """Gated DeltaNet (Qwen3-Next, Qwen3.5): a matrix of key size x value size for each value head."""

    hidden: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int
    split_names: bool
    """Whether q, k and v, the gate, and the two rates have a matrix each."""

    @classmethod
    def of(cls, f: Fields) -> GatedDelta:
        """From the ``linear_`` keys."""
        return cls(
            f.whole("hidden_size"), f.whole("linear_num_key_heads", 16),
            f.whole("linear_num_value_heads", 32),
            f.whole("linear_key_head_dim", 128), f.whole("linear_value_head_dim", 128),
            f.whole("linear_conv_kernel_dim", 4), "qwen3_5" in f.text("model_type"),
        )  # fmt: skip

    def weights(self, prefix: str) -> Weights:
        """Projections, a short convolution, decays, a norm."""
        d, keys, values = self.hidden, self.key_heads * self.key_dim, self.value_heads * self.value_dim
        if self.split_names:
            into = [
                linear(f"{prefix}in_proj_qkv", d, 2 * keys + values),
                linear(f"{prefix}in_proj_z", d, values),
                linear(f"{prefix}in_proj_b", d, self.value_heads),
                linear(f"{prefix}in_proj_a", d, self.value_heads),
            ]
        else:
            into = [
                linear(f"{prefix}in_proj_qkvz", d, 2 * keys + 2 * values),
                linear(f"{prefix}in_proj_ba", d, 2 * self.value_heads),
            ]
        return (
            *into,
            linear(f"{prefix}conv1d", self.kernel, 2 * keys + values, linear=False),
            vector(f"{prefix}A_log", self.value_heads, 2),
            vector(f"{prefix}norm", self.value_dim),
            linear(f"{prefix}out_proj", values, d),
        )

    def cache(self, served: Served, ssm_bytes: int) -> Cache:
        """The last inputs of the convolution, and the heads' matrices."""
        keys, values = self.key_heads * self.key_dim, self.value_heads * self.value_dim
        state = self.value_heads * self.key_dim * self.value_dim
        return Cache(
            "mamba",
            heads=self.key_heads,
            query_heads=self.value_heads,
            state_bytes=(self.kernel - 1) * (2 * keys + values) * served.value_bytes + state * ssm_bytes,
            pair_flop=8 * state,
        )


def qwen_hybrid(f: Fields, served: Served) -> Model:
    """Qwen3-Next, Qwen3.5 and 3.6: three layers of Gated DeltaNet, then one of gated attention."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    attention = grouped_heads(
        f,
        bias=f.flag("attention_bias"),
        norms="head",
        gated=f.flag("attn_output_gate", True),
    )
    delta = GatedDelta.of(f)
    ssm = state_bytes(f, "mamba_ssm_dtype", served)
    period = f.whole("full_attention_interval", 4)
    kinds = layer_kinds(f, count, LINEAR, [LINEAR[(i + 1) % period == 0] for i in range(count)])
    step, dense = f.whole("decoder_sparse_step", 1), f.numbers("mlp_only_layers")
    layers = []
    for i, kind in enumerate(kinds):
        prefix = f"model.layers.{i}."
        if "num_experts" not in f or i in dense or (i + 1) % step:
            block = mlp(f"{prefix}mlp.", hidden, f.whole("intermediate_size"))
        else:
            block = moe(
                f"{prefix}mlp.", hidden, f.whole("moe_intermediate_size"), f.whole("num_experts"),
                f.whole("num_experts_per_tok"), shared_ffn=f.whole("shared_expert_intermediate_size", 512),
                shared="shared_expert.", shared_gate=True,
            )  # fmt: skip
        if kind == "full_attention":
            mixer, cache = attention.weights(f"{prefix}self_attn."), attention.cache(served)
        else:
            mixer, cache = delta.weights(f"{prefix}linear_attn."), delta.cache(served, ssm)
        layers.append(Layer((*mixer, *block, *norms(prefix, hidden, INPUT_AND_POST)), (cache,)))
    return assemble(f, served, layers)


@dataclass(frozen=True, slots=True)
class Mamba2:
    """A Mamba-2 mixer: a state of head size x state size for each head."""

    hidden: int
    heads: int
    head_dim: int
    groups: int
    state: int
    kernel: int
    bias: bool
    conv_bias: bool

    @property
    def inner(self) -> int:
        return self.heads * self.head_dim

    @property
    def conv(self) -> int:
        return self.inner + 2 * self.groups * self.state

    def weights(self, prefix: str) -> Weights:
        """Projections in and out, a short convolution, decays, a norm."""
        return (
            linear(f"{prefix}in_proj", self.hidden, self.inner + self.conv + self.heads, self.bias),
            linear(f"{prefix}conv1d", self.kernel, self.conv, self.conv_bias, linear=False),
            vector(f"{prefix}A_log", self.heads, 3),
            vector(f"{prefix}norm", self.inner),
            linear(f"{prefix}out_proj", self.inner, self.hidden, self.bias),
        )

    def cache(self, served: Served, ssm_bytes: int) -> Cache:
        """The last inputs of the convolution, and the heads' states."""
        conv = (self.kernel - 1) * self.conv * served.value_bytes
        return Cache(
            "mamba",
            heads=self.groups,
            query_heads=self.heads,
            state_bytes=conv + self.inner * self.state * ssm_bytes,
            pair_flop=6 * self.inner * self.state,
        )


PATTERN = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}


def nemotron_h(f: Fields, served: Served) -> Model:
    """Nemotron-H and Nemotron 3: every layer is one mixer: Mamba-2, attention, feed-forward or experts."""
    hidden = f.whole("hidden_size")
    kinds = f.raw.get("layers_block_type")
    if "hybrid_override_pattern" in f:
        pattern = f.text("hybrid_override_pattern")
        if not set(pattern) <= set(PATTERN):
            f.refuse("hybrid_override_pattern", f"one of {' '.join(PATTERN)} for each layer")
        kinds = [PATTERN[letter] for letter in pattern]
        if "num_hidden_layers" in f and len(kinds) != layer_count(f):
            f.refuse("hybrid_override_pattern", f"{layer_count(f)} letters, as num_hidden_layers says")
    elif not isinstance(kinds, list) or not kinds or any(kind not in PATTERN.values() for kind in kinds):
        f.refuse(
            "layers_block_type", f"a list of {', '.join(PATTERN.values())}; or hybrid_override_pattern"
        )
    attention = grouped_heads(
        f.over(head_dim=f.raw.get("attention_head_dim") or 128),
        bias=f.flag("attention_bias"), out_bias=f.flag("attention_bias"),
    )  # fmt: skip
    mamba = Mamba2(
        hidden, f.whole("mamba_num_heads"), f.whole("mamba_head_dim"), f.whole("n_groups", 8),
        f.whole("ssm_state_size", 128), f.whole("conv_kernel", 4), f.flag("use_bias"),
        f.flag("use_conv_bias", True),
    )  # fmt: skip
    ssm = state_bytes(f, "mamba_ssm_cache_dtype", served)
    layers = []
    for i, kind in enumerate(kinds):
        prefix = f"model.layers.{i}."
        caches: tuple[Cache, ...] = ()
        if kind == "mamba":
            mixer, caches = mamba.weights(f"{prefix}mixer."), (mamba.cache(served, ssm),)
        elif kind == "attention":
            mixer, caches = attention.weights(f"{prefix}mixer."), (attention.cache(served),)
        elif kind == "mlp":
            mixer = mlp(f"{prefix}mixer.", hidden, f.whole("intermediate_size"), 2, f.flag("mlp_bias"))
        else:
            shared = f.whole("moe_shared_expert_intermediate_size")
            mixer = moe(
                f"{prefix}mixer.", hidden, f.whole("moe_intermediate_size"),
                f.whole(f.get("n_routed_experts", "num_local_experts")),
                f.whole("num_experts_per_tok"), matrices=2, correction=True,
                shared_ffn=shared * f.whole("n_shared_experts", 1, least=0),
                experts_in=f.whole("moe_latent_size") if "moe_latent_size" in f else 0,
            )  # fmt: skip
        layers.append(Layer((*mixer, vector(f"{prefix}norm", hidden)), caches))
    return assemble(f, served, layers)


def jamba(f: Fields, served: Served) -> Model:
    """Jamba: one layer of attention in ``attn_layer_period``, Mamba-1 in the others; experts in some."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    attention = grouped_heads(f)
    inner, state = f.whole("mamba_expand", 2) * hidden, f.whole("mamba_d_state", 16)
    kernel, rank = f.whole("mamba_d_conv", 4), f.whole("mamba_dt_rank", -(-hidden // 16))
    conv_bias, bias = f.flag("mamba_conv_bias", True), f.flag("mamba_proj_bias")
    layers = []
    for i in range(count):
        prefix = f"model.layers.{i}."
        if _at(f, i, "attn_layer_period", 8, "attn_layer_offset", 4):
            mixer, cache = attention.weights(f"{prefix}self_attn."), attention.cache(served)
        else:
            part = f"{prefix}mamba."
            mixer = (
                linear(f"{part}in_proj", hidden, 2 * inner, bias),
                linear(f"{part}conv1d", kernel, inner, conv_bias, linear=False),
                linear(f"{part}x_proj", inner, rank + 2 * state),
                linear(f"{part}dt_proj", rank, inner, True),
                linear(f"{part}A_log", state, inner, linear=False),
                vector(f"{part}D", inner),
                vector(f"{part}norms", rank + 2 * state),
                linear(f"{part}out_proj", inner, hidden, bias),
            )
            size = (kernel - 1) * inner * served.value_bytes + inner * state * served.value_bytes
            cache = Cache(
                "mamba", heads=inner, query_heads=inner, state_bytes=size, pair_flop=6 * inner * state
            )
        block = mlp(f"{prefix}feed_forward.", hidden, f.whole("intermediate_size"))
        many = f.whole(f.get("num_experts", "num_local_experts"), 16)
        if many > 1 and _at(f, i, "expert_layer_period", 2, "expert_layer_offset", 1):
            block = moe(
                f"{prefix}feed_forward.", hidden, f.whole("intermediate_size"), many,
                f.whole("num_experts_per_tok", 2), router="router",
            )  # fmt: skip
        two = norms(prefix, hidden, ("input_layernorm", "pre_ff_layernorm"))
        layers.append(Layer((*mixer, *block, *two), (cache,)))
    return assemble(f, served, layers)


def _at(f: Fields, layer: int, period: str, every: int, offset: str, first: int) -> bool:
    return layer % f.whole(period, every) == f.whole(offset, first, least=0)


def minimax(f: Fields, served: Served) -> Model:
    """MiniMax-Text-01 and M1: seven layers of lightning attention, then one of softmax attention."""
    count, hidden = layer_count(f), f.whole("hidden_size")
    attention = grouped_heads(f)
    inner, state = attention.heads * attention.head_dim, attention.heads * attention.head_dim**2
    given = f.numbers("attn_type_list")
    kinds = [LINEAR[kind] for kind in given] if given else f.words("layer_types", LINEAR, count)
    if kinds is None:
        kinds = [LINEAR[(i + 1) % 2] for i in range(count)]
    if len(kinds) != count:
        f.refuse("attn_type_list", f"a list of {count} of 0 (lightning attention), 1 (softmax attention)")
    layers = []
    for i, kind in enumerate(kinds):
        prefix = f"model.layers.{i}."
        mixer, cache = attention.weights(f"{prefix}self_attn."), attention.cache(served)
        if kind == LINEAR[0]:
            mixer = (
                linear(f"{prefix}self_attn.qkv_proj", hidden, 3 * inner),
                linear(f"{prefix}self_attn.output_gate", hidden, inner),
                linear(f"{prefix}self_attn.out_proj", inner, hidden),
                vector(f"{prefix}self_attn.norm", inner),
            )
            cache = Cache(
                "mamba", heads=attention.heads, query_heads=attention.heads,
                state_bytes=state * 4, pair_flop=4 * state,
            )  # fmt: skip
        block = moe(
            f"{prefix}block_sparse_moe.", hidden, f.whole("intermediate_size"),
            f.whole(f.get("num_local_experts", "num_experts")),
            f.whole("num_experts_per_tok"), names=("w1", "w3", "w2"),
        )  # fmt: skip
        layers.append(Layer((*mixer, *block, *norms(prefix, hidden, INPUT_AND_POST)), (cache,)))
    return assemble(f, served, layers)


__all__ = ["GatedDelta", "Heads", "Mamba2", "jamba", "minimax", "nemotron_h", "qwen_hybrid"]
