"""How many KV blocks a GPU holds: what the engine's start leaves of its memory."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from sim.hardware.gpu import GIB
from sim.hardware.model import Model
from workloads.errors import InputError
from workloads.schema import Schema

WHOLE = Fraction(1)


class Memory(Schema):
    """GPU memory for KV: the engine's share of what CUDA reports, less weights and what it reserves.

    ``gpu_memory_utilization`` (vLLM) and ``mem_fraction_static`` (SGLang) are the engines' options.
    ``reserved_gib`` takes the place of all that is estimated: activations, what lies outside of PyTorch,
    CUDA graphs. ``kv_blocks`` is the engine's own count: ``num_gpu_blocks`` as vLLM prints it, its null
    block included, or SGLang's ``max_total_num_tokens`` in pages; nothing is computed then, so no other key
    goes with it. ``estimate`` marks a count that was computed here; it stands in resolved configurations,
    beside what it was computed from.
    """

    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """vLLM's share of the GPU's memory, 0 to 1; by default that of its release."""
    mem_fraction_static: float | None = Field(default=None, gt=0, lt=1)
    """SGLang's share of the GPU's memory for weights and KV, 0 to 1; by default by its own rule."""
    reserved_gib: float | None = Field(default=None, ge=0, le=1e6)
    """What is not for weights or KV, GiB (2^30 bytes), in place of the estimate."""
    kv_blocks: PositiveInt | None = None
    """How many KV blocks a replica has, as the engine prints it; nothing is estimated then."""
    estimate: Literal[True] | None = None
    """Written into resolved configurations where `kv_blocks` was computed here."""

    @model_validator(mode="after")
    def _estimate_of_something(self) -> Memory:
        if self.estimate and self.kv_blocks is None:
            raise ValueError("estimate goes with kv_blocks; allowed: both or none")
        return self

    @model_validator(mode="after")
    def _computed_or_given(self) -> Memory:
        if self.kv_blocks is not None and not self.estimate and self.shares:
            raise ValueError(
                f"{' and '.join(self.shares)} would change nothing: kv_blocks = {self.kv_blocks} is given, "
                "not computed; allowed: kv_blocks alone, or the others without it"
            )
        return self

    @property
    def shares(self) -> list[str]:
        """The keys given from which a number of blocks is computed."""
        keys = ("gpu_memory_utilization", "mem_fraction_static", "reserved_gib")
        return [key for key in keys if getattr(self, key) is not None]


@dataclass(frozen=True, slots=True)
class Budget:
    """What an engine makes of one GPU's memory, in bytes."""

    usable: int
    """Its share of the memory that CUDA reports."""
    share: str
    """In words: which part of what."""
    weights: int
    activations: int
    """Peak of a step at the batch limits, as the engine measures it at start."""
    outside: int
    """Outside of PyTorch: libraries, communication buffers."""
    graphs: int
    """CUDA graphs, where the engine counts them within its share."""
    kv_bytes_per_token: int

    @property
    def reserved(self) -> int:
        """Neither weights nor KV."""
        return self.activations + self.outside + self.graphs

    @property
    def kv(self) -> int:
        """What is left for KV; negative if the weights do not fit."""
        return self.usable - self.weights - self.reserved

    def blocks(self, block_size: int, part: Fraction = WHOLE) -> int:
        """Whole KV blocks of ``block_size`` tokens that hold ``part`` of `kv_bytes_per_token` of each."""
        return self.kv // (self.kv_bytes_per_token * block_size * part)

    def require_room(self, blocks: int, model: Model, key: str) -> None:
        """InputError unless there are more than no blocks."""
        if blocks >= 1:
            return
        room = max(0, self.usable - self.reserved)
        raise InputError(
            f"{key}.model: {model.name} does not fit: its weights take {self.weights / GIB:.1f} GiB on "
            f"each GPU; allowed: less than {room / GIB:.1f} GiB ({self.share}, less "
            f"{self.reserved / GIB:.1f} GiB reserved)"
        )


def widest(model: Model) -> int:
    """Values that one token has at the widest place of a layer, before its second feed-forward matrix.

    Of a mixture of experts those of all experts that the token meets.
    """
    return max(weight.inputs * weight.used for layer in model.layers for weight in layer.weights)
