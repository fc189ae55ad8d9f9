"""Data parallel ranks that compute their steps together, against a loop over rounds."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches.block import BlockCache
from sim.engine.latency import IterationTime
from sim.engine.lockstep import Lockstep
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.fleet import Fleet
from sim.fleet.plan import ReplicaPlan
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware.coefficients import Coefficients
from sim.results.records import Records
from tests.caches.cases import QUICK
from workloads.content import ROOT
from workloads.trace import Trace

COEFFICIENTS = Coefficients(step=1.0, token=0.0625, p=None)
"""A step takes a second, and a sixteenth of one per token."""


def _serve(
    requests: list[tuple[float, int, int]], ranks: int, *, together: bool, asynchronous: bool
) -> Records:
    """Requests (arrival, prompt, output) in turn to the ranks."""
    trace = Trace()
    for arrival_s, prompt_tokens, output_tokens in requests:
        prompt = trace.content.append(ROOT, prompt_tokens)
        reply = trace.content.append(prompt, output_tokens)
        trace.add(prompt=prompt, reply=reply, output_tokens=output_tokens, arrival_s=arrival_s)
    lockstep = Lockstep(ranks - 1) if together else None
    plan = ReplicaPlan(
        memory=lambda evicted: BlockCache(trace.chains, 16, 1000, evicted=evicted),
        latency=IterationTime(COEFFICIENTS),
        options=SchedulerOptions(max_num_seqs=100, async_scheduling=asynchronous),
        lockstep=lockstep,
    )
    return Fleet(trace, [plan] * ranks, RoundRobin).run()


def _rounds(requests: list[tuple[float, int, int]], ranks: int) -> list[float]:
    """When each request has its last token: a loop over rounds, synchronous, with endless memory."""
    coming: list[deque[int]] = [deque(range(rank, len(requests), ranks)) for rank in range(ranks)]
    running: list[dict[int, int]] = [{} for _ in range(ranks)]  # request -> tokens that it still gets
    finished, now = [0.0] * len(requests), 0.0
    while any(coming) or any(running):
        if not any(running):
            now = max(now, min(requests[queue[0]][0] for queue in coming if queue))
        seconds = 0.0
        for queue, batch in zip(coming, running, strict=True):
            tokens = len(batch)
            while queue and requests[queue[0]][0] <= now:
                request = queue.popleft()
                batch[request] = requests[request][2]
                tokens += requests[request][1]
            if batch:
                seconds = max(seconds, 1.0 + 0.0625 * tokens)
        now += seconds
        for batch in running:
            for request in list(batch):
                batch[request] -= 1
                if not batch[request]:
                    finished[request] = now
                    del batch[request]
    return finished


@settings(QUICK, max_examples=100)
@given(
    requests=st.lists(
        st.tuples(st.integers(0, 60).map(lambda t: t / 2), st.integers(1, 20), st.integers(1, 12)),
        min_size=1,
        max_size=12,
    ).map(sorted),
    ranks=st.integers(1, 4),
)
def test_as_a_loop_over_rounds(requests: list[tuple[float, int, int]], ranks: int) -> None:
    """Every step of every rank begins and ends with those of the others."""
    records = _serve(requests, ranks, together=True, asynchronous=False)
    assert records.finished_s.tolist() == pytest.approx(_rounds(requests, ranks), abs=1e-9)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_ranks_wait_for_the_slowest(asynchronous: bool) -> None:
    """A prompt of 160 tokens in one rank holds up the reply that the other one writes."""
    requests = [(0.0, 1, 30), (4.5, 160, 3)]
    apart, together = (
        _serve(requests, 2, together=each, asynchronous=asynchronous) for each in (False, True)
    )
    assert together.finished_s[0] - apart.finished_s[0] == pytest.approx(0.0625 * (160 - 1), abs=0.2)
    assert together.first_token_s[1] > apart.first_token_s[1]
    alone = _serve(requests[:1], 2, together=True, asynchronous=asynchronous)
    assert alone.finished_s[0] == _serve(requests[:1], 1, together=False, asynchronous=False).finished_s[0]


def test_nobody_waits_in_equal_ranks() -> None:
    """The same requests at the same times in every rank: as if each were alone."""
    requests: list[Any] = [(float(t), 5, 7) for t in (0, 0, 3, 3, 20, 20)]
    apart, together = (_serve(requests, 2, together=each, asynchronous=True) for each in (False, True))
    assert together.finished_s.tolist() == pytest.approx(apart.finished_s.tolist())
