"""``engine: {kind: vllm}``: the options of vLLM's scheduler, with its names and defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import Field, PositiveInt, model_validator

from sim.caches.groups.config import require_groups_fit, width
from sim.caches.replay import require_fit
from sim.engine.kv import KvKind
from sim.engine.vllm.memory import kind_of
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.memory import GIB
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace

Policy = Literal["fcfs", "priority"]


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """The options of the V1 scheduler; defaults are those of vLLM 0.33.0 (``config/scheduler.py``).

    The batch limits are those of the scheduler alone; a server's depend on its GPU (``batch_defaults``).
    """

    max_num_batched_tokens: int = 2048
    """Tokens per step, all requests together."""
    max_num_seqs: int = 128
    """Running requests."""
    policy: Policy = "fcfs"
    """``priority``: the request with the lowest priority value goes first and is preempted last."""
    long_prefill_token_threshold: int = 0
    """Tokens of one request per step; 0: no limit. Ignored while one request is alone in the system."""
    watermark: float = 0.0
    """Fraction of all blocks that an admission leaves free while something runs."""
    scheduler_reserve_full_isl: bool = True
    """Admit a request only if its whole known sequence fits, not just the first chunk."""
    async_scheduling: bool = True
    """Schedule the next step before the results of the present one are there."""

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise ValueError(f"policy is {self.policy!r}; allowed: {', '.join(get_args(Policy))}")
        for name in ("max_num_batched_tokens", "max_num_seqs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: at least 1")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens is {self.max_num_batched_tokens}; allowed: at least "
                f"max_num_seqs ({self.max_num_seqs})"
            )
        if self.long_prefill_token_threshold < 0:
            raise ValueError(
                f"long_prefill_token_threshold is {self.long_prefill_token_threshold}; allowed: "
                "0 (no limit) or more"
            )
        if not 0 <= self.watermark < 1:
            raise ValueError(f"watermark is {self.watermark}; allowed: from 0 up to, not including, 1")

    def watermark_blocks(self, usable_blocks: int) -> int:
        """Blocks that an admission leaves free; vLLM counts its null block in."""
        return int(self.watermark * (usable_blocks + 1))

    @property
    def in_flight_tokens(self) -> int:
        """Tokens that may be scheduled without their results: one step's or, asynchronous, two."""
        return self.max_num_batched_tokens * (2 if self.async_scheduling else 1)

    @property
    def plain(self) -> bool:
        """Whether `RunScheduler`, which knows the batch limits and ``async_scheduling``, schedules the
        same."""
        cuts_prompts = 0 < self.long_prefill_token_threshold < self.max_num_batched_tokens
        return (
            self.policy == "fcfs"
            and not cuts_prompts
            and self.watermark == 0
            and self.scheduler_reserve_full_isl
        )


class VllmEngine(Schema):
    """vLLM's V1 scheduler; names and defaults are vLLM's.

    ``fast_forward: false`` takes every iteration as an event of its own: slower, same records. Options
    other than the batch limits and ``async_scheduling``, and recorded steps, always do.
    """

    kind: Literal["vllm"] = "vllm"
    max_num_batched_tokens: PositiveInt | None = None
    max_num_seqs: PositiveInt | None = None
    policy: Literal["fcfs", "priority"] = "fcfs"
    long_prefill_token_threshold: int = Field(default=0, ge=0)
    watermark: float = Field(default=0.0, ge=0, lt=1)
    scheduler_reserve_full_isl: bool = True
    async_scheduling: bool = True
    fast_forward: bool = True

    @model_validator(mode="after")
    def _budget_holds_the_batch(self) -> VllmEngine:
        tokens, seqs = self.max_num_batched_tokens, self.max_num_seqs
        if tokens is not None and seqs is not None and tokens < seqs:
            raise ValueError(f"max_num_batched_tokens ({tokens}) must be at least max_num_seqs ({seqs})")
        return self

    def approximations(self, cache: Any) -> list[str]:
        """What the reader of figures has to know about this scheduler with ``cache``: nothing."""
        return []

    def kv(self, cache: Any, key: str) -> KvKind:
        """How ``cache`` is, or stands beside, the engine's memory; InputError if they do not go
        together."""
        kind = kind_of(cache)
        if not kind.is_own and not self.scheduler_reserve_full_isl:
            raise InputError(  # what it finds is known only after admission: the chunk might not fit
                f"{key}.engine.scheduler_reserve_full_isl = False does not go with a cache beside the "
                f"engine's memory (kind {cache.kind}); allowed: true, or a cache of kind block or none"
            )
        return kind

    def require_fit(self, trace: Trace, cache: Any, blocks: int, block_size: int, key: str) -> None:
        """Raise InputError if a request is larger than ``blocks`` KV blocks."""
        if width(cache) == 1 and not getattr(cache, "grouped", False):
            require_fit(trace, block_size, blocks, f"KV memory of {key}")
            return
        require_groups_fit(
            trace,
            cache.groups or ["full"],
            block_size,
            blocks,
            f"KV memory of {key}",
            self.options().in_flight_tokens,
        )

    def resolved(
        self, gpu: Gpu | None, model: Model | None, blocks: int, block_size: int, key: str
    ) -> VllmEngine:
        """Fill in vLLM's defaults for ``gpu``."""
        tokens, seqs = batch_defaults(gpu)
        if self.max_num_batched_tokens is not None:
            tokens = self.max_num_batched_tokens
        if self.max_num_seqs is not None:
            seqs = self.max_num_seqs
            if self.max_num_batched_tokens is None:
                tokens = max(tokens, seqs)
        return self.model_copy(update={"max_num_batched_tokens": tokens, "max_num_seqs": min(seqs, tokens)})

    def options(self) -> SchedulerOptions:
        """The scheduler's options; limits must be resolved."""
        assert self.max_num_batched_tokens is not None and self.max_num_seqs is not None
        return SchedulerOptions(**self.model_dump(exclude={"kind", "fast_forward"}))


def batch_defaults(gpu: Gpu | None) -> tuple[int, int]:
    """vLLM's default (max_num_batched_tokens, max_num_seqs) of a server on ``gpu``.

    From vLLM 0.33.0 ``engine/arg_utils.py:get_batch_defaults``; without a GPU those of the scheduler
    itself.
    """
    if gpu is None:
        return 2048, 128
    if gpu.memory_bytes >= 160 * GIB:
        return 16384, 1024
    if gpu.memory_bytes >= 70 * GIB and "A100" not in gpu.name:
        return 8192, 1024
    return 2048, 256
