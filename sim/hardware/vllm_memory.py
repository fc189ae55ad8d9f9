"""vLLM's KV pool: what its start leaves of ``gpu_memory_utilization`` of the GPU's memory.

vLLM runs one step at its batch limits before it makes the pool, and subtracts what that took at its peak
(``v1/worker/gpu_worker.py:determine_available_memory``). The peak cannot be computed exactly; this formula
has one fitted number, ``OVERHEAD_GIB``. The others follow from what is held: a row of logits in 16 and in
32 bit, and in the feed-forward three values of 16 bit per token and unit (gate, up, product).
"""

from __future__ import annotations

from sim.hardware.gpu import GIB, Gpu
from sim.hardware.memory import Budget, Memory, widest
from sim.hardware.model import Model
from sim.hardware.parallel import ONE_GPU, Parallel

Release = tuple[int, ...]
SORTING: Release = (0, 17)
"""Before it the sampler sorted all logits at start: 38 bytes each (see `activations`)."""
GRAPHS_INSIDE: Release = (0, 21)
"""From it on CUDA graphs count within the share, which is 0.92 by default then ("default since v0.21.0" in
its log). The two make up for each other: 0.92 with graphs is about 0.9 without."""
LOGIT_BYTES = 6
"""16 bit from the output head and 32 bit for the sampler."""
SORTED_LOGIT_BYTES = 38
"""The same, and sorted values (4) with indices (8), the sort's buffers (12), probabilities and sums (8)."""
FEED_FORWARD_BYTES = 6
OVERHEAD_GIB = 0.6
"""Everything else at the peak; fitted to three pools of vLLM 0.19 (`measured_pools.yaml`)."""
OUTSIDE_GIB = 0.2
"""Outside of PyTorch on one GPU: 0.13 to 0.25 GiB in logs of vLLM 0.19."""
OUTSIDE_PARALLEL_GIB = 2.1
"""The same on each of several GPUs: communication buffers."""
GRAPHS_GIB = 0.5
"""CUDA graphs: 0.2 to 0.8 GiB in logs of vLLM 0.21 to 0.29, the middle of them."""


def release(version: str | None) -> Release | None:
    """``0.19.0`` as numbers that compare."""
    return None if version is None else tuple(int(part) for part in version.split("."))


def utilization(memory: Memory, version: str | None) -> float:
    """``gpu_memory_utilization``, or its default.

    Without a version 0.9, and CUDA graphs outside of it: what most published figures rest on, and about
    what 0.92 with graphs inside comes to, the default since 0.21.
    """
    if memory.gpu_memory_utilization is not None:
        return memory.gpu_memory_utilization
    number = release(version)
    return 0.92 if number is not None and number >= GRAPHS_INSIDE else 0.9


def activations(
    model: Model, tokens: int, sequences: int, parallel: Parallel = ONE_GPU, version: str | None = None
) -> int:
    """Bytes at the peak of a step of ``tokens`` tokens that samples for ``sequences`` sequences.

    >>> from pathlib import Path
    >>> from sim.hardware import catalogue
    >>> llama = catalogue.model("llama-3.1-8b", Path())
    >>> [round(activations(llama, 8192, 1024, version=v) / GIB, 2) for v in ("0.10", "0.19")]
    [4.65, 1.99]
    """
    number, logits = release(version), sequences * model.vocab_size
    if number is not None and number < SORTING:
        return SORTED_LOGIT_BYTES * logits
    feed_forward = FEED_FORWARD_BYTES * tokens * widest(model) // parallel.tensor
    return round(OVERHEAD_GIB * GIB) + LOGIT_BYTES * logits + feed_forward


def budget(
    model: Model,
    gpu: Gpu,
    memory: Memory,
    *,
    max_num_batched_tokens: int,
    max_num_seqs: int,
    parallel: Parallel = ONE_GPU,
    version: str | None = None,
) -> Budget:
    """What vLLM makes of the memory of each GPU, on that which holds most."""
    part = utilization(memory, version)
    peak = activations(model, max_num_batched_tokens, max_num_seqs, parallel, version)
    outside = OUTSIDE_GIB if parallel.gpus == 1 else OUTSIDE_PARALLEL_GIB
    number = release(version)
    graphs = GRAPHS_GIB if number is not None and number >= GRAPHS_INSIDE else 0.0
    if memory.reserved_gib is not None:
        peak, outside, graphs = round(memory.reserved_gib * GIB), 0.0, 0.0
    return Budget(
        usable=int(part * gpu.cuda_memory_bytes),
        share=f"{part:g} of the {gpu.cuda_memory_bytes / GIB:.1f} GiB of {gpu.name}",
        weights=model.weight_bytes_per_gpu(parallel),
        activations=peak,
        outside=round(outside * GIB),
        graphs=round(graphs * GIB),
        kv_bytes_per_token=model.kv_bytes_per_token_per_gpu(parallel),
    )
