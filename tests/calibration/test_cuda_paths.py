"""What only a GPU runs, as far as a CPU can follow it: torch's kernel is played by plain arithmetic.

The fake takes the arguments of ``torch.nn.attention.varlen.varlen_attn`` and computes what its
documentation says; so the tables, starts and padding handed to the kernel are checked, not the kernel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")

import torch
from torch import Tensor

from calibration import attention, catalogue, graphs
from calibration.attention import Choice, Varlen
from calibration.graphs import DecodeGraph
from calibration.model import Decoder, KvPool, Step, Work

TINY = catalogue.model("tiny-1m", Path())
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
    window_size: tuple[int, int],
    enable_gqa: bool,
    seqused_k: Tensor | None = None,
    block_table: Tensor | None = None,
) -> Tensor:
    """Causal attention aligned to the end of each sequence, keys packed or in pages."""
    assert window_size == (-1, 0) and enable_gqa
    assert all(
        t.dtype == torch.int32 for t in (cu_seq_q, cu_seq_k, seqused_k, block_table) if t is not None
    )
    out = torch.empty_like(query)
    for i in range(len(cu_seq_q) - 1):
        first, last = int(cu_seq_q[i]), int(cu_seq_q[i + 1])
        assert last - first <= max_q
        if block_table is not None:
            assert seqused_k is not None and cu_seq_k is None
            total = int(seqused_k[i])
            pages = block_table[i, : -(-total // key.shape[1])].long()
            k, v = key[pages].flatten(0, 1)[:total], value[pages].flatten(0, 1)[:total]
        else:
            assert cu_seq_k is not None
            k, v = (t[int(cu_seq_k[i]) : int(cu_seq_k[i + 1])] for t in (key, value))
        assert len(k) <= max_k
        group = query.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        new, total = last - first, len(k)
        scores = torch.einsum("qhd,khd->hqk", query[first:last], k) / query.shape[-1] ** 0.5
        scores.masked_fill_(torch.arange(total) > torch.arange(total - new, total)[:, None], -torch.inf)
        out[first:last] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
    return out


def _varlen(*, paged: bool) -> Any:
    backend = Varlen(paged=paged)
    backend._attend = fake_kernel
    return backend


@pytest.mark.parametrize("paged", [True, False])
@pytest.mark.parametrize("block_size", [16, 256])
def test_the_kernel_is_handed_the_right_tables(paged: bool, block_size: int) -> None:
    """The probe's batch through both variable-length backends agrees with the definition of attention."""
    attention._agree(_varlen(paged=paged), block_size, 4, 2, 32, torch.float64, CPU)


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


class Sized:
    """A graph that only tells its size."""

    def __init__(self, decoder: Decoder, size: int, longest: int) -> None:
        self._size = size

    def run(self, work: list[Work], tokens: list[int]) -> int:
        return self._size


def test_the_smallest_graph_that_holds_a_step_of_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 256 decodes whose contexts are shorter than the longest; prompts have no graph."""
    monkeypatch.setattr(graphs, "DecodeGraph", Sized)
    made: Any = graphs.DecodeGraphs(None, longest=200)  # type: ignore[arg-type]
    decode, longest, beyond, prompt = (Work(*hn, [0]) for hn in ((5, 1), (199, 1), (200, 1), (5, 2)))
    assert made.fits([decode] * 255 + [longest]) and not made.fits([decode] * 257)
    assert not made.fits([decode, beyond]) and not made.fits([decode, prompt])
    assert [made.run([decode] * n, [1] * n) for n in (1, 2, 3, 256)] == [1, 2, 4, 256]
