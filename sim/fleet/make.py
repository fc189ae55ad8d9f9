"""From a plan to the cheapest replica that does what it says."""

from __future__ import annotations

from collections.abc import Callable

from sim.caches.block import BlockCache
from sim.engine.events import Clock
from sim.engine.interface import AnyReplica
from sim.engine.loading import LoadingReplica
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.replica import SglangReplica
from sim.engine.steps import StepRecorder
from sim.engine.vllm.replica import Replica
from sim.engine.vllm.stepping import SteppingReplica
from sim.fleet.plan import ReplicaPlan, SourceOf
from sim.results.records import RequestLog


def make_replica(
    plan: ReplicaPlan,
    number: int,
    env: Clock,
    memory: BlockCache | SglangMemory,
    *,
    log: RequestLog,
    finished: Callable[[int], None],
    recorder: StepRecorder | None = None,
    source: SourceOf | None = None,
) -> AnyReplica:
    """Replica ``number``; with a ``recorder`` it keeps its steps, with a ``source`` it brings in KV.

    Not both, and a source only with the default options of vLLM's scheduler: the configuration sees to it.
    """
    options, latency = plan.options, plan.latency
    if isinstance(options, SglangEngine):
        assert isinstance(memory, SglangMemory) and source is None
        return SglangReplica(
            number,
            env,
            memory,
            latency,
            options,
            fast_forward=plan.fast_forward,
            log=log,
            finished=finished,
            recorder=recorder,
        )
    assert isinstance(memory, BlockCache)
    if recorder is not None or not options.plain:
        assert source is None
        return SteppingReplica(
            number, env, memory, latency, options, log=log, finished=finished, recorder=recorder
        )
    limits = {
        "max_num_batched_tokens": options.max_num_batched_tokens,
        "max_num_seqs": options.max_num_seqs,
    }
    if source is None:
        return Replica(
            number,
            env,
            memory,
            latency,
            **limits,
            fast_forward=plan.fast_forward,
            log=log,
            finished=finished,
        )
    return LoadingReplica(
        number,
        env,
        memory,
        latency,
        source=source(env, log, memory.block_size),
        **limits,
        fast_forward=plan.fast_forward,
        log=log,
        finished=finished,
    )
