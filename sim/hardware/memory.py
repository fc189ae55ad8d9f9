"""How many KV blocks a GPU holds."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from sim.hardware.catalogue import Gpu, Model
from sim.hardware.parallel import ONE_GPU, Parallel
from workloads.errors import InputError
from workloads.schema import Schema

GIB = 2**30


class Memory(Schema):
    """GPU memory for KV: ``gpu_memory_utilization`` of all of it, less weights and ``reserved_gib``.

    ``reserved_gib`` stands for activations and CUDA graphs, which the engine measures at start and
    nobody can compute; ``kv_blocks`` gives the engine's own count instead (vLLM prints it).
    """

    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    reserved_gib: float = Field(default=0.0, ge=0, le=1e6)
    kv_blocks: PositiveInt | None = None

    def blocks(
        self, model: Model, gpu: Gpu, block_size: int, key: str, parallel: Parallel = ONE_GPU
    ) -> int:
        """KV blocks of ``block_size`` tokens; InputError if the model leaves room for none.

        ``parallel`` GPUs divide weights and KV as the model's layers allow (`Model.weight_bytes_per_gpu`).
        """
        usable = gpu.memory_bytes * self.gpu_memory_utilization - self.reserved_gib * GIB
        weights = model.weight_bytes_per_gpu(parallel)
        kv_bytes = model.kv_bytes_per_token_per_gpu(parallel)
        blocks = int((usable - weights) // (kv_bytes * block_size))
        if blocks < 1:
            raise InputError(
                f"{key}.model: {model.name} does not fit: its weights take "
                f"{weights / GIB:.1f} GiB; allowed: less than {usable / GIB:.1f} GiB "
                f"({self.gpu_memory_utilization:g} of the {gpu.memory_bytes / GIB:.1f} GiB of "
                f"{gpu.name}, less {self.reserved_gib:g} GiB reserved)"
            )
        return blocks
