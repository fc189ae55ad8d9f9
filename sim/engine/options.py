"""What goes into a scheduler and what comes out: vLLM's options, and a record of every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from sim.records import NAN

Policy = Literal["fcfs", "priority"]


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """What the V1 scheduler can be told; defaults are those of vLLM 0.33.0 (``config/scheduler.py``).

    One differs: ``async_scheduling`` is off unless asked for (vLLM turns it on where it can). The batch
    limits are those of the scheduler alone; a server's depend on its GPU (``memory.batch_defaults``).
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
    async_scheduling: bool = False
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
    def plain(self) -> bool:
        """Whether `Replica`, which knows the batch limits only, schedules the same."""
        cuts_prompts = 0 < self.long_prefill_token_threshold < self.max_num_batched_tokens
        return (
            self.policy == "fcfs"
            and not cuts_prompts
            and self.watermark == 0
            and self.scheduler_reserve_full_isl
            and not self.async_scheduling
        )


@dataclass(slots=True)
class StepRecord:
    """What one step did; requests by their index in the trace, all lists in the engine's order."""

    step: int
    """Steps of this replica so far; idle time between two steps is none."""
    replica: int
    scheduled_s: float
    """When it was scheduled: when its compute begins or, asynchronous, when that of the one before does."""
    sched: list[tuple[int, int]]
    """(request, tokens): running requests first, then admitted ones."""
    new: list[tuple[int, int]]
    """(request, cached tokens) of first admissions."""
    resumed: list[tuple[int, int]]
    """The same of admissions after a preemption."""
    preempted: list[int]
    evicted: list[tuple[int, int, int]]
    """Cached blocks evicted: (owner, first, last), the block's number in its owner counting down."""
    free: int
    """Free blocks after scheduling and before the results, cached ones included."""
    running: int
    waiting: int
    finished: list[int] = field(default_factory=list)
    """Finished by this step's results."""
    end_s: float = NAN
    """When the results are there."""
    used_blocks: int = 0
    """Blocks held by all requests once the results are applied."""


class StepRecorder:
    """The step records of one replica; its memory must report evictions to ``evicted``."""

    def __init__(self) -> None:
        self.records: list[StepRecord] = []
        self.evicted_blocks = 0
        self._evicted: list[tuple[int, int, int]] = []

    def evicted(self, owner: int, first: int, last: int) -> None:
        """Blocks ``first`` down to ``last`` of ``owner`` are evicted; may go on with the last run."""
        self.evicted_blocks += first - last + 1
        runs = self._evicted
        if runs and runs[-1][0] == owner and runs[-1][2] == first + 1:
            runs[-1] = (owner, runs[-1][1], last)
        else:
            runs.append((owner, first, last))

    def take_evicted(self) -> list[tuple[int, int, int]]:
        """What was evicted since the last call."""
        runs, self._evicted = self._evicted, []
        return runs

    def rows(self) -> list[tuple[int, int, int, int]]:
        """(step, replica, request, tokens) of everything that was scheduled."""
        return [(r.step, r.replica, index, tokens) for r in self.records for index, tokens in r.sched]
