"""The weight matrices of a model: parameters, bytes as they are served, how GPUs divide them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sim.hardware.parallel import Parallel

Compute = Literal["16", "8", "4"]
"""Bits of a matrix product's operands: it sets the rate at which the GPU computes it."""


@dataclass(frozen=True, slots=True)
class Weight:
    """``count`` equal matrices of one layer; ``name`` is their module's, as in the checkpoint.

    Of the 128 experts of a layer a token meets 8: ``count`` 128, ``used`` 8.
    """

    name: str
    outputs: int
    inputs: int = 1
    count: int = 1
    used: int = 1
    """How many of ``count`` one token meets."""
    bias: int = 0
    """Further parameters of each matrix that are kept in 16 bit."""
    parts: int = 0
    """In how many equal parts tensor parallel GPUs may divide it, 1 for not at all; 0 for any number.

    GPUs beyond that hold copies: 8 KV heads on 16 GPUs are held twice each.
    """
    linear: bool = True
    """Whether it is a matrix product with every token, and so what quantisation is about."""
    bytes: float = 0.0
    """Of one matrix with its bias and scales, as it lies in the GPU's memory."""
    compute: Compute = "16"

    @property
    def each(self) -> int:
        """Parameters of one matrix."""
        return self.outputs * self.inputs + self.bias

    @property
    def params(self) -> int:
        return self.each * self.count

    @property
    def active_params(self) -> int:
        return self.each * self.used

    @property
    def is_expert(self) -> bool:
        return self.count > 1

    def bytes_per_gpu(self, parallel: Parallel) -> float:
        """Bytes of it on the GPU that holds most.

        Experts are spread over all GPUs of the tensor and data parallel ranks, each whole (``expert``) or
        in slices; everything else is divided by tensor parallelism alone and copied by data parallelism.
        """
        if self.is_expert:
            slices = parallel.tensor * parallel.data // parallel.expert
            return -(-self.count // parallel.expert) * self.bytes / slices
        parts = self.parts or parallel.tensor
        return self.bytes * self.count * max(1, parts // parallel.tensor) / parts


def total_bytes(weights: Iterable[Weight]) -> float:
    """Bytes of all copies of ``weights``."""
    return sum(weight.bytes * weight.count for weight in weights)
