"""SGLang's KV pool: ``mem_fraction_static`` of the memory that is free before the weights, less these.

The fraction's default is a rule of thumb in MiB (SGLang 0.5.23, ``arg_groups/memory_hook.py:
handle_gpu_memory_settings``); what is not in the fraction is left to activations and CUDA graphs. The free
memory is CUDA's total less what the process holds by then, which is estimated here.
"""

from __future__ import annotations

from bisect import bisect_right

from sim.hardware.gpu import GIB, Gpu
from sim.hardware.memory import Budget, Memory
from sim.hardware.model import Model
from sim.hardware.parallel import ONE_GPU, Parallel

BEFORE_WEIGHTS_GIB = 0.6
"""Held before the weights on one GPU: 78.6 of an H100's 79.2 GiB are free then."""
BEFORE_WEIGHTS_PARALLEL_GIB = 2.5
"""The same on each of several GPUs: 137.3 of an H200's 139.8 GiB are free."""
STEPS_MIB = [20 * 1024, 35 * 1024, 60 * 1024, 90 * 1024, 160 * 1024]
CHUNKS = [2048, 4096, 4096, 8192, 8192, 16384]
GRAPH_BATCHES = [8, 48, 32, 256, 256, 512]
GRAPH_BATCHES_PARALLEL = [8, 160, 160, 512, 512, 512]
"""For ``tp_size`` of 4 and more."""
CAPTURED_TOKENS = [
    *range(4, 33, 4), *range(48, 257, 16), *range(288, 513, 32), *range(576, 1025, 64),
    *range(1280, 4097, 256), *range(4608, 16385, 512),
]  # fmt: skip
"""Prompt tokens with a CUDA graph, up to the chunk (``generate_prefill_cuda_graph_batch_sizes``)."""


def default_chunk(gpu: Gpu | None) -> int:
    """SGLang's default ``chunked_prefill_size`` on ``gpu``; without one, that for an unknown GPU."""
    return 4096 if gpu is None else CHUNKS[bisect_right(STEPS_MIB, gpu.memory_mib)]


def mem_fraction_static(
    gpu: Gpu, chunked_prefill_size: int, max_prefill_tokens: int, parallel: Parallel = ONE_GPU
) -> float:
    """SGLang's default, by the memory that nvidia-smi reports.

    >>> from sim.hardware.gpu import gpu
    >>> [mem_fraction_static(gpu(name), 8192, 16384) for name in ("h100", "h200")]
    [0.83, 0.903]
    """
    chunk = chunked_prefill_size if chunked_prefill_size > 0 else max_prefill_tokens
    batches = GRAPH_BATCHES if parallel.tensor < 4 else GRAPH_BATCHES_PARALLEL
    reserved = 512 + 1.5 * max(chunk, 2048) + parallel.tensor * parallel.pipeline / 8 * 1024
    reserved += 2 * batches[bisect_right(STEPS_MIB, gpu.memory_mib)]
    reserved += 8 * bisect_right(CAPTURED_TOKENS, chunk)
    if gpu.memory_mib > 60 * 1024:
        reserved = max(reserved, 10 * 1024)
    return round((gpu.memory_mib - reserved) / gpu.memory_mib, 3)


def budget(model: Model, gpu: Gpu, memory: Memory, share: float, parallel: Parallel = ONE_GPU) -> Budget:
    """What SGLang makes of the memory of each GPU, with ``mem_fraction_static`` = ``share``.

    ``memory.reserved_gib`` takes the place of what is held before the weights.
    """
    held = BEFORE_WEIGHTS_GIB if parallel.gpus == 1 else BEFORE_WEIGHTS_PARALLEL_GIB
    if memory.reserved_gib is not None:
        held = memory.reserved_gib
    free = max(0, gpu.cuda_memory_bytes - round(held * GIB))
    return Budget(
        usable=int(share * free),
        share=f"{share:g} of the {free / GIB:.1f} GiB that are free of {gpu.name}",
        weights=model.weight_bytes_per_gpu(parallel),
        activations=0,
        outside=0,
        graphs=0,
        kv_bytes_per_token=model.kv_bytes_per_token_per_gpu(parallel),
    )
