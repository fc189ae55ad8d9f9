"""A real decoder-only transformer with random weights: what is timed, and what serves in validation.

Grouped-query attention, RMSNorm, SwiGLU and rotary positions over a paged KV pool, in the shapes of the
catalogue. Norms on q and k (Qwen3) are left out: they have no field there and cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from calibration.attention import Choice, Layout
from sim.hardware.dense import DenseDecoder

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
ROPE_THETA = 10_000.0
EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Work:
    """One sequence's part of a step: ``new`` tokens behind ``cached`` ones, and its block table."""

    cached: int
    new: int
    blocks: Sequence[int] | np.ndarray[Any, Any]


@dataclass(slots=True)
class Step:
    """A step's inputs on the device."""

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    """Where in the pool each new token's key and value go."""
    last: Tensor | None
    """Rows of the last token of each sequence; None if every token is one."""
    plan: Any


@dataclass(slots=True)
class Layer:
    """Weights of one block; q, k and v are one matrix, gate and up another, as engines fuse them."""

    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


class KvPool:
    """Keys and values of all layers in blocks; one block more than asked for takes what is thrown away."""

    def __init__(
        self, model: DenseDecoder, blocks: int, block_size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (
            model.num_hidden_layers,
            2,
            blocks + 1,
            block_size,
            model.num_key_value_heads,
            model.head_dim,
        )
        self.blocks, self.block_size = blocks, block_size
        self.data = torch.zeros(shape, dtype=dtype, device=device)

    def fill(self, seed: int) -> None:
        """Random content everywhere: zero operands would run faster than real ones."""
        self.data.normal_(generator=_random(seed, self.data.device))

    def layer(self, number: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, each (blocks, block size, KV heads, head size)."""
        return self.data[number, 0], self.data[number, 1]


class Decoder:
    """The model with weights of scale 1/sqrt(fan in) drawn from ``seed``."""

    def __init__(
        self, model: DenseDecoder, attention: Choice, pool: KvPool, longest: int, seed: int = 0
    ) -> None:
        self.model, self.attention, self.pool = model, attention, pool
        self.device, self.dtype = pool.data.device, pool.data.dtype
        random = _random(seed, self.device)

        def matrix(rows: int, columns: int) -> Tensor:
            weight = torch.empty(rows, columns, dtype=self.dtype, device=self.device)
            weight.normal_(std=columns**-0.5, generator=random)
            if self.device.type == "cpu":  # stored by columns: products of few rows take half the time
                weight = weight.t().contiguous().t()
            return weight

        d, size, ffn = model.hidden_size, model.head_dim, model.intermediate_size
        queries, kv = model.num_attention_heads * size, model.num_key_value_heads * size
        ones = torch.ones(d, dtype=self.dtype, device=self.device)
        self.embedding = matrix(model.vocab_size, d)
        self.head = self.embedding if model.tie_word_embeddings else matrix(model.vocab_size, d)
        self.norm = ones
        self.layers = [
            Layer(
                attention_norm=ones.clone(),
                qkv=matrix(queries + 2 * kv, d),
                qkv_bias=matrix(1, queries + 2 * kv)[0] if model.attention_bias else None,
                out=matrix(d, queries),
                mlp_norm=ones.clone(),
                gate_up=matrix(2 * ffn, d),
                down=matrix(d, ffn),
            )
            for _ in range(model.num_hidden_layers)
        ]
        self._cos, self._sin = _rotations(longest, size, self.dtype, self.device)

    @torch.inference_mode()
    def prepare(self, work: Sequence[Work], tokens: Sequence[int] | np.ndarray[Any, Any]) -> Step:
        """Put a step's inputs onto the device; ``tokens`` are the new ones of all sequences in order."""
        size = self.pool.block_size
        new = np.array([w.new for w in work])
        table = np.zeros((len(work), max(-(-(w.cached + w.new) // size) for w in work)), dtype=np.int32)
        for row, w in enumerate(work):
            needed = -(-(w.cached + w.new) // size)
            table[row, :needed] = w.blocks[:needed]
        ends = np.cumsum(new)
        row_of = np.repeat(np.arange(len(work)), new)
        first = np.array([w.cached for w in work]) - (ends - new)
        positions = np.arange(ends[-1]) + first[row_of]
        slots = table[row_of, positions // size].astype(np.int64) * size + positions % size
        inputs = torch.from_numpy(np.stack([np.asarray(tokens, dtype=np.int64), positions, slots]))
        inputs = inputs.to(self.device, non_blocking=True)
        layout = Layout([(w.cached, w.new) for w in work], torch.from_numpy(table).to(self.device), size)
        last = None
        if len(work) < ends[-1]:
            last = torch.from_numpy(ends - 1).to(self.device, non_blocking=True)
        return Step(inputs[0], inputs[1], inputs[2], last, self.attention.backend.plan(layout))

    @torch.inference_mode()
    def forward(self, step: Step) -> Tensor:
        """Logits (sequences, vocabulary) behind the last token of each sequence."""
        model, backend = self.model, self.attention.backend
        heads, kv, size = model.num_attention_heads, model.num_key_value_heads, model.head_dim
        x = functional.embedding(step.tokens, self.embedding)
        cos = self._cos.index_select(0, step.positions)[:, None]
        sin = self._sin.index_select(0, step.positions)[:, None]
        for number, layer in enumerate(self.layers):
            y = functional.rms_norm(x, (model.hidden_size,), layer.attention_norm, EPSILON)
            qkv = functional.linear(y, layer.qkv, layer.qkv_bias).view(-1, heads + 2 * kv, size)
            turned = _rotate(qkv[:, : heads + kv], cos, sin)
            keys, values = self.pool.layer(number)
            keys.flatten(0, 1).index_copy_(0, step.slots, turned[:, heads:])
            values.flatten(0, 1).index_copy_(0, step.slots, qkv[:, heads + kv :])
            mixed = backend.run(turned[:, :heads].contiguous(), keys, values, step.plan)
            x = x + functional.linear(mixed.flatten(1), layer.out)
            y = functional.rms_norm(x, (model.hidden_size,), layer.mlp_norm, EPSILON)
            gate, up = functional.linear(y, layer.gate_up).chunk(2, dim=-1)
            x = x + functional.linear(functional.silu(gate) * up, layer.down)
        if step.last is not None:
            x = x.index_select(0, step.last)
        x = functional.rms_norm(x, (model.hidden_size,), self.norm, EPSILON)
        return functional.linear(x, self.head)


def _random(seed: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device=device).manual_seed(seed)


def _rotations(longest: int, size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    rates = ROPE_THETA ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.arange(longest, dtype=torch.float64)[:, None] * torch.cat([rates, rates])
    return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, halves paired as in Llama."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
