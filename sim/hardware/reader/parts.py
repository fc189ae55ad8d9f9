"""What layers are made of: attention, feed-forward, experts, states, as lists of matrices.

Each function gives the weights of one part under the names of its modules in the checkpoint (quantisation
is told by name which of them it leaves out), and what it keeps of a request.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.hardware.model import Cache, CacheKind
from sim.hardware.weights import Weight

Weights = tuple[Weight, ...]


@dataclass(frozen=True, slots=True)
class Served:
    """In which data types a model is served."""

    dtype: str
    """Of weights that are not quantised, and of activations."""
    value_bytes: int
    kv_cache_dtype: str
    kv_bytes: int
    """Of one value in the KV cache."""


def vector(name: str, size: int, count: int = 1) -> Weight:
    """Norms and other small parameters that every GPU holds."""
    return Weight(name, size * count, parts=1, linear=False)


def linear(
    name: str, inputs: int, outputs: int, bias: bool = False, parts: int = 0, *, linear: bool = True
) -> Weight:
    """One matrix product."""
    return Weight(name, outputs, inputs, bias=outputs if bias else 0, parts=parts, linear=linear)


def table(name: str, vocabulary: int, size: int) -> Weight:
    """An embedding table or an output head; tensor parallel GPUs divide the vocabulary."""
    return Weight(name, vocabulary, size, linear=False)


@dataclass(frozen=True, slots=True)
class Heads:
    """Attention with keys and values per head (multi-head, grouped-query, multi-query)."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int = 0
    """0: as ``head_dim``."""
    bias: bool = False
    """On q, k and v."""
    out_bias: bool = False
    norms: str = ""
    """``head``: q and k are normed head by head with one vector each; ``row``: over all heads."""
    gated: bool = False
    """Whether q's matrix also gives a gate as wide as the output."""
    sinks: bool = False
    """A learned number per head."""
    value: bool = True
    """Whether values have a matrix of their own (else they are the keys)."""
    out: str = "o_proj"

    @property
    def v_dim(self) -> int:
        return self.v_head_dim or self.head_dim

    def weights(self, prefix: str) -> Weights:
        """Its matrices; ``prefix`` ends in a dot."""
        d, q = self.hidden, self.heads * self.head_dim
        found = [
            linear(f"{prefix}q_proj", d, q * (2 if self.gated else 1), self.bias),
            linear(f"{prefix}k_proj", d, self.kv_heads * self.head_dim, self.bias, self.kv_heads),
        ]
        if self.value:
            found.append(linear(f"{prefix}v_proj", d, self.kv_heads * self.v_dim, self.bias, self.kv_heads))
        found.append(linear(f"{prefix}{self.out}", self.heads * self.v_dim, d, self.out_bias))
        if self.norms == "head":
            found.append(vector(f"{prefix}q_norm", self.head_dim, 2))
        if self.norms == "row":
            found.append(vector(f"{prefix}q_norm", q + self.kv_heads * self.head_dim))
        if self.sinks:
            found.append(vector(f"{prefix}sinks", self.heads))
        return tuple(found)

    def cache(self, served: Served, kind: CacheKind = "full", window: int = 0) -> Cache:
        """Key and value of every head; 2 FLOP for each value of a query, twice (scores, sums)."""
        width = self.head_dim + self.v_dim
        return Cache(
            kind,
            window,
            token_bytes=self.kv_heads * width * served.kv_bytes,
            heads=self.kv_heads,
            query_heads=self.heads,
            pair_flop=2 * self.heads * width,
        )


def mlp(
    prefix: str, hidden: int, ffn: int, matrices: int = 3, bias: bool = False, names: tuple[str, ...] = ()
) -> Weights:
    """A feed-forward of two matrices (up, down) or three (gate, up, down)."""
    names = names or ("gate_proj", "up_proj", "down_proj")[3 - matrices :]
    *into, out = names
    found = [linear(f"{prefix}{name}", hidden, ffn, bias) for name in into]
    return (*found, linear(f"{prefix}{out}", ffn, hidden, bias))


def experts(
    prefix: str,
    hidden: int,
    ffn: int,
    count: int,
    used: int,
    matrices: int = 3,
    bias: bool = False,
    names: tuple[str, ...] = (),
) -> Weights:
    """``count`` equal feed-forwards of which a token meets ``used``."""
    found = mlp(f"{prefix}0.", hidden, ffn, matrices, bias, names)
    return tuple(Weight(w.name, w.outputs, w.inputs, count, used, w.bias) for w in found)


def moe(
    prefix: str,
    hidden: int,
    ffn: int,
    count: int,
    used: int,
    *,
    matrices: int = 3,
    names: tuple[str, ...] = (),
    bias: bool = False,
    router: str = "gate",
    router_bias: bool = False,
    correction: bool = False,
    shared_ffn: int = 0,
    shared: str = "shared_experts.",
    shared_gate: bool = False,
    experts_in: int = 0,
) -> Weights:
    """A router, ``count`` experts of which a token meets ``used``, and experts that every token meets.

    ``correction``: a number per expert that balances the router. ``experts_in``: the width in which the
    routed experts work, if it is not the model's, with a matrix into it and one out of it.
    """
    gate = linear(f"{prefix}{router}", hidden, count, router_bias, 1, linear=False)
    found = [
        gate,
        *experts(f"{prefix}experts.", experts_in or hidden, ffn, count, used, matrices, bias, names),
    ]
    if correction:
        found.append(vector(f"{prefix}{router}.e_score_correction_bias", count))
    if experts_in:
        found.append(linear(f"{prefix}fc1_latent_proj", hidden, experts_in))
        found.append(linear(f"{prefix}fc2_latent_proj", experts_in, hidden))
    if shared_ffn:
        found += mlp(f"{prefix}{shared}", hidden, shared_ffn, matrices, bias, names)
    if shared_gate:
        found.append(linear(f"{prefix}{shared[:-1]}_gate", hidden, 1, parts=1, linear=False))
    return tuple(found)


def norms(prefix: str, hidden: int, names: tuple[str, ...], bias: bool = False) -> Weights:
    """One vector for each of ``names``, two with ``bias`` (LayerNorm)."""
    return tuple(vector(f"{prefix}{name}", hidden, 2 if bias else 1) for name in names)


INPUT_AND_POST = ("input_layernorm", "post_attention_layernorm")
