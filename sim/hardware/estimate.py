"""How far computed KV pools are from those that engines printed, and how to say so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sim.hardware import catalogue, vllm_memory
from sim.hardware.gpu import GIB
from sim.hardware.memory import Memory
from sim.hardware.parallel import Parallel


@dataclass(frozen=True, slots=True)
class MeasuredPool:
    """A KV pool as vLLM printed it, beside the computed one; tokens, the null block included."""

    release: str
    gpu: str
    model: str
    tensor_parallel: int
    gpu_memory_utilization: float
    tokens: int
    computed_tokens: int
    source: str

    @property
    def error(self) -> float:
        """Computed over measured, less one."""
        return self.computed_tokens / self.tokens - 1


@cache
def measured_pools() -> tuple[MeasuredPool, ...]:
    """The pools in `measured_pools.yaml`."""
    entries = yaml.safe_load((Path(__file__).parent / "measured_pools.yaml").read_text())
    return tuple(_pool(entry) for entry in entries)


def _pool(entry: dict[str, Any]) -> MeasuredPool:
    parallel = entry.get("tensor_parallel", 1)
    budget = vllm_memory.budget(
        catalogue.model(entry["model"], Path()),
        catalogue.gpu(entry["gpu"]),
        Memory(gpu_memory_utilization=entry["gpu_memory_utilization"]),
        max_num_batched_tokens=entry["max_num_batched_tokens"],
        max_num_seqs=entry["max_num_seqs"],
        parallel=Parallel(tensor=parallel),
    )
    if "weight_gib" in entry:
        budget = replace(budget, weights=int(entry["weight_gib"] * GIB / parallel))
    return MeasuredPool(
        release=entry["release"],
        gpu=entry["gpu"],
        model=entry["model"],
        tensor_parallel=parallel,
        gpu_memory_utilization=entry["gpu_memory_utilization"],
        tokens=entry["tokens"],
        computed_tokens=16 * budget.blocks(16),
        source=entry["source"],
    )


def typical_error() -> str:
    """Mean size and range of the errors of `measured_pools`, in words."""
    errors = [pool.error for pool in measured_pools()]
    mean = sum(map(abs, errors)) / len(errors)
    return (
        f"typical error {100 * mean:.0f} % ({100 * min(errors):+.0f} to {100 * max(errors):+.0f} % against "
        f"{len(errors)} pools that vLLM printed)"
    )


def accuracy(engine: str) -> str:
    """How far estimates for ``engine`` are off, as far as that is known."""
    return typical_error() if engine == "vllm" else "SGLang's rule, not compared with pools that it printed"


def note(memory: Memory, engine: str) -> str:
    """What a reader has to know about a pool that was computed for ``engine``."""
    error = accuracy(engine)
    if memory.reserved_gib is not None:
        error = f"it rests on reserved_gib {memory.reserved_gib:g}"
    return (
        f"estimate: the KV memory of {memory.kv_blocks:,} blocks is computed, not the engine's own count; "
        f"{error}. memory.kv_blocks takes the count that the engine prints at its start"
    )
