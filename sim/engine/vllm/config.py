"""``engine: {kind: vllm}``: the options of vLLM's scheduler, with its names and defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, PositiveInt, field_validator, model_validator

from sim.caches.groups.config import most_blocks
from sim.engine.elsewhere import IN_VLLM
from sim.engine.kv import KvKind
from sim.engine.vllm.memory import kind_of
from sim.engine.vllm.speculation import Speculation
from sim.engine.vllm.speculative_config import Speculative
from sim.hardware import vllm_memory
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.gpu import GIB
from sim.hardware.memory import Budget, Memory
from sim.hardware.parallel import Parallel
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace

Policy = Literal["fcfs", "priority"]
RELEASE = re.compile(r"\d{1,4}(\.\d{1,4}){1,2}")


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
    speculation: Speculation | None = None
    """Speculative decoding; None: none."""

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
        if self.speculation is not None and self.max_num_batched_tokens < self.speculation.least_tokens:
            raise ValueError(
                f"max_num_batched_tokens is {self.max_num_batched_tokens}; allowed: at least "
                f"{self.speculation.least_tokens}, what one request takes with its drafts"
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
        """Tokens that may be scheduled without their results."""
        return in_flight_tokens(self.max_num_batched_tokens, self.async_scheduling)

    @property
    def plain(self) -> bool:
        """Whether `RunScheduler`, which knows the batch limits and ``async_scheduling``, schedules the
        same."""
        cuts_prompts = 0 < self.long_prefill_token_threshold < self.max_num_batched_tokens
        return (
            self.policy == "fcfs"
            and not cuts_prompts
            and self.watermark == 0
            and self.speculation is None
            and self.scheduler_reserve_full_isl
        )


class VllmEngine(Schema):
    """vLLM's V1 scheduler; names and defaults are vLLM's.

    ``max_model_len`` is the longest prompt with its reply that is served; longer requests are rejected
    (default: the model's longest context). ``version`` is the release whose memory is estimated: "0.19".
    ``fast_forward: false`` takes every iteration as an event of its own: slower, same records. Options
    other than the batch limits and ``async_scheduling``, speculative decoding and recorded steps always
    do.
    """

    ELSEWHERE: ClassVar[Mapping[str, str]] = IN_VLLM
    null_blocks: ClassVar[int] = 1
    """vLLM keeps block 0 for places that need no block: it is counted and printed, but holds nothing."""

    kind: Literal["vllm"] = "vllm"
    version: str | None = Field(default=None, max_length=20)
    """The release whose use of memory is estimated, as text: "0.19"."""
    max_model_len: PositiveInt | None = None
    """Longest prompt and reply together, in tokens; by default the model's context."""
    max_num_batched_tokens: PositiveInt | None = None
    """Tokens that one step computes, all requests together; by default as vLLM chooses for the GPU."""
    max_num_seqs: PositiveInt | None = None
    """Requests that run at the same time; by default as vLLM chooses for the GPU."""
    policy: Literal["fcfs", "priority"] = "fcfs"
    """Who goes first: `fcfs` (first come) or `priority` (lowest value first)."""
    long_prefill_token_threshold: int = Field(default=0, ge=0)
    """Prompt tokens of one request in one step; 0: no limit."""
    watermark: float = Field(default=0.0, ge=0, lt=1)
    """Share of all blocks that an admission leaves free while something runs."""
    scheduler_reserve_full_isl: bool = True
    """Whether a request is admitted only if its whole prompt fits, not just the first chunk."""
    async_scheduling: bool = True
    """Whether a step is scheduled while the one before computes."""
    fast_forward: bool = True
    """Whether steps that do the same are computed together; false: slower, same records."""
    speculative: Speculative | None = None
    """Speculative decoding; left out: none."""

    @model_validator(mode="after")
    def _budget_holds_the_batch(self) -> VllmEngine:
        tokens, seqs = self.max_num_batched_tokens, self.max_num_seqs
        if tokens is not None and seqs is not None and tokens < seqs:
            raise ValueError(f"max_num_batched_tokens ({tokens}) must be at least max_num_seqs ({seqs})")
        if tokens is not None and self.speculative is not None:
            least = self.speculative.speculation(None, 0, 0).least_tokens
            if tokens < least:
                raise ValueError(
                    f"max_num_batched_tokens ({tokens}) must be at least {least}, what one request takes "
                    "with its drafts"
                )
        return self

    @field_validator("version", mode="before")
    @classmethod
    def _release(cls, version: Any) -> Any:
        if version is None or (isinstance(version, str) and RELEASE.fullmatch(version)):
            return version
        raise ValueError('not a release; allowed: text like "0.19" or "0.19.1", in quotes')

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

    def require_fit(self, trace: Trace, key: str) -> None:
        """Raise InputError if the options contradict the replies of ``trace``: they cannot."""

    def fits(
        self, prompt_tokens: int, output_tokens: int, blocks: int, block_size: int, groups: Sequence[str]
    ) -> bool:
        """Whether an empty pool of ``blocks`` blocks holds the request; its last token has no KV.

        Of a window that is what an admission reserves, were the request preempted right before its end.
        """
        total = prompt_tokens + output_tokens - 1
        if self.speculative is not None:
            total = self.speculative.most_slots(total, self.max_model_len)
        if total <= blocks // len(groups) * block_size:
            return True
        if len(groups) == 1 and groups[0] == "full":
            return False
        assert self.max_num_batched_tokens is not None, "with_limits() first"
        at_once = in_flight_tokens(self.max_num_batched_tokens, self.async_scheduling)
        return most_blocks(groups, total, total, at_once, block_size) <= blocks

    @property
    def schedules_ahead(self) -> bool:
        """Whether a step is scheduled while the one before computes."""
        return self.async_scheduling

    def with_limits(self, gpu: Gpu | None, page_size: int, key: str) -> VllmEngine:
        """Fill in vLLM's batch limits for ``gpu``."""
        tokens, seqs = batch_defaults(gpu)
        if self.max_num_batched_tokens is not None:
            tokens = self.max_num_batched_tokens
        if self.max_num_seqs is not None:
            seqs = self.max_num_seqs
            if self.max_num_batched_tokens is None:
                tokens = max(tokens, seqs)
        return self.model_copy(update={"max_num_batched_tokens": tokens, "max_num_seqs": min(seqs, tokens)})

    def budget(
        self, model: Model, gpu: Gpu, memory: Memory, parallel: Parallel, key: str
    ) -> tuple[Budget, Memory]:
        """What vLLM makes of a GPU's memory, with batch limits filled in; and ``memory`` with its share."""
        if memory.mem_fraction_static is not None:
            raise InputError(
                f"{key}.memory.mem_fraction_static = {memory.mem_fraction_static:g} is SGLang's; allowed "
                "with engine.kind vllm: gpu_memory_utilization"
            )
        assert self.max_num_batched_tokens is not None and self.max_num_seqs is not None
        share = vllm_memory.utilization(memory, self.version)
        memory = memory.model_copy(update={"gpu_memory_utilization": share})
        budget = vllm_memory.budget(
            model,
            gpu,
            memory,
            max_num_batched_tokens=self.max_num_batched_tokens,
            max_num_seqs=self.max_num_seqs,
            parallel=parallel,
            version=self.version,
        )
        return budget, memory

    def resolved(self, model: Model | None, blocks: int, block_size: int) -> VllmEngine:
        """Fill in what depends on the model."""
        if self.max_model_len is None and model is not None:
            return self.model_copy(update={"max_model_len": model.max_position_embeddings})
        return self

    def options(self, cache: Any = None, seed: int = 0) -> SchedulerOptions:
        """The scheduler's options; limits must be resolved. ``seed``: of what is accepted of drafts."""
        assert self.max_num_batched_tokens is not None and self.max_num_seqs is not None
        others = {"kind", "version", "max_model_len", "fast_forward", "speculative"}
        speculation = None
        if self.speculative is not None:
            ahead = int(getattr(cache, "lookahead_hashes", False))
            speculation = self.speculative.speculation(self.max_model_len, ahead, seed)
        return SchedulerOptions(**self.model_dump(exclude=others), speculation=speculation)


def in_flight_tokens(max_num_batched_tokens: int, async_scheduling: bool) -> int:
    """Tokens that may be scheduled without their results: one step's or, asynchronous, two."""
    return max_num_batched_tokens * (2 if async_scheduling else 1)


def batch_defaults(gpu: Gpu | None) -> tuple[int, int]:
    """vLLM's default (max_num_batched_tokens, max_num_seqs) of a server on ``gpu``.

    From vLLM 0.33.0 ``engine/arg_utils.py:get_batch_defaults``; without a GPU those of the scheduler
    itself.
    """
    if gpu is None:
        return 2048, 128
    if gpu.cuda_memory_bytes >= 160 * GIB:
        return 16384, 1024
    if gpu.cuda_memory_bytes >= 70 * GIB and "A100" not in gpu.name:
        return 8192, 1024
    return 2048, 256
