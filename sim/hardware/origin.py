"""Where a profile comes from, and what is served on what by its times."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveInt

from sim.hardware.gpu import Gpu
from sim.hardware.model import Model
from sim.hardware.parallel import Parallel
from workloads.schema import Schema

Origin = Literal["measured", "imported", "fitted", "datasheet", "stated"]
"""Measured on the device by `calibration`; imported from tables that others measured; fitted to a
benchmark's requests, a server's log or metrics; computed from a datasheet; stated in a configuration."""


class Serves(Schema):
    """The model as it is served, and the GPUs: the profile is of these and of no others.

    A model is told by its figures, so that one known by another name, or read from a config.json, is found.
    """

    model: str
    dtype: str
    quantization: str
    kv_cache_dtype: str
    params: PositiveInt
    active_params: PositiveInt
    weight_bytes: PositiveInt
    kv_bytes_per_token: int
    gpu: str
    tensor_parallel: PositiveInt = 1
    pipeline_parallel: PositiveInt = 1
    expert_parallel: PositiveInt = 1
    data_parallel: PositiveInt = 1

    @classmethod
    def of(cls, model: Model, gpu: Gpu, parallel: Parallel) -> Self:
        """``model`` on GPUs that work in parallel."""
        return cls(
            model=model.name,
            dtype=model.dtype,
            quantization=model.quantization,
            kv_cache_dtype=model.kv_cache_dtype,
            params=model.params,
            active_params=model.active_params,
            weight_bytes=model.weight_bytes,
            kv_bytes_per_token=model.kv_bytes_per_token,
            gpu=gpu.name,
            tensor_parallel=parallel.tensor,
            pipeline_parallel=parallel.pipeline,
            expert_parallel=parallel.expert,
            data_parallel=parallel.data,
        )

    @property
    def parallel(self) -> Parallel:
        """The GPUs of one copy of the model."""
        return Parallel(
            self.tensor_parallel, self.pipeline_parallel, self.expert_parallel, self.data_parallel
        )

    def is_same_model(self, model: Model) -> bool:
        """Whether ``model`` is served with the same arithmetic."""
        mine = (self.params, self.active_params, self.weight_bytes, self.kv_bytes_per_token)
        its = (model.params, model.active_params, model.weight_bytes, model.kv_bytes_per_token)
        return mine == its and (self.quantization, self.dtype) == (model.quantization, model.dtype)


class Tables(Schema):
    """Tables of measured times that a profile was imported from."""

    source: str
    version: str
    tables: str
    """Which of them: the engine whose kernels were timed, with its version, and the GPU's name there."""
    licence: str


TABLES_OFF_SERVERS = (
    "the time per token of real servers was 5 to 7 % off for the models measured most, more for others "
    "(docs/validation.md)"
)
"""How far times of tables were off public measurements (``python -m benchmarks.server_aggregates``)."""
