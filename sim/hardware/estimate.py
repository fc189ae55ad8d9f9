"""How far computed KV pools are from those that engines printed, and how to say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sim.hardware import catalogue, sglang_memory, vllm_memory
from sim.hardware.gpu import GIB
from sim.hardware.memory import Budget, Memory
from sim.hardware.parallel import Parallel


@dataclass(frozen=True, slots=True)
class MeasuredPool:
    """A KV pool as an engine printed it, beside the computed one; tokens, vLLM's null block included."""

    engine: str
    release: str
    gpu: str
    model: str
    tensor_parallel: int
    share: float
    """``gpu_memory_utilization`` or ``mem_fraction_static``."""
    tokens: int
    computed_tokens: int
    further: bool
    """Not among those by which the typical error is told."""
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
    engine, budget = entry.get("engine", "vllm"), _budget(entry)
    return MeasuredPool(
        engine=engine,
        release=entry["release"],
        gpu=entry["gpu"],
        model=entry["model"],
        tensor_parallel=entry.get("tensor_parallel", 1),
        share=entry["gpu_memory_utilization" if engine == "vllm" else "mem_fraction_static"],
        tokens=entry["tokens"],
        computed_tokens=16 * budget.blocks(16),
        further=entry.get("further", False),
        source=entry["source"],
    )


def _budget(entry: dict[str, Any]) -> Budget:
    model, gpu = catalogue.model(entry["model"], Path()), catalogue.gpu(entry["gpu"])
    parallel = Parallel(tensor=entry.get("tensor_parallel", 1))
    if entry.get("engine") == "sglang":
        return sglang_memory.budget(model, gpu, Memory(), entry["mem_fraction_static"], parallel)
    budget = vllm_memory.budget(
        model,
        gpu,
        Memory(gpu_memory_utilization=entry["gpu_memory_utilization"]),
        max_num_batched_tokens=entry["max_num_batched_tokens"],
        max_num_seqs=entry["max_num_seqs"],
        parallel=parallel,
        version=entry.get("version"),
    )
    if "weight_gib" in entry:  # of a checkpoint that the catalogue does not have
        budget = replace(budget, weights=int(entry["weight_gib"] * GIB / parallel.tensor))
    return budget


def accuracy(engine: str) -> str:
    """Mean size and range of the errors of estimates for ``engine``, in words."""
    if engine == "vllm":
        return f"typical error {_errors([p for p in measured_pools() if not p.further])} that vLLM printed)"
    return (
        f"typical error {_errors([p for p in measured_pools() if p.engine == engine])} that SGLang printed)"
    )


def _errors(pools: Sequence[MeasuredPool]) -> str:
    errors = [pool.error for pool in pools]
    mean = 100 * sum(map(abs, errors)) / len(errors)
    if len(errors) == 1:
        return f"{mean:.0f} % ({100 * errors[0]:+.0f} % against the only pool known here"
    return (
        f"{mean:.0f} % ({100 * min(errors):+.0f} to {100 * max(errors):+.0f} % against {len(errors)} pools"
    )


def note(memory: Memory, engine: str) -> str:
    """What a reader has to know about a pool that was computed for ``engine``."""
    error = accuracy(engine)
    if memory.reserved_gib is not None:
        error = f"it rests on reserved_gib {memory.reserved_gib:g}"
    return (
        f"estimate: the KV memory of {memory.kv_blocks:,} blocks is computed, not the engine's own count; "
        f"{error}. memory.kv_blocks takes the count that the engine prints at its start"
    )
