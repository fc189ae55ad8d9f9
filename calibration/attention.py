"""Attention over a paged KV pool: three ways to do it in plain torch, and a probe that picks one.

``varlen-paged``   torch's variable-length attention reading the block table itself
``varlen-gather``  the same after gathering keys and values of the batch
``sdpa``           one scaled-dot-product attention per sequence under a dense mask (any device)
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""Largest relative difference of two ways to compute the same, by dtype."""
PROBED = [(300, 40), (1199, 5), (0, 17), (1299, 1), (511, 1)]
"""(cached, new) tokens of the batch on which a backend must agree with plain arithmetic.

Several short queries over long contexts, and several decodes: what kernels divide among processors.
"""


@dataclass(slots=True)
class Layout:
    """Where a step's sequences lie: (cached, new) tokens of each, and their block tables, padded."""

    sequences: list[tuple[int, int]]
    table: Tensor
    """int32, sequences x most blocks, on the device."""
    block_size: int


class Backend(Protocol):
    """One way to compute attention; ``plan`` is made once per step and used by every layer."""

    name: str
    in_graphs: bool
    """Whether a plan of decodes holds for any contexts, so that a CUDA graph can replay it."""

    def plan(self, layout: Layout) -> Any:
        """What the layers share in this step."""

    def run(self, q: Tensor, keys: Tensor, values: Tensor, plan: Any) -> Tensor:
        """q (tokens, heads, size) against one layer's pool (blocks, block size, KV heads, size)."""


