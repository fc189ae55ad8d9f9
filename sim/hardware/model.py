"""A model as its serving engine sees it: layers, their weights, and what they keep of a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sim.hardware.dense import DenseDecoder
from sim.hardware.parallel import ONE_GPU, Parallel, stages
from sim.hardware.weights import Weight, total_bytes

CacheKind = Literal["full", "swa", "chunk", "mamba"]


@dataclass(frozen=True, slots=True)
class Cache:
    """What one layer keeps of a request, and what attending to it costs.

    - ``full``: keys and values (or their latent) of every token.
    - ``swa``: of the last ``window`` tokens.
    - ``chunk``: of the tokens of the present chunk of ``window`` tokens.
    - ``mamba``: a state of ``state_bytes``, whatever the length (linear attention, Mamba).
    """

    kind: CacheKind = "full"
    window: int = 0
    token_bytes: int = 0
    """Per entry, in the KV cache's data type, on all tensor parallel GPUs together without copies."""
    heads: int = 1
    """KV heads among which tensor parallel GPUs divide it; 1 (MLA's latent): each holds a copy; 0: any
    number divides it evenly."""
    per: int = 1
    """Tokens that share one entry (a compressed cache)."""
    state_bytes: int = 0
    query_heads: int = 1
    """Attention heads (of a state: its heads) among which tensor parallel GPUs divide the work; 0: any."""
    pair_flop: int = 0
    """FLOP for each pair of a new token and an entry that it attends to, in a prefill."""
    decode_flop: int = 0
    """The same in a decode, which may compute another way (MLA works on the latent); 0: as in a prefill."""
    selected: int = 0
    """Entries at most that a token attends to, picked among all (sparse attention); 0 for all."""

    def token_bytes_per_gpu(self, tensor: int) -> float:
        """Growth per token on each of ``tensor`` GPUs: whole heads, at least one."""
        return self.token_bytes * self._share(tensor) / self.per

    def state_bytes_per_gpu(self, tensor: int) -> float:
        """The state on each of ``tensor`` GPUs."""
        return self.state_bytes * self._share(tensor)

    def _share(self, tensor: int) -> float:
        heads = self.heads or tensor
        return max(1, heads // tensor) / heads


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its matrices and what it keeps. A layer that shares another's KV keeps nothing."""

    weights: tuple[Weight, ...]
    caches: tuple[Cache, ...] = ()
    shared: tuple[Cache, ...] = ()
    """Caches of other layers that it attends to."""

    @property
    def params(self) -> int:
        return sum(weight.params for weight in self.weights)


@dataclass(frozen=True, slots=True)
class KvGroup:
    """All layers that keep the same of a request: one kind, one window."""

    kind: CacheKind
    window: int
    layers: int
    token_bytes: float
    """KV bytes per token of all these layers together (windows: while the window fills)."""
    state_bytes: int
    """Bytes per request, whatever its length (kind ``mamba``)."""

    @property
    def name(self) -> str:
        """As ``cache.groups`` and the recordings name it: full, swa:128, chunk:8192, mamba:align."""
        if self.kind == "mamba":
            return "mamba:align"
        return self.kind if self.kind == "full" else f"{self.kind}:{self.window}"


@dataclass(frozen=True)
class Model:
    """A decoder with all its layers; sizes are as served, in ``dtype`` and ``kv_cache_dtype``."""

    name: str
    layers: tuple[Layer, ...]
    embedding: Weight
    head: Weight | None
    """The output head; None if the embedding is used again."""
    others: tuple[Weight, ...]
    """What stands outside of the layers besides: the last norm, tables of positions or per layer."""
    vision: tuple[Weight, ...]
    """Towers for images and sound, with their projectors: in memory, but no part of a token's way."""
    max_position_embeddings: int
    vocab_size: int
    hidden_size: int
    dtype: str = "bfloat16"
    kv_cache_dtype: str = "bfloat16"
    value_bytes: int = 2
    """Of a value in ``dtype``."""
    quantization: str = "none"
    """Name of the checkpoint's format."""
    has_mtp: bool = False
    """Whether its checkpoint has a module for multi-token prediction that is like its last layer."""
    dense: DenseDecoder | None = None
    """The plain shape, where the model is one that `calibration` can build; else None."""

    def _weights(self) -> Iterator[Weight]:
        for layer in self.layers:
            yield from layer.weights
        yield self.embedding
        if self.head is not None:
            yield self.head
        yield from self.others
        yield from self.vision

    @cached_property
    def params(self) -> int:
        """All parameters: layers, embedding, head unless tied, norms, towers. No draft layers (MTP)."""
        return sum(weight.params for weight in self._weights())

    @cached_property
    def active_params(self) -> int:
        """Parameters that one token is multiplied with: of experts those it is sent to, the head, no
        embedding table (a look-up) and no towers."""
        layers = sum(weight.active_params for layer in self.layers for weight in layer.weights)
        return layers + self.output_head.params + sum(weight.active_params for weight in self.others)

    @property
    def output_head(self) -> Weight:
        """The matrix that makes logits: the embedding where they are tied."""
        return self.head if self.head is not None else self.embedding

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all weights once, as served."""
        return round(total_bytes(self._weights()))

    @cached_property
    def kv_groups(self) -> tuple[KvGroup, ...]:
        """Layers by what they keep: full attention first, then the others as they come."""
        found: dict[tuple[CacheKind, int], list[tuple[int, Cache]]] = {}
        for number, layer in enumerate(self.layers):
            for cache in layer.caches:
                found.setdefault((cache.kind, cache.window), []).append((number, cache))
        groups = [
            KvGroup(
                kind,
                window,
                len({number for number, _ in caches}),
                sum(cache.token_bytes / cache.per for _, cache in caches),
                sum(cache.state_bytes for _, cache in caches),
            )
            for (kind, window), caches in found.items()
        ]
        return tuple(sorted(groups, key=lambda group: group.kind != "full"))

    @cached_property
    def kv_bytes_per_token(self) -> int:
        """What a request's KV grows by with each token, however long it is: layers with full attention.

        Windows and chunks stop growing when they are full, states do not grow (`kv_groups` has them). A
        model of windows only: what it grows by until its windows are full.
        """
        return round(self._growth(ONE_GPU.tensor, range(len(self.layers))))

    @cached_property
    def state_bytes_per_request(self) -> int:
        """States of linear attention and Mamba layers, for each request that runs."""
        return sum(group.state_bytes for group in self.kv_groups)

    def kv_bytes(self, tokens: int) -> float:
        """KV and states of one request of ``tokens`` tokens, all layers, in bytes.

        Windows count what they still see, without what an engine holds beyond it to the next block.
        """
        found = 0.0
        for group in self.kv_groups:
            seen = tokens
            if group.kind == "swa":
                seen = min(tokens, group.window)
            elif group.kind == "chunk":
                seen = min(tokens, (tokens - 1) % group.window + 1)
            found += group.token_bytes * seen + group.state_bytes
        return found

    def group_names(self) -> list[str]:
        """One name for each group of layers that vLLM keeps a block table for.

        Its groups have equal numbers of layers: of 10 layers with full attention and 52 with a window of
        1,024 there are one and six (``_get_kv_cache_groups_uniform_page_size``).
        """
        size = self.group_layers
        return [group.name for group in self.kv_groups for _ in range(-(-group.layers // size))]

    @property
    def group_layers(self) -> int:
        """Layers of which vLLM makes room in each of its groups; the last one of a kind may have fewer."""
        counts = [group.layers for group in self.kv_groups]
        size = min(counts, default=0)
        return max(counts) if counts and max(counts) < 1.25 * size else size

    def weight_bytes_per_gpu(self, parallel: Parallel = ONE_GPU) -> int:
        """Bytes of weights on the GPU that holds most."""
        found = []
        cuts = stages(len(self.layers), parallel.pipeline)
        for stage in cuts:
            weights = [weight for i in stage for weight in self.layers[i].weights]
            if stage is cuts[0]:
                weights += [self.embedding, *self.vision]
            if stage is cuts[-1]:
                weights += self.others
                if self.head is not None or parallel.pipeline > 1:
                    weights += [self.output_head]
            found.append(sum(weight.bytes_per_gpu(parallel) for weight in weights))
        return round(max(found))

    def kv_bytes_per_token_per_gpu(self, parallel: Parallel = ONE_GPU) -> int:
        """`kv_bytes_per_token` on the GPU that holds most: KV heads fewer than GPUs are copied."""
        cuts = stages(len(self.layers), parallel.pipeline)
        return round(max(self._growth(parallel.tensor, stage) for stage in cuts))

    @property
    def experts(self) -> int:
        """Routed experts of a layer, 1 for a dense model."""
        return max(weight.count for layer in self.layers for weight in layer.weights)

    def split_heads(self) -> list[tuple[int, int]]:
        """Attention heads and KV heads of its layers, each pair once: tensor parallelism divides them.

        Without what every GPU has (indexers) and what divides evenly.
        """
        caches = [cache for layer in self.layers for cache in (*layer.caches, *layer.shared)]
        return sorted(
            {(cache.query_heads, cache.heads) for cache in caches if cache.query_heads != 1 and cache.heads}
        )

    def _growth(self, tensor: int, layers: range) -> float:
        caches = [cache for i in layers for cache in self.layers[i].caches]
        return sum(cache.token_bytes_per_gpu(tensor) for cache in caches if cache.kind in self._growing)

    @property
    def growing_layers(self) -> int:
        """Layers that `kv_bytes_per_token` counts."""
        return sum(group.layers for group in self.kv_groups if group.kind in self._growing)

    @cached_property
    def _growing(self) -> tuple[CacheKind, ...]:
        kinds = Counter(cache.kind for layer in self.layers for cache in layer.caches)
        return ("full",) if kinds["full"] else ("swa", "chunk")
