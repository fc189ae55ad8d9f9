"""SGLang's scheduler: runs of decode steps in one event against every step as an event of its own."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.fleet.fleet import Fleet
from sim.fleet.routers import ROUTERS
from sim.results.itl import gaps_of
from sim.results.records import Records
from tests.caches.cases import QUICK, THOROUGH, trace_of
from tests.engine.comparing import REALISTIC, chat, same_gaps, same_records, same_totals
from tests.engine.driving_sglang import sglang_fleet
from tests.engine.test_sglang_oracle import Case, cases
from workloads.trace import Trace


def _both(trace: Trace, router: str | None = None, **engine: Any) -> tuple[Records, Records]:
    """Records of the same trace by run and by single steps, compared entry by entry."""
    runs, evictions = [], []
    for fast_forward in (True, False):
        evicted: list[tuple[int, int, int]] = []
        fleet = sglang_fleet(
            trace,
            coefficients=REALISTIC,
            fast_forward=fast_forward,
            evicted=lambda *run, log=evicted: log.append(run),
            **engine,
        )
        if router is not None:
            fleet = _routed(fleet, router, trace)
        runs.append(fleet.run())
        evictions.append(evicted)
    fast, slow = runs
    same_records(fast, slow)
    if engine.get("replicas", 1) == 1:
        assert evictions[0] == evictions[1]
    return fast, slow


def _routed(fleet: Fleet, router: str, trace: Trace) -> Fleet:
    from sim.fleet.routers import RouterSetting

    fleet._router = ROUTERS[router]().router(RouterSetting(trace, len(fleet.replicas), 0))
    return fleet


@pytest.mark.parametrize("policy", ["fcfs", "lpm", "dfs-weight"])
@pytest.mark.parametrize(("page_size", "replicas"), [(1, 1), (16, 3)])
@pytest.mark.parametrize("spare", [1, 30, 1500])
@pytest.mark.parametrize("overlap", [False, True])
def test_chat(policy: str, page_size: int, replicas: int, spare: int, overlap: bool) -> None:
    """Chats in closed loop, from a memory that holds one large request to a roomy one."""
    trace = chat(1)
    tokens = max(p + o for p, o in zip(trace.input_tokens, trace.output_tokens, strict=True))
    fast, slow = _both(
        trace,
        pages=-(-tokens // page_size) + 2 + spare * 16 // page_size,
        page_size=page_size,
        replicas=replicas,
        chunked_prefill_size=256,
        max_running_requests=32,
        schedule_policy=policy,
        schedule_conservativeness=0.1,
        disable_overlap_schedule=not overlap,
    )
    assert len(fast) > 200
    assert fast.preemptions.sum() > 0 or spare > 1 or replicas > 1, "the tight memory retracts"
    same_totals(fast, slow)
    same_gaps(fast, slow)


@pytest.mark.parametrize("router", ["kv_aware", "least_loaded"])
@pytest.mark.parametrize("alone", [False, True])
def test_routers_see_the_same_in_the_middle_of_a_run(router: str, alone: bool) -> None:
    """What a replica holds and has cached when a request arrives does not depend on how time passes."""
    engine = {"chunked_prefill_size": 512, "disable_overlap_schedule": alone}
    _both(chat(2), router=router, pages=6000, replicas=3, **engine)


def test_a_run_is_one_event() -> None:
    """One request alone: its prefill is an iteration, its 999 decode steps are one event."""
    trace = Trace()
    trace.add(prompt=trace.content.append(0, 10), output_tokens=1000, arrival_s=0.0)
    fast, slow = _both(trace, pages=1100)
    assert list(fast.steps[0].iterations) == [1, 999]
    assert len(slow.steps[0].iterations) == 1000


def test_evictions_do_not_end_a_run() -> None:
    """A reply that grows into what is cached is still one event; its length is not all that is free."""
    trace = Trace()
    for i in range(8):
        trace.add(prompt=trace.content.append(0, 100), output_tokens=1, arrival_s=float(i))
    trace.add(prompt=trace.content.append(0, 10), output_tokens=900, arrival_s=100.0)
    fast, _ = _both(trace, pages=1000)
    assert list(fast.steps[0].iterations[-2:]) == [1, 899]
    assert fast.evicted_blocks == 800


def test_same_again() -> None:
    """Two runs leave equal records, to the last bit."""
    one, other = (
        sglang_fleet(chat(1), pages=3000, replicas=2, schedule_policy="lpm", coefficients=REALISTIC).run()
        for _ in range(2)
    )
    assert one.finished_s.tolist() == other.finished_s.tolist()
    assert one.engine == other.engine


def _open_loop(case: Case, seed: int) -> None:
    rng = random.Random(seed)
    for request in case.requests:
        request.arrival = rng.uniform(0, 0.15)
    case.requests.sort(key=lambda request: request.arrival)
    overlap = rng.random() < 0.5
    trace = trace_of(case.requests)
    fast, slow = _both(
        trace,
        pages=case.pages,
        page_size=case.page_size,
        eviction=case.eviction,
        caching=case.caching,
        chunked_prefill_size=case.chunk,
        max_prefill_tokens=case.max_prefill,
        max_running_requests=case.max_running,
        disable_overlap_schedule=not overlap,
        **case.options,
    )
    same_totals(fast, slow)
    same_gaps(fast, slow)


@settings(QUICK, max_examples=150)
@given(cases(), st.integers(0, 2**32))
def test_open_loop(case: Case, seed: int) -> None:
    """Small traces full of shared content, arriving at any time within some iterations."""
    _open_loop(case, seed)


@pytest.mark.slow
@THOROUGH
@given(cases(most=10), st.integers(0, 2**32))
def test_open_loop_thoroughly(case: Case, seed: int) -> None:
    """The same on many more and longer traces."""
    _open_loop(case, seed)


def test_without_caching_nothing_is_found() -> None:
    """The twin: every prompt is computed anew, copies are not merged, nothing is evicted."""
    trace = chat(1)
    fast, _ = _both(trace, pages=5000, caching=False, schedule_policy="lpm", chunked_prefill_size=64)
    assert not fast.cache_read_input_tokens.any()
    assert fast.evicted_blocks == 0
    assert gaps_of(fast.steps).count == int((fast.output_tokens - 1).sum())
