"""A decoder on a device, and the clock: one step of it, prepared, computed, sampled and timed.

Measuring and serving both go through `Runner.step`, so a profile describes what validation runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from calibration.attention import choose
from calibration.graphs import DecodeGraphs
from calibration.model import DTYPES, Decoder, KvPool, Work
from sim.hardware.dense import DenseDecoder
from workloads.errors import InputError

GIB = 2**30
MEMINFO = Path("/proc/meminfo")
SPARE = 0.15
"""Share of the free memory left for activations."""
T = TypeVar("T")
Clock = Literal["cuda_event", "cpu_time"]


@dataclass(slots=True)
class TimedStep:
    """How long a step took by the profile's clock and by the wall, and the tokens that it gave."""

    t_s: float
    wall_s: float
    sampled: Tensor
    """The likeliest token of every sequence; on the device."""
    logits: Tensor


class Runner:
    """A model with random weights and a KV pool on ``device``; InputError if it does not fit.

    On a CPU one thread computes and its CPU time counts, so that other load on the machine disturbs
    least; on CUDA events on the device.
    """

    def __init__(
        self,
        model: DenseDecoder,
        device: str,
        dtype: str,
        kv_tokens: int,
        longest: int,
        seed: int = 0,
        *,
        graphs: bool = True,
    ) -> None:
        self.device = require_device(device)
        self.longest = longest
        self.model = model.model_copy(update={"dtype": dtype})
        kind = DTYPES[dtype]
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        choice = choose(
            model.num_attention_heads, model.num_key_value_heads, model.head_dim, kind, self.device
        )
        blocks = self._fitting(-(-kv_tokens // choice.block_size), choice.block_size)
        pool = KvPool(self.model, blocks, choice.block_size, kind, self.device)
        pool.fill(seed)
        self.decoder = Decoder(self.model, choice, pool, longest, seed)
        self.graphs: DecodeGraphs | None = None
        if graphs and self.device.type == "cuda" and choice.backend.in_graphs:
            try:
                self.graphs = DecodeGraphs(self.decoder, longest)
            except RuntimeError as error:  # the profile says that decodes ran without, and why
                choice.rejected["CUDA graphs"] = str(error).strip().splitlines()[0][:120]

    @property
    def computes(self) -> str:
        """How attention and decodes are computed, for people who watch; with what was not to be had."""
        choice = self.decoder.attention
        way = f"{choice.backend.name}, blocks of {choice.block_size}"
        if self.device.type == "cpu":
            return way
        refused = "".join(f"\n  not {name}: {why}" for name, why in choice.rejected.items())
        return f"{way}, decodes {'in' if self.graphs else 'WITHOUT'} CUDA graphs{refused}"

    @property
    def clock(self) -> Clock:
        """Which clock `TimedStep.t_s` is of."""
        return "cuda_event" if self.device.type == "cuda" else "cpu_time"

    def _fitting(self, blocks: int, block_size: int) -> int:
        """``blocks``, or as many as there is memory for; InputError if a tenth of them does not fit."""
        free = free_bytes(self.device)
        weights, each = self.model.weight_bytes, self.model.kv_bytes_per_token * block_size
        fit = int((free * (1 - SPARE) - weights) // each)
        if fit < blocks / 10:
            raise InputError(
                f"model = {self.model.name!r} does not fit on {self.device}: weights take "
                f"{weights / GIB:.1f} GiB, KV for {blocks * block_size:,} tokens "
                f"{blocks * each / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free; allowed: a smaller "
                "model, dtype or grid"
            )
        return min(blocks, fit)

    @torch.inference_mode()
    def step(
        self, work: Sequence[Work], tokens: Sequence[int] | np.ndarray[Any, Any], *, eager: bool = False
    ) -> TimedStep:
        """Compute one step: inputs onto the device, all layers, head, likeliest tokens."""

        def compute() -> Tensor:
            if self.graphs is not None and not eager and self.graphs.fits(work):
                return self.graphs.run(work, tokens)
            return self.decoder.forward(self.decoder.prepare(work, tokens))

        def sampled() -> tuple[Tensor, Tensor]:
            logits = compute()
            return logits.argmax(-1), logits

        t_s, wall_s, (best, logits) = self.time(sampled)
        return TimedStep(t_s, wall_s, best, logits)

    def time(self, call: Callable[[], T]) -> tuple[float, float, T]:
        """Seconds of ``call`` by the clock and by the wall, and its result."""
        if self.device.type == "cuda":
            cuda: Any = torch.cuda
            begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            wall = time.perf_counter()
            begin.record()
            result = call()
            end.record()
            torch.cuda.synchronize()
            return float(begin.elapsed_time(end)) / 1e3, time.perf_counter() - wall, result
        wall, start = time.perf_counter(), time.thread_time()
        result = call()
        t_s = time.thread_time() - start
        return t_s, time.perf_counter() - wall, result


def require_device(name: str) -> torch.device:
    """The device called ``name``; InputError if it is not here."""
    if name not in ("cpu", "cuda"):
        raise InputError(f"device = {name!r}; allowed: cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"device = 'cuda': torch {torch.__version__} finds no CUDA device; allowed: cpu, or a machine "
            "with a GPU, its driver and a CUDA build of torch"
        )
    return torch.device(name)


def free_bytes(device: torch.device) -> int:
    """Memory that can be had on ``device`` now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    lines = MEMINFO.read_text(encoding="utf-8").splitlines() if MEMINFO.is_file() else []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
