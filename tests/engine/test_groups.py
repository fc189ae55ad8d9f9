"""Groups of layers under the scheduler: recordings of vLLM 0.33.0, a naive model, and both schedulers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sim.engine.vllm.config import SchedulerOptions
from tests.caches.cases import QUICK, THOROUGH, request_lists, trace_of
from tests.caches.layers import TEMPLATES, WITHOUT_STATES, groups_of, may_draft
from tests.caches.recorded import EXCERPTS, LARGEST
from tests.engine.comparing import REALISTIC, chat, same_gaps, same_records, same_totals
from tests.engine.driving import check_always, fleet_of
from tests.engine.driving_steps import Drive, Livelock, naive_scheduler_over, naive_steps
from tests.engine.test_stepping_recorded import schedules_as_recorded
from tests.oracles.naive_groups import NaiveGroupPool
from tests.oracles.naive_vllm import NaiveRequest
from workloads.content import ROOT
from workloads.errors import InputError
from workloads.trace import Trace

RECORDED = [f"full_{name}" for name in ("swa128_sched_c16_t512", "swa128_sched_c16_t8192")]
RECORDED += [f"full_{name}" for name in ("mamba_sched_c16_t512", "mamba_sched_c16_t8192")]
RECORDED += ["full_chunk256_sched_c16_t512"]
ASYNC = pytest.mark.parametrize("asynchronous", [False, True])


@pytest.mark.parametrize("name", RECORDED)
def test_excerpt(name: str) -> None:
    """Every field of every step and request of the excerpts kept here."""
    schedules_as_recorded(EXCERPTS / "hybrid" / "short-s3", name, EXCERPTS)


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("trace", ["short-s3", "tenants-s2", pytest.param("normal-s1", marks=LARGEST)])
def test_whole_recording(shared_data: Path, trace: str, name: str) -> None:
    """The same, of the whole recordings."""
    folder = shared_data / "conformance"
    schedules_as_recorded(folder / "hybrid" / trace, name, folder)


@dataclass
class Case:
    """Requests in order of arrival, groups, the scheduler's options, and the memory."""

    requests: list[NaiveRequest]
    groups: list[str]
    eagle: bool
    options: SchedulerOptions
    block_size: int
    blocks: int
    caching: bool


