"""CUDA graphs of decode steps: one launch replays all kernels of a padded batch.

A graph reads and writes fixed buffers, so a step is copied into them, replayed, and its logits read.
Rows that pad the batch write into the pool's spare block and read one token of some block. Only with a
backend whose plan holds for any contexts (attention over block tables).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calibration.attention import Layout
from calibration.model import Decoder, Step, Work

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHORT = 4096
"""Graphs for contexts of up to so many tokens, and others for any: a kernel divides the longest context
that it was captured for among processors, and leaves a much shorter one to few of them."""


class DecodeGraph:
    """Decodes of up to ``size`` rows, with contexts of up to ``longest`` tokens, in fixed buffers."""

    def __init__(self, decoder: Decoder, size: int, longest: int) -> None:
        pool, device = decoder.pool, decoder.device
        self._spare, self._block_size = pool.blocks, pool.block_size
        most = -(-longest // pool.block_size)
        self._inputs = torch.zeros(3, size, dtype=torch.int64, device=device)
        self._inputs[2] = self._spare * self._block_size
        self._table = torch.full((size, most), self._spare, dtype=torch.int32, device=device)
        layout = Layout([(longest - 1, 1)] * size, self._table, pool.block_size)
        (run,) = plan = decoder.attention.backend.plan(layout)
        self._used = run.used
        self._used.fill_(1)
        step = Step(self._inputs[0], self._inputs[1], self._inputs[2], None, plan)
        self._replay, self._logits = self._capture(decoder, step)

    def _capture(self, decoder: Decoder, step: Step) -> tuple[Callable[[], None], Tensor]:
        """What computes the step again, and where its logits then are."""
        cuda: Any = torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(2):  # what is set up lazily must not happen during the capture
                decoder.forward(step)
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            logits = decoder.forward(step)
        return graph.replay, logits

    def run(self, work: Sequence[Work], tokens: Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
        """Logits of the rows of ``work``."""
        rows, size = len(work), self._block_size
        inputs = np.zeros((3, self._inputs.shape[1]), dtype=np.int64)
        inputs[2] = self._spare * size
        used = np.ones(self._inputs.shape[1], dtype=np.int32)
        most = max(w.cached // size + 1 for w in work)
        table = np.full((rows, most), self._spare, dtype=np.int32)
        for row, w in enumerate(work):
            needed = w.cached // size + 1
            table[row, :needed] = w.blocks[:needed]
            inputs[1:, row] = w.cached, w.blocks[w.cached // size] * size + w.cached % size
            used[row] = w.cached + 1
        inputs[0, :rows] = tokens
        self._inputs.copy_(torch.from_numpy(inputs), non_blocking=True)
        self._table[:rows, :most].copy_(torch.from_numpy(table), non_blocking=True)
        self._used.copy_(torch.from_numpy(used), non_blocking=True)
        self._replay()
        return self._logits[:rows].clone()


class DecodeGraphs:
    """Graphs of `SIZES` rows, for short contexts and for any, captured when made."""

    def __init__(self, decoder: Decoder, longest: int) -> None:
        self._longest = longest
        self._reaches = sorted({min(SHORT, longest), longest})
        with torch.inference_mode():
            self._graphs = {
                (reach, size): DecodeGraph(decoder, size, reach)
                for reach in self._reaches
                for size in SIZES
            }

    def fits(self, work: Sequence[Work]) -> bool:
        """Whether the step is all decodes and not too large."""
        return len(work) <= SIZES[-1] and all(w.new == 1 and w.cached < self._longest for w in work)

    def run(self, work: Sequence[Work], tokens: Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
        """Logits, from the smallest graph that holds the batch and its longest context."""
        size = next(size for size in SIZES if size >= len(work))
        reach = next(reach for reach in self._reaches if reach > max(w.cached for w in work))
        return self._graphs[reach, size].run(work, tokens)