class Sdpa:
    """Per sequence: gather its blocks, fold the query heads of a KV head into rows, mask densely."""

    name = "sdpa"
    in_graphs = False

    def __init__(self, heads: int, kv_heads: int, dtype: torch.dtype) -> None:
        self._kv_heads, self._group, self._dtype = kv_heads, heads // kv_heads, dtype

    def plan(self, layout: Layout) -> list[tuple[Tensor, int, int, Tensor | None]]:
        """Per sequence: its blocks, new tokens, tokens in all, additive mask (None for one row)."""
        parts = []
        for row, (cached, new) in enumerate(layout.sequences):
            total = cached + new
            blocks = layout.table[row, : -(-total // layout.block_size)]
            mask = None
            if new > 1:
                mask = torch.full((new, total), -torch.inf, dtype=self._dtype, device=blocks.device)
                mask = mask.triu_(cached + 1).repeat(self._group, 1)
            parts.append((blocks, new, total, mask))
        return parts

    def run(self, q: Tensor, keys: Tensor, values: Tensor, plan: Any) -> Tensor:
        """See `Backend`."""
        out = torch.empty_like(q)
        first = 0
        kv, group, size = self._kv_heads, self._group, q.shape[-1]
        for blocks, new, total, mask in plan:
            k = keys.index_select(0, blocks).view(-1, kv, size)[:total].transpose(0, 1)
            v = values.index_select(0, blocks).view(-1, kv, size)[:total].transpose(0, 1)
            rows = q[first : first + new].view(new, kv, group, size).permute(1, 2, 0, 3)
            got = functional.scaled_dot_product_attention(
                rows.reshape(1, kv, group * new, size), k[None], v[None], attn_mask=mask
            )
            got = got.view(kv, group, new, size).permute(2, 0, 1, 3)
            out[first : first + new] = got.reshape(new, kv * group, size)
            first += new
        return out


@dataclass(slots=True)
class KernelRun:
    """Neighbouring sequences that one call of the kernel computes: decodes, or none of them."""

    rows: slice
    """Their queries."""
    starts: Tensor
    key_starts: Tensor | None
    used: Tensor | None
    """Tokens in KV of each, where the kernel reads block tables."""
    table: Tensor | None
    slots: Tensor | None
    most_new: int
    most_total: int


class Varlen:
    """torch.nn.attention.varlen; its arguments differ between versions, so they are looked up.

    Decodes get a call of their own, without a causal mask (one query sees every key anyway): only then
    does FlashAttention 2 pack the query heads of a KV head and divide long contexts among processors, and
    a short query costs no empty tiles beside a long one.

    ``key_starts``: FlashAttention 2 refuses block tables without the starts of packed keys, though it does
    not read them; FlashAttention 3 refuses both together. ``whole``: contexts are not divided where
    queries are not packed; torch's FlashAttention 2 then returns wrong rows (pytorch issue 194167).
    """

    def __init__(self, *, paged: bool, key_starts: bool = True, whole: bool = False) -> None:
        from torch.nn.attention.varlen import varlen_attn

        self.name = "varlen-paged" if paged else "varlen-gather"
        self.in_graphs = paged
        self._paged, self._key_starts = paged, key_starts
        self._attend = varlen_attn
        known = inspect.signature(varlen_attn).parameters
        if paged and "block_table" not in known:
            raise NotImplementedError("this torch's varlen_attn takes no block_table")
        if whole and "num_splits" not in known:
            raise NotImplementedError("this torch's varlen_attn takes no num_splits")
        self._options: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in known else {}
        self._causal: dict[str, Any] = {"window_size": (-1, 0)}
        if "window_size" not in known:
            self._causal = {"is_causal": True}
        self._whole: dict[str, Any] = {"num_splits": 1} if whole else {}

    def plan(self, layout: Layout) -> list[KernelRun]:
        """Runs of decodes and of other sequences, in order."""
        runs: list[KernelRun] = []
        first = row = 0
        for _, group in itertools.groupby(layout.sequences, key=lambda sequence: sequence[1] == 1):
            some = list(group)
            tokens = sum(new for _, new in some)
            part = Layout(some, layout.table[first : first + len(some)], layout.block_size)
            runs.append(self._run_of(part, slice(row, row + tokens)))
            first, row = first + len(some), row + tokens
        return runs

    def _run_of(self, layout: Layout, rows: slice) -> KernelRun:
        device, size = layout.table.device, layout.block_size
        new = [n for _, n in layout.sequences]
        total = [h + n for h, n in layout.sequences]
        run = KernelRun(rows, _starts(new, device), None, None, None, None, max(new), max(total))
        if self._paged:
            run.used = torch.tensor(total, dtype=torch.int32, device=device)
            run.table = layout.table
            run.key_starts = torch.zeros_like(run.starts) if self._key_starts else None
        else:
            run.key_starts = _starts(total, device)
            places = [torch.arange(tokens, device=device) for tokens in total]
            run.slots = torch.cat(
                [layout.table[i, at // size].long() * size + at % size for i, at in enumerate(places)]
            )
        return run

    def run(self, q: Tensor, keys: Tensor, values: Tensor, plan: Any) -> Tensor:
        """See `Backend`."""
        parts = [self._attend_run(q[run.rows], keys, values, run) for run in plan]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _attend_run(self, q: Tensor, keys: Tensor, values: Tensor, run: KernelRun) -> Tensor:
        options = dict(self._options)
        if run.most_new > 1:
            options |= self._causal
        if run.most_new > 1 or q.shape[1] == keys.shape[-2]:
            options |= self._whole
        if run.slots is not None:
            keys = keys.flatten(0, 1).index_select(0, run.slots)
            values = values.flatten(0, 1).index_select(0, run.slots)
        else:
            options |= {"seqused_k": run.used, "block_table": run.table}
        out = self._attend(
            q, keys, values, run.starts, run.key_starts, run.most_new, run.most_total, **options
        )
        assert isinstance(out, Tensor)
        return out


def _starts(lengths: list[int], device: torch.device) -> Tensor:
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    return torch.tensor(starts, dtype=torch.int32, device=device)


@dataclass(slots=True)
class Choice:
    """The backend taken, the block size that it wants, and why the ones before it were not taken."""

    backend: Backend
    block_size: int
    rejected: dict[str, str]


def choose(heads: int, kv_heads: int, head_size: int, dtype: torch.dtype, device: torch.device) -> Choice:
    """The first backend that runs on ``device`` and agrees with plain arithmetic in `TOLERANCE`."""
    tried: dict[str, list[str]] = {}
    for name, block_size, make in _candidates(heads, kv_heads, dtype):
        try:
            backend = make()
            _agree(backend, block_size, heads, kv_heads, head_size, dtype, device)
        except (RuntimeError, NotImplementedError, ImportError, TypeError, ValueError) as error:
            said = str(error).strip().splitlines()
            reason = (said[0] if said else repr(error))[:120]
            reasons = tried.setdefault(f"{name}, blocks of {block_size}", [])
            if reason not in reasons:
                reasons.append(reason)
        else:
            return Choice(backend, block_size, {key: "; ".join(why) for key, why in tried.items()})
    raise RuntimeError(f"no attention backend works on {device}: {tried}")


def _candidates(
    heads: int, kv_heads: int, dtype: torch.dtype
) -> Iterator[tuple[str, int, Callable[[], Backend]]]:
    """Backends in order of preference, each with a block size; see `Varlen` for its variants."""
    for block_size in (16, 256):
        for key_starts, whole in itertools.product((True, False), (True, False)):
            make = partial(Varlen, paged=True, key_starts=key_starts, whole=whole)
            yield "varlen-paged", block_size, make
    yield "varlen-gather", 16, partial(Varlen, paged=False)
    yield "sdpa", 16, partial(Sdpa, heads, kv_heads, dtype)


def _agree(
    backend: Backend,
    block_size: int,
    heads: int,
    kv_heads: int,
    size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Raise ValueError unless ``backend`` gives what the definition of attention gives."""
    random = torch.Generator().manual_seed(0)
    most = max(h + n for h, n in PROBED)
    blocks = -(-most // block_size)
    pool = torch.randn(2, len(PROBED) * blocks, block_size, kv_heads, size, generator=random)
    order = torch.randperm(len(PROBED) * blocks, generator=random).view(len(PROBED), blocks)
    q = torch.randn(sum(n for _, n in PROBED), heads, size, generator=random)
    pool, q = pool.to(dtype), q.to(dtype)
    layout = Layout(PROBED, order.to(device, torch.int32), block_size)
    there = pool.to(device)
    got = backend.run(q.to(device), there[0], there[1], backend.plan(layout)).cpu().double()
    want = _plainly(q.double(), pool.double(), order)
    difference = float((got - want).norm() / want.norm())
    if not difference <= TOLERANCE[dtype]:
        raise ValueError(f"differs from plain arithmetic by {difference:.1e}")


def _plainly(q: Tensor, pool: Tensor, table: Tensor) -> Tensor:
    """Causal softmax attention, written down."""
    group = q.shape[1] // pool.shape[3]
    out, first = [], 0
    for row, (cached, new) in enumerate(PROBED):
        k, v = (part[table[row]].flatten(0, 1)[: cached + new].repeat_interleave(group, 1) for part in pool)
        scores = torch.einsum("qhd,khd->hqk", q[first : first + new], k) / q.shape[-1] ** 0.5
        future = torch.arange(cached + new) > torch.arange(cached, cached + new)[:, None]
        scores.masked_fill_(future, -torch.inf)
        out.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v))
        first += new
    return torch.cat(out)
