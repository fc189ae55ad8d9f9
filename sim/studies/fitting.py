"""What of a model fits on a GPU: weights, KV tokens, sessions, by GPUs and data type of the KV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sim.engine.sglang.config import SglangEngine
from sim.engine.vllm.config import VllmEngine
from sim.hardware import catalogue
from sim.hardware.gpu import Gpu
from sim.hardware.memory import Budget, Memory
from sim.hardware.model import Model
from sim.hardware.parallel import Parallel

BLOCK_TOKENS = 16
TENSOR_PARALLEL = (1, 2, 4, 8)
KV_CACHE_DTYPES = ("auto", "fp8")


@dataclass(frozen=True, slots=True)
class Fit:
    """One way to place the model."""

    tensor_parallel: int
    model: Model
    budget: Budget
    """Of each GPU."""
    kv_tokens: int
    """Of all requests together; 0: the weights leave no room."""
    sessions: int
    """Requests of the context asked for, at one time, that share nothing."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """All ways, and what they are about."""

    model: Model
    gpu: Gpu
    engine: VllmEngine | SglangEngine
    context_tokens: int
    ways: list[Fit]


def study(
    model: str,
    gpu: str,
    engine: VllmEngine | SglangEngine,
    memory: Memory,
    context_tokens: int | None = None,
    dtype: str = "auto",
) -> Fitting:
    """The model on 1, 2, 4 and 8 GPUs as far as its heads divide, its KV as it is and in 8 bit.

    The context defaults to 8,192 tokens or the model's longest. Names are those of configurations;
    InputError names the argument.
    """
    card = catalogue.gpu(gpu, "GPU")
    models = [catalogue.model(model, Path(), "MODEL", dtype, kv) for kv in KV_CACHE_DTYPES]
    first = models[0]
    if models[1].kv_cache_dtype == first.kv_cache_dtype:
        models = [first]
    engine = engine.with_limits(card, BLOCK_TOKENS, "--engine")
    context = context_tokens or min(8192, first.max_position_embeddings)
    ways = [
        _fit(found, card, engine, memory, gpus, context)
        for gpus in TENSOR_PARALLEL
        if _divides(first, gpus)
        for found in models
    ]
    return Fitting(first, card, engine, context, ways)


def _divides(model: Model, gpus: int) -> bool:
    return all(
        heads % gpus == 0 and max(kv_heads, gpus) % min(kv_heads, gpus) == 0
        for heads, kv_heads in model.split_heads()
    )


def _fit(
    model: Model, gpu: Gpu, engine: VllmEngine | SglangEngine, memory: Memory, gpus: int, context: int
) -> Fit:
    budget, _ = engine.budget(model, gpu, memory, Parallel(tensor=gpus), "the options")
    blocks = max(0, budget.blocks(BLOCK_TOKENS) - engine.null_blocks)
    # blocks hold what grows with every token; what one token is worth with windows and states, the
    # longest request says, as in vLLM's log
    longest = model.max_position_embeddings
    tokens = blocks * BLOCK_TOKENS * model.kv_bytes_per_token
    of_one = -(-context // BLOCK_TOKENS) * BLOCK_TOKENS
    return Fit(
        gpus,
        model,
        budget,
        kv_tokens=int(tokens * longest / model.kv_bytes(longest)),
        sessions=int(tokens / model.kv_bytes(of_one)),
    )
