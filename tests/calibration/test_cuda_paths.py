"""What only a GPU runs, as far as a CPU can follow it: torch's kernel is played by plain arithmetic.

The fake takes the arguments of ``torch.nn.attention.varlen.varlen_attn`` and computes what its
documentation says; so the tables, starts and padding handed to the kernel are checked, not the kernel.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")

import torch
from torch import Tensor

from calibration import attention, graphs
from calibration.attention import Choice, Varlen
from calibration.graphs import DecodeGraph, DecodeGraphs
from calibration.model import Decoder, KvPool, Step, Work
from calibration.plan import CACHED, GRIDS, PREFILL, plan
from calibration.runner import Runner
from sim.hardware import catalogue

TINY = catalogue.dense("tiny-1m", Path())
CPU = torch.device("cpu")


def fake_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool,
    seqused_k: Tensor | None = None,
    block_table: Tensor | None = None,
    num_splits: int | None = None,
) -> Tensor:
    """Attention aligned to the end of each sequence, keys packed or in pages.

    As torch's FlashAttention 2: causal where the window says so, starts of keys always given and not read
    with pages, and wrong rows where it divides contexts of queries that it does not pack.
    """
    assert enable_gqa
    packs = max_q == 1 and window_size == (-1, -1) and query.shape[1] > key.shape[-2]
    if cu_seq_k is None:
        raise RuntimeError("cu_seq_q and cu_seq_k must be both set or both not set")
    assert all(
        t.dtype == torch.int32 for t in (cu_seq_q, cu_seq_k, seqused_k, block_table) if t is not None
    )
    out = torch.empty_like(query)
    for i in range(len(cu_seq_q) - 1):
        first, last = int(cu_seq_q[i]), int(cu_seq_q[i + 1])
        assert last - first <= max_q
        if block_table is not None:
            assert seqused_k is not None
            total = int(seqused_k[i])
            pages = block_table[i, : -(-total // key.shape[1])].long()
            k, v = key[pages].flatten(0, 1)[:total], value[pages].flatten(0, 1)[:total]
        else:
            k, v = (t[int(cu_seq_k[i]) : int(cu_seq_k[i + 1])] for t in (key, value))
        assert len(k) <= max_k
        group = query.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        new, total = last - first, len(k)
        scores = torch.einsum("qhd,khd->hqk", query[first:last], k) / query.shape[-1] ** 0.5
        if window_size == (-1, 0):
            future = torch.arange(total) > torch.arange(total - new, total)[:, None]
            scores.masked_fill_(future, -torch.inf)
        out[first:last] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
    if block_table is not None and not packs and num_splits != 1:
        out[max_q:] = torch.nan
    return out


def _varlen(*, paged: bool, whole: bool = True) -> Any:
    backend = Varlen(paged=paged, whole=whole)
    backend._attend = cast(Any, fake_kernel)
    return backend


@pytest.mark.parametrize("paged", [True, False])
@pytest.mark.parametrize("block_size", [16, 256])
def test_the_kernel_is_handed_the_right_tables(paged: bool, block_size: int) -> None:
    """The probe's batch through both variable-length backends agrees with the definition of attention."""
    attention._agree(_varlen(paged=paged), block_size, 4, 2, 32, torch.float64, CPU)


@pytest.mark.parametrize("kv_heads", [2, 4])
def test_the_probe_finds_divided_contexts(kv_heads: int) -> None:
    """A kernel that returns wrong rows for several queries is refused unless contexts stay whole."""
    with pytest.raises(ValueError, match="differs from plain arithmetic by nan"):
        attention._agree(_varlen(paged=True, whole=False), 16, 4, kv_heads, 32, torch.float64, CPU)
    attention._agree(_varlen(paged=True), 16, 4, kv_heads, 32, torch.float64, CPU)


def test_the_paged_kernel_is_taken_as_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all variants the one that torch's kernel takes; refusals are kept once each."""
    from torch.nn.attention import varlen

    monkeypatch.setattr(varlen, "varlen_attn", fake_kernel)
    choice = attention.choose(4, 2, 32, torch.float64, CPU)
    assert choice.backend.name == "varlen-paged" and choice.backend.in_graphs and not choice.rejected

    def older(*args: Any, num_splits: int | None = None, **more: Any) -> Tensor:
        if num_splits is not None:
            raise RuntimeError("num_splits requires FA3")
        if more["block_table"] is not None and args[1].shape[1] % 256:
            raise RuntimeError("Paged KV cache block size must be divisible by 256")
        return fake_kernel(*args, **more, num_splits=1)

    older.__signature__ = inspect.signature(fake_kernel)  # type: ignore[attr-defined]
    monkeypatch.setattr(varlen, "varlen_attn", older)
    choice = attention.choose(4, 2, 32, torch.float64, CPU)
    assert choice.block_size == 256 and choice.backend.name == "varlen-paged"
    assert choice.rejected == {
        "varlen-paged, blocks of 16": (
            "num_splits requires FA3; Paged KV cache block size must be divisible by 256"
        ),
        "varlen-paged, blocks of 256": "num_splits requires FA3",
    }


