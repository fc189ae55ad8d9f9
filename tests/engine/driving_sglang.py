"""Running a trace through replicas with SGLang's scheduler in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.caches.block import BlockTable, Evicted
from sim.engine.latency import IterationTime
from sim.engine.request import Request
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.replica import SglangReplica
from sim.engine.sglang.request import SglangRequest
from sim.engine.step_records import StepRecord
from sim.fleet.fleet import Fleet
from sim.fleet.plan import NO_HARDSHIPS, Hardships, ReplicaPlan
from sim.fleet.routers import Router, RouterSetting
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware.coefficients import Coefficients
from sim.results.records import Records
from sim.results.request_log import RequestRow
from tests.caches.cases import trace_of
from tests.engine.driving import ONE_SECOND, check_always
from tests.oracles.naive_vllm import NaiveRequest
from workloads.trace import Trace

Spec = tuple[str, int] | tuple[str, int, int]
"""Prompt, one letter per token; output tokens; arrival (default 0)."""
LONG = "abcdefghijklmnopqrstuvwxyz0123456789"
"""More than the 32 tokens from which on lpm compares waiting requests."""


def sglang_fleet(
    trace: Trace,
    *,
    pages: int,
    page_size: int = 1,
    eviction: str = "lru",
    caching: bool = True,
    chunked_prefill_size: int = 8192,
    max_running_requests: int = 1024,
    disable_overlap_schedule: bool = True,
    fast_forward: bool = True,
    replicas: int = 1,
    record_steps: bool = False,
    coefficients: Coefficients = ONE_SECOND,
    evicted: Evicted | None = None,
    hardships: Hardships = NO_HARDSHIPS,
    router: Callable[[RouterSetting], Router] = RoundRobin,
    **options: Any,
) -> Fleet:
    """A fleet with ``pages`` KV pages on each replica; ``options`` as in ``engine: {kind: sglang}``."""
    engine = SglangEngine(
        kind="sglang",
        chunked_prefill_size=chunked_prefill_size,
        max_running_requests=max_running_requests,
        disable_overlap_schedule=disable_overlap_schedule,
        **options,
    )
    plan = ReplicaPlan(
        memory=lambda recorded: SglangMemory(
            trace.chains, page_size, pages, eviction=eviction, caching=caching, evicted=recorded or evicted
        ),
        latency=IterationTime(coefficients),
        options=engine,
        fast_forward=fast_forward,
    )
    return Fleet(trace, [plan] * replicas, router, hardships=hardships, record_steps=record_steps)


def steps_of(fleet: Fleet) -> list[StepRecord]:
    """What the first replica recorded."""
    replica = fleet.replicas[0]
    assert isinstance(replica, SglangReplica) and replica.recorder is not None
    return replica.recorder.records


def letters(*requests: Spec) -> Trace:
    """A trace of requests, a letter a token, with replies of their own."""
    made = []
    for i, (prompt, output_tokens, *arrival) in enumerate(requests):
        reply = [1000 * (i + 1) + j for j in range(output_tokens)]
        made.append(NaiveRequest(f"r{i}", [ord(c) for c in prompt], reply, arrival=sum(arrival)))
    return trace_of(made)


def serve(*requests: Spec, pages: int = 999, **engine: Any) -> Records:
    """Records of ``requests``, page size 1 unless given."""
    return check_always(sglang_fleet(letters(*requests), pages=pages, **engine)).run()


def times_of(records: Records) -> list[tuple[float, float, float]]:
    """When each request is scheduled, has its first token and is finished, s."""
    columns = records.scheduled_s, records.first_token_s, records.finished_s
    return [tuple(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def memory_with(*prompts: str) -> tuple[SglangMemory, list[SglangRequest]]:
    """A pool in which the prompts are cached, the first one longest ago; and requests that ask for them."""
    trace = letters(*((prompt, 1) for prompt in prompts))
    memory = SglangMemory(trace.content, 1, 99)
    requests = []
    for i, prompt in enumerate(prompts):
        kv = memory.table(trace.reply[i], len(prompt), i)
        memory.take(kv, len(prompt))
        memory.publish(kv, len(prompt))
        memory.release(kv)
        route = trace.content.route(trace.reply[i])
        request = Request(RequestRow(i, 0.0), BlockTable(route, len(prompt), i), 1, [])
        requests.append(SglangRequest(request, memory.table(trace.reply[i], len(prompt), i), 1))
    return memory, requests
