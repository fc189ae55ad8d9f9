"""The general scheduler against naive ones, against the fast one, and in small exact examples."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches.block import BlockCache
from sim.engine.events import Clock
from sim.engine.latency import IterationTime
from sim.engine.step_records import StepRecorder
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.replica import VllmReplica
from sim.engine.vllm.run_scheduler import RunScheduler
from sim.engine.vllm.step_scheduler import StepScheduler
from sim.fleet.plan import ReplicaPlan
from tests.caches.cases import QUICK, THOROUGH, blocks_of, request_lists, trace_of
from tests.engine.comparing import REALISTIC, chat, same_gaps, same_records, same_totals
from tests.engine.driving import ONE_SECOND, check_always, fleet_of
from tests.engine.driving_steps import Drive, Livelock, naive_scheduler, naive_steps
from tests.engine.test_against_oracle import Case as PlainCase
from tests.engine.test_against_oracle import cases as plain_cases
from tests.oracles.naive_vllm import NaiveRequest
from workloads.errors import InputError
from workloads.trace import Trace

ASYNC = pytest.mark.parametrize("asynchronous", [False, True])


@dataclass
class Case:
    """Requests in order of arrival, the scheduler's options, and the memory."""

    requests: list[NaiveRequest]
    options: SchedulerOptions
    block_size: int
    blocks: int
    caching: bool


@st.composite
def cases(draw: Any, most: int = 6) -> Case:
    """Memory holds the largest request and little more, so most cases preempt.

    Few different arrivals and priorities, so that ids decide; their order as text is not by number.
    """
    salts = st.sampled_from([None, None, "a"])
    requests = draw(request_lists(most=most, arrivals=st.integers(0, 9), salts=salts))
    for number, request in enumerate(requests):
        request.id = f"r{(number * 7 + 9) % 12}"
        request.priority = draw(st.integers(0, 2))
    block_size = draw(st.integers(1, 4))
    budget = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 64]))
    options = SchedulerOptions(
        max_num_batched_tokens=budget,
        max_num_seqs=draw(st.integers(1, min(budget, 4))),
        policy=draw(st.sampled_from(["fcfs", "priority"])),
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 1, 2, 3])),
        watermark=draw(st.sampled_from([0.0, 0.0, 0.1, 0.3])),
        scheduler_reserve_full_isl=draw(st.booleans()),
        async_scheduling=draw(st.booleans()),
    )
    blocks = blocks_of(requests, block_size) + draw(st.integers(0, 4))
    return Case(requests, options, block_size, blocks, draw(st.sampled_from([True, True, True, False])))


LISTS = attrgetter("sched", "new", "resumed", "preempted", "evicted", "finished")
NUMBERS = attrgetter("free", "running", "waiting")


def _agree(case: Case) -> None:
    requests, pool = case.requests, (case.blocks, case.block_size, case.caching)
    trace = trace_of(requests)
    trace.request_ids = ids = [request.id for request in requests]
    drive = Drive(trace, case.options, blocks=case.blocks, block_size=case.block_size, caching=case.caching)
    try:
        steps = naive_steps(naive_scheduler(case.options, *pool), requests)
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


@settings(QUICK, max_examples=300)
@given(cases())
def test_random_traces(case: Case) -> None:
    """Every field of every step is that of the naive schedulers, under all options together."""
    _agree(case)


@pytest.mark.slow
@settings(THOROUGH, max_examples=3_000)
@given(cases(most=10))
def test_random_traces_thoroughly(case: Case) -> None:
    """The same on many more and longer traces."""
    _agree(case)


def _both(trace: Trace, **engine: Any) -> None:
    """Records by the two schedulers of default options, compared entry by entry."""
    fast = fleet_of(trace, coefficients=REALISTIC, **engine).run()
    fleet = fleet_of(trace, coefficients=REALISTIC, record_steps=True, **engine)
    slow = (check_always(fleet) if len(trace) < 20 else fleet).run()
    same_records(fast, slow)
    same_totals(fast, slow)
    same_gaps(fast, slow)