def test_decodes_have_a_call_of_their_own() -> None:
    """A step of prefills and decodes: each decode run is unmasked and no longer than a token."""
    backend = _varlen(paged=True)
    table = torch.arange(12, dtype=torch.int32).view(4, 3)
    plan = backend.plan(attention.Layout([(20, 1), (9, 1), (0, 30), (7, 1)], table, 16))
    assert [(run.rows, run.most_new, run.most_total) for run in plan] == [
        (slice(0, 2), 1, 21),
        (slice(2, 32), 30, 30),
        (slice(32, 33), 1, 8),
    ]
    assert [run.table.tolist() for run in plan] == [table[:2].tolist(), [[6, 7, 8]], [[9, 10, 11]]]


class ReplayedEagerly(DecodeGraph):
    """A graph whose replay computes the step again from the same buffers."""

    def _capture(self, decoder: Decoder, step: Step) -> Any:
        logits = decoder.forward(step)
        return lambda: logits.copy_(decoder.forward(step)), logits


def test_a_graphs_buffers_hold_the_step() -> None:
    """Decodes of uneven contexts in a padded graph, large batch and small in turn: as without a graph.

    What pads the batch leaves the pool as it is, but for the spare block.
    """
    choice = Choice(_varlen(paged=True), 16, {})
    pool = KvPool(TINY, 40, 16, torch.float64, CPU)
    pool.fill(1)
    decoder = Decoder(TINY, choice, pool, longest=200)
    with torch.inference_mode():
        graph = ReplayedEagerly(decoder, 8, longest=200)
    tables = np.random.default_rng(1).permutation(40).reshape(4, 10)
    for contexts in ((100, 15, 16, 159), (7,), (31, 32, 1), (100, 100, 100, 100)):
        work = [Work(h, 1, tables[i]) for i, h in enumerate(contexts)]
        tokens = list(range(5, 5 + len(work)))
        before = pool.data.clone()
        want = decoder.forward(decoder.prepare(work, tokens))
        after = pool.data.clone()
        pool.data.copy_(before)
        with torch.inference_mode():
            got = graph.run(work, tokens)
        assert torch.allclose(got, want, rtol=1e-12, atol=1e-12)
        assert torch.allclose(pool.data[:, :, :40], after[:, :, :40], rtol=1e-12, atol=1e-12)


def test_the_smallest_graph_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """By rows and by the longest context, up to the last token that each was captured for."""
    made = []

    class Named:
        def __init__(self, decoder: Decoder, size: int, reach: int) -> None:
            made.append((reach, size))
            self.run = lambda work, tokens: (reach, size)

    monkeypatch.setattr(graphs, "DecodeGraph", Named)
    decoder: Any = None
    both = DecodeGraphs(decoder, longest=9000)
    assert len(made) == 2 * len(graphs.SIZES)
    for contexts, want in (
        ((4095,), (4096, 1)),
        ((4096,), (9000, 1)),
        ((8999, 1, 1), (9000, 4)),
        ((10,) * 5, (4096, 8)),
    ):
        work = [Work(h, 1, []) for h in contexts]
        assert both.fits(work) and both.run(work, []) == want
    assert both.fits([Work(1, 1, [])] * 256) and not both.fits([Work(1, 1, [])] * 257)
    assert not both.fits([Work(9000, 1, [])]) and not both.fits([Work(5, 2, [])])
    DecodeGraphs(decoder, longest=500)
    assert made[-1] == (500, 256) and len(made) == 3 * len(graphs.SIZES)


def test_a_watcher_is_told_how_steps_are_computed() -> None:
    """Which attention, whether decodes are in graphs, and why not what was wanted first."""
    choice = Choice(_varlen(paged=True), 256, {"varlen-paged, blocks of 16": "too small"})
    runner: Any = Runner.__new__(Runner)
    runner.decoder, runner.graphs = SimpleNamespace(attention=choice), None
    runner.device = CPU
    assert runner.computes == "varlen-paged, blocks of 256"
    runner.device = torch.device("cuda")
    want = (
        "varlen-paged, blocks of 256, decodes {} CUDA graphs\n  not varlen-paged, blocks of 16: too small"
    )
    assert runner.computes == want.format("WITHOUT")
    runner.graphs = object()
    assert runner.computes == want.format("in")


def test_one_token_is_no_prefill_on_a_gpu() -> None:
    """It runs in a decode's graph, so neither fit nor held-out steps may count it as a prefill."""

    def fewest(grid: str, split: str) -> int:
        made = [c for seed in range(5) for c in plan(GRIDS[grid], seed, 10**6, eager=False)]
        return min(c.tokens for c in made if c.family in (PREFILL, CACHED) and c.split == split)

    assert [fewest("gpu", split) for split in ("fit", "heldout")] == [2, 2]
    assert [fewest("cpu", split) for split in ("fit", "heldout")] == [1, 1]