@st.composite
def cases(
    draw: Any, templates: list[str] = TEMPLATES, most: int = 6, longest: int = 12, plain: bool = False
) -> Case:
    """Memory holds the largest request in all groups and little more, so many cases preempt."""
    salts = st.sampled_from([None, None, "a"])
    requests = draw(request_lists(most=most, longest=longest, arrivals=st.integers(0, 9), salts=salts))
    for number, request in enumerate(requests):
        request.id = f"r{(number * 7 + 9) % 12}"
        request.priority = draw(st.integers(0, 2))
    block_size = draw(st.integers(1, 4))
    groups = groups_of(draw(st.lists(st.sampled_from(templates), min_size=1, max_size=3)), block_size)
    eagle = draw(st.booleans()) and may_draft(groups)
    budget = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 64]))
    options = SchedulerOptions(
        max_num_batched_tokens=budget,
        max_num_seqs=draw(st.integers(1, min(budget, 4))),
        policy="fcfs" if plain else draw(st.sampled_from(["fcfs", "priority"])),
        long_prefill_token_threshold=0 if plain else draw(st.sampled_from([0, 0, 1, 2, 3])),
        watermark=0.0 if plain else draw(st.sampled_from([0.0, 0.0, 0.1, 0.3])),
        scheduler_reserve_full_isl=True if plain else draw(st.booleans()),
        async_scheduling=draw(st.booleans()),
    )
    largest = max(-(-(len(r.prompt) + len(r.output) - 1) // block_size) for r in requests)
    blocks = len(groups) * (largest + 2) + draw(st.integers(0, 4))
    return Case(
        requests,
        groups,
        eagle,
        options,
        block_size,
        blocks,
        draw(st.sampled_from([True, True, True, False])),
    )


LISTS = attrgetter("sched", "new", "resumed", "preempted", "evicted", "finished")
NUMBERS = attrgetter("free", "running", "waiting")


def _agree(case: Case) -> None:
    requests, options = case.requests, case.options
    trace = trace_of(requests)
    trace.request_ids = ids = [request.id for request in requests]
    drive = Drive(
        trace,
        options,
        blocks=case.blocks,
        block_size=case.block_size,
        caching=case.caching,
        groups=case.groups,
        eagle=case.eagle,
    )
    pool = NaiveGroupPool(
        case.blocks, case.block_size, case.groups, case.eagle, case.caching, options.in_flight_tokens
    )
    try:
        steps = naive_steps(naive_scheduler_over(pool, options), requests)
    except Livelock:
        with pytest.raises(InputError, match="no progress"):
            drive.run(check=False)
        return
    want = [(at, *LISTS(record), *NUMBERS(record), used) for at, record, used in steps]

    def named(entry: Any) -> Any:
        return (ids[entry[0]], *entry[1:]) if isinstance(entry, tuple) else ids[entry]

    got = []
    for record in drive.run(check=True):
        lists = [[named(entry) for entry in column] for column in LISTS(record)]
        got.append((record.scheduled_s, *lists, *NUMBERS(record), record.used_blocks))
    assert got == want
    drive.check_sums()
    event(f"evictions: {bool(pool.evictions)}, preemptions: {any(r.preemptions for r in requests)}")


@settings(QUICK, max_examples=300)
@given(cases())
def test_random_traces(case: Case) -> None:
    """Every field of every step is that of the naive scheduler over the naive pool."""
    _agree(case)


@pytest.mark.slow
@settings(THOROUGH, max_examples=3_000)
@given(cases(most=10, longest=24))
def test_random_traces_thoroughly(case: Case) -> None:
    """The same on many more and longer traces."""
    _agree(case)


def _both(trace: Trace, **engine: Any) -> None:
    """Records by runs of steps, by single events, and by the scheduler that decides every step."""
    fast = fleet_of(trace, coefficients=REALISTIC, **engine).run()
    single = fleet_of(trace, coefficients=REALISTIC, fast_forward=False, **engine).run()
    fleet = fleet_of(trace, coefficients=REALISTIC, record_steps=True, **engine)
    slow = (check_always(fleet) if len(trace) < 20 else fleet).run()
    for other in (single, slow):
        same_records(fast, other)
        same_totals(fast, other)
        same_gaps(fast, other)


@ASYNC
@pytest.mark.parametrize(
    "groups", [["full", "swa:40"], ["swa:64", "chunk:80", "full", "swa:64"], ["full", "mamba:align"]]
)
@pytest.mark.parametrize("spare", [0, 200, 3000])
def test_chat_by_both(spare: int, groups: list[str], asynchronous: bool) -> None:
    """Chats in closed loop, tight memory to roomy."""
    trace = chat(3)
    tokens = max(p + o - 1 for p, o in zip(trace.input_tokens, trace.output_tokens, strict=True))
    blocks = (-(-tokens // 16) + 2) * len(groups) + spare
    limits = {"max_num_batched_tokens": 256, "max_num_seqs": 32}
    _both(trace, blocks=blocks, groups=groups, asynchronous=asynchronous, **limits)


@settings(QUICK, max_examples=80)
@given(case=cases(WITHOUT_STATES, plain=True), seed=st.integers(0, 2**32))
def test_open_loop_by_both(case: Case, seed: int) -> None:
    """Small traces full of shared content, arriving at any time within some iterations."""
    _open_loop(case, seed)


@pytest.mark.slow
@settings(THOROUGH, max_examples=3_000)
@given(case=cases(WITHOUT_STATES, most=10, longest=24, plain=True), seed=st.integers(0, 2**32))
def test_open_loop_by_both_thoroughly(case: Case, seed: int) -> None:
    """The same on many more and longer traces."""
    _open_loop(case, seed)


def _open_loop(case: Case, seed: int) -> None:
    rng = random.Random(seed)
    for request in case.requests:
        request.arrival = rng.uniform(0, 0.15)
    _both(
        trace_of(case.requests),
        blocks=case.blocks,
        block_size=case.block_size,
        groups=case.groups,
        eagle=case.eagle,
        max_num_batched_tokens=case.options.max_num_batched_tokens,
        max_num_seqs=case.options.max_num_seqs,
        caching=case.caching,
        asynchronous=case.options.async_scheduling,
    )


@ASYNC
@pytest.mark.parametrize("window", range(5, 12))
def test_most_blocks_of_a_lone_decode(window: int, asynchronous: bool) -> None:
    """A window holds most right before it gives a block back, wherever in the run of steps that is."""
    trace = Trace()
    prompt = trace.content.append(ROOT, 5)
    trace.add(prompt=prompt, reply=trace.content.append(prompt, 60), output_tokens=60, arrival_s=0.0)
    groups = [f"swa:{window}", f"swa:{window + 2}"]
    _both(trace, blocks=100, block_size=4, groups=groups, asynchronous=asynchronous)
