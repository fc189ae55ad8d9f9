"""What a fleet is made of and what may happen to it: replicas, limits, deadlines, failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from sim.engine.events import Clock
from sim.engine.interface import AnyReplica, Compute, Heard
from sim.engine.kv import MemoryOf, SourceOf
from sim.engine.latency import IterationTime
from sim.engine.loads import Source
from sim.engine.lockstep import Lockstep
from sim.engine.request import Request
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.replica import SglangReplica
from sim.engine.step_records import StepRecorder
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.replica import VllmReplica
from sim.engine.vllm.speculation import Drafter
from sim.engine.vllm.step_scheduler import Rank
from workloads.clients import Retries
from workloads.trace import Trace

Role = Literal["both", "prefill", "decode"]


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """One replica before it runs.

    ``memory`` makes its KV memory and ``source`` what brings KV in, in this order, at the start and after
    every failure; where steps are recorded ``memory`` is given the callback for evictions.
    """

    memory: MemoryOf
    latency: IterationTime
    options: SchedulerOptions | SglangEngine = field(default_factory=SchedulerOptions)
    fast_forward: bool = True
    source: SourceOf | None = None
    gpus: int = 1
    """GPUs that work together as this replica."""
    role: Role = "both"
    """``prefill``: requests end here with their first token and go on at a replica that decodes."""
    too_long: Callable[[int, int], bool] | None = None
    """Whether a request of (prompt, output) tokens is longer than the engine serves; None: none is."""
    drafter: Drafter | None = None
    """How long drafts take; None: nothing."""
    lockstep: Lockstep | None = None
    """The data parallel ranks with which its steps begin and end; the same object in the plan of each."""
    compute: Compute | None = None
    """How long a step takes, in the place of the latency model; every step is then decided by itself."""

    def parts(self, env: Clock, recorder: StepRecorder | None) -> tuple[Any, Source | None]:
        """Fresh memory, and what brings KV into it."""
        memory = self.memory(recorder.evicted if recorder else None)
        return memory, None if self.source is None else self.source(env)

    def make(
        self,
        number: int,
        env: Clock,
        trace: Trace,
        finished: Callable[[Request], None],
        left: Callable[[Request], None],
        recorder: StepRecorder | None = None,
        heard: Heard | None = None,
    ) -> AnyReplica:
        """Replica ``number`` of a fleet that serves ``trace``; with a ``recorder`` it keeps its steps."""
        memory, source = self.parts(env, recorder)
        if isinstance(self.options, SglangEngine):
            assert self.compute is None
            return SglangReplica(
                number,
                env,
                memory,
                self.latency,
                self.options,
                trace=trace,
                finished=finished,
                left=left,
                fast_forward=self.fast_forward,
                source=source,
                recorder=recorder,
                heard=heard,
            )
        return VllmReplica(
            number,
            env,
            memory,
            self.latency,
            self.options,
            finished=finished,
            left=left,
            rank=ranks(trace),
            fast_forward=self.fast_forward,
            source=source,
            recorder=recorder,
            compute=self.compute,
            drafter=self.drafter,
            lockstep=self.lockstep,
            heard=heard,
        )


def ranks(trace: Trace) -> Callable[[Request], Rank]:
    """The order of a priority queue. Ids compare as text, r10 before r9; requests without one by index."""

    def rank(request: Request) -> Rank:
        index = request.index
        name = f"{index:012}" if trace.request_ids is None else trace.request_ids[index]
        arrival_s = 0.0 if trace.equal_arrival else request.row.arrival_s
        return trace.priority[index], arrival_s, name

    return rank


@dataclass(frozen=True, slots=True)
class Failure:
    """Replica ``replica`` dies at ``at_s`` and comes back without content at ``back_s`` (None: never)."""

    replica: int
    at_s: float
    back_s: float | None


@dataclass(frozen=True, slots=True)
class Hardships:
    """What can keep a request from being served, and what its client then does."""

    max_queued_requests: int | None = None
    """Waiting requests of a replica; one more is rejected. None: no bound."""
    deadline_s: list[float] | None = None
    """Seconds after it was sent at which a request's client gives up, one per request of the trace."""
    failures: tuple[Failure, ...] = ()
    retries: Retries | None = None
    """How rejected and timed-out requests are sent again. None: they are not."""


NO_HARDSHIPS = Hardships()