@ASYNC
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("spare", [0, 60, 1500])
def test_chat_by_both(replicas: int, spare: int, asynchronous: bool) -> None:
    """Chats in closed loop, tight memory to roomy."""
    trace = chat(3)
    tokens = max(p + o - 1 for p, o in zip(trace.input_tokens, trace.output_tokens, strict=True))
    blocks = -(-tokens // 16) + spare
    limits = {"max_num_batched_tokens": 256, "max_num_seqs": 32}
    _both(trace, blocks=blocks, replicas=replicas, asynchronous=asynchronous, **limits)


@ASYNC
@settings(QUICK, max_examples=100)
@given(case=plain_cases(), seed=st.integers(0, 2**32))
def test_open_loop_by_both(case: PlainCase, seed: int, asynchronous: bool) -> None:
    """Small traces full of shared content, arriving at any time within some iterations."""
    rng = random.Random(seed)
    for request in case.requests:
        request.arrival = rng.uniform(0, 0.15)
    _both(
        trace_of(case.requests),
        blocks=case.blocks,
        block_size=case.block_size,
        max_num_batched_tokens=case.max_num_batched_tokens,
        max_num_seqs=case.max_num_seqs,
        caching=case.caching,
        asynchronous=asynchronous,
    )


def _served(
    *requests: tuple[float, Any, Any],
    blocks: int,
    block_size: int = 1,
    priority: Any = None,
    **options: Any,
) -> Drive:
    """Requests (arrival in s, prompt, reply), a letter per token, served; steps take a second."""
    trace = trace_of([NaiveRequest("", prompt, reply, arrival=at) for at, prompt, reply in requests])
    trace.priority = priority or trace.priority
    made = SchedulerOptions(**{"async_scheduling": False, **options})
    drive = Drive(trace, made, blocks=blocks, block_size=block_size)
    drive.run(check=True)
    return drive


def _sched(drive: Drive) -> list[list[tuple[int, int]]]:
    return [record.sched for record in drive.recorder.records]


LATER = pytest.mark.parametrize(("asynchronous", "later"), [(False, 0), (True, 1)])


@LATER
def test_blocks_return_a_step_later(asynchronous: bool, later: int) -> None:
    """0 ends with step 0 and makes room for 2; asynchronous, step 1 is scheduled before that is known."""
    drive = _served(
        (0, "abc", "d"), (0, "e", "fgh"), (0, "lmn", "o"), blocks=6, async_scheduling=asynchronous
    )
    alone = [[(1, 1)]] * later
    assert _sched(drive)[: 2 + later] == [[(0, 3), (1, 1)], *alone, [(1, 1), (2, 3)]]
    assert list(drive.log.first_token_s) == [1.0, 1.0, 2.0 + later]


@LATER
def test_replies_are_published_a_step_later(asynchronous: bool, later: int) -> None:
    """Step 1 computes d, which fills a block; asynchronous, nobody knows yet that it is a d."""
    drive = _served(
        (0, "abc", "defg"),
        (0, "abcdx", "y"),
        blocks=9,
        block_size=2,
        max_num_batched_tokens=3,
        max_num_seqs=2,
        async_scheduling=asynchronous,
    )
    assert drive.recorder.records[1].new == [(1, 4 - 2 * later)]


@LATER
def test_who_finds_the_replica_busy_waits_a_step_longer(asynchronous: bool, later: int) -> None:
    """At 1 step 2 is scheduled, if asynchronous, and step 1 begins; who finds it idle does not wait."""
    drive = _served(
        (0, "a", "bcdef"), (0.5, "g", "h"), (9, "i", "j"), blocks=9, async_scheduling=asynchronous
    )
    assert list(drive.log.scheduled_s) == [0.0, 1.0, 9.0]
    assert list(drive.log.first_token_s) == [1.0, 2.0 + later, 10.0]


def test_the_last_token_in_flight_is_enough() -> None:
    """Two tokens take two steps; the third, scheduled before the last token is there, is empty."""
    drive = _served((0, "abc", "de"), blocks=9, async_scheduling=True)
    assert _sched(drive) == [[(0, 3)], [(0, 1)], []]
    assert [record.end_s for record in drive.recorder.records] == [1.0, 2.0, 2.0]


def test_an_empty_step_takes_no_time() -> None:
    """1 waits for the blocks of 0, whose last token is in flight: step 1 is empty, 2 begins at 1."""
    drive = _served((0, "abc", "d"), (0, "efg", "h"), blocks=3, async_scheduling=True)
    assert _sched(drive) == [[(0, 3)], [], [(1, 3)], []]
    assert list(drive.log.first_token_s) == [1.0, 2.0]


def test_preempted_with_the_last_token_in_flight() -> None:
    """In step 2, 0 needs the block of 1, which is complete with step 1: it ends while it waits."""
    drive = _served((0, "a", "bcde"), (0, "f", "gh"), blocks=4, async_scheduling=True)
    records = drive.recorder.records
    assert [records[2].preempted, records[1].finished] == [[1], [1]]
    assert list(drive.log.finished_s) == [4.0, 2.0]
    assert list(drive.log.preemptions) == [0, 1]
    assert drive.replica.totals.recomputed_tokens == 0


def test_a_victim_gives_its_budget_back() -> None:
    """In step 3, 1 needs a block and takes 0's, which had a token already: 2 gets two, not one."""
    drive = _served(
        (0, "a", "bcdefgh"),
        (1, "i", "jklm"),
        (2, "nopqrs", "t"),
        blocks=7,
        priority=[2, 1, 0],
        policy="priority",
        max_num_batched_tokens=3,
        max_num_seqs=3,
        scheduler_reserve_full_isl=False,
    )
    assert _sched(drive)[2:4] == [[(0, 1), (1, 1), (2, 1)], [(1, 1), (2, 2)]]
    assert drive.recorder.records[3].preempted == [0]


PLAIN = SchedulerOptions(max_num_batched_tokens=64, max_num_seqs=8, long_prefill_token_threshold=64)


@pytest.mark.parametrize(
    "other",
    [
        {"policy": "priority"},
        {"long_prefill_token_threshold": 63},
        {"watermark": 0.01},
        {"scheduler_reserve_full_isl": False},
    ],
)
def test_the_fast_scheduler_where_it_does(other: dict[str, Any]) -> None:
    """Batch limits and async_scheduling alone need no step by step, unless the steps are recorded."""

    def kind(options: SchedulerOptions, recorder: StepRecorder | None = None) -> type[object]:
        trace = Trace()
        plan = ReplicaPlan(lambda _: BlockCache(trace.content, 16, 9), IterationTime(ONE_SECOND), options)
        made = plan.make(0, Clock(), trace, lambda request: None, lambda request: None, recorder)
        assert isinstance(made, VllmReplica)
        return type(made._scheduler)

    assert kind(PLAIN) is kind(replace(PLAIN, async_scheduling=False)) is RunScheduler
    assert kind(PLAIN, StepRecorder()) is StepScheduler
    assert kind(replace(PLAIN, **other)) is StepScheduler


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "lifo"},
        {"max_num_seqs": 0},
        {"max_num_batched_tokens": 7},
        {"long_prefill_token_threshold": -1},
        {"watermark": 1.0},
    ],
)
def test_options_that_vllm_refuses(wrong: dict[str, Any]) -> None:
    """The message names the option, its value and what is allowed."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"^{name} is '?{value}'?; allowed: "):
        replace(PLAIN, **wrong)


def test_no_progress_is_an_error_not_an_endless_run() -> None:
    """Equal priorities, chunks of two tokens, no reserve: two prompts push each other out without end."""
    lengths = [(6, 1), (5, 2)]
    requests = [
        NaiveRequest(str(i), prompt=[i] * prompt, output=[9] * output)
        for i, (prompt, output) in enumerate(lengths)
    ]
    options = SchedulerOptions(
        3,
        2,
        policy="priority",
        long_prefill_token_threshold=2,
        scheduler_reserve_full_isl=False,
        async_scheduling=False,
    )
    trace = trace_of(requests)
    trace.request_ids = ["0", "1"]
    drive = Drive(trace, options, blocks=8, block_size=1, caching=False)
    with pytest.raises(Livelock):
        naive_steps(naive_scheduler(options, 8, 1, False), requests)
    with pytest.raises(InputError, match="no progress: 10,000 steps without a token"):
        drive.run(check=False)
