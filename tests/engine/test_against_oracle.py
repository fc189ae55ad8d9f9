"""Replica and naive scheduler on small random traces, event by event and step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches.block import BlockTable
from sim.engine.request import Request
from sim.engine.writers import Writers
from sim.results.request_log import RequestRow
from tests.caches.cases import QUICK, THOROUGH, blocks_of, request_lists, trace_of
from tests.caches.recorded import single_blocks
from tests.engine.driving import check_always, fleet_of
from tests.oracles.naive_vllm import NaiveBlockPool, NaiveRequest, NaiveScheduler
from workloads.content import Route

Rows = list[tuple[int, ...]]
"""Hit tokens, first scheduled, first token, finished, preemptions, of every request."""
Evictions = list[tuple[str, int]]


@dataclass
class Case:
    """Requests in order of arrival, and the engine that serves them."""

    requests: list[NaiveRequest]
    block_size: int
    blocks: int
    max_num_batched_tokens: int
    max_num_seqs: int
    caching: bool


@st.composite
def cases(draw: Any, most: int = 6) -> Case:
    """Memory holds the largest request and little more, so most cases preempt.

    Arrivals are close together: prompts are sent again, or go on after a reply, while the first
    request is still being answered.
    """
    requests = draw(request_lists(most=most, arrivals=st.integers(0, 12)))
    block_size = draw(st.integers(1, 4))
    tokens = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 64]))
    return Case(
        requests,
        block_size,
        blocks_of(requests, block_size) + draw(st.integers(0, 4)),
        tokens,
        draw(st.integers(1, min(tokens, 4))),
        draw(st.sampled_from([True, True, True, False])),
    )


def _oracle(case: Case) -> tuple[Rows, Evictions]:
    pool = NaiveBlockPool(case.blocks, case.block_size, case.caching)
    scheduler = NaiveScheduler(pool, case.max_num_batched_tokens, case.max_num_seqs)
    coming = list(case.requests)
    while coming or scheduler.waiting or scheduler.running:
        while coming and coming[0].arrival <= scheduler.step:
            scheduler.add(coming.pop(0))
        scheduler.schedule()
        pool.check(scheduler.running)
        scheduler.apply()
    rows: Rows = []
    for request in case.requests:
        assert request.step_first is not None and request.step_done is not None
        assert request.step_scheduled is not None
        first, done = request.step_first + 1, request.step_done + 1
        rows.append((request.hits[0], request.step_scheduled, first, done, request.preemptions))
    return rows, pool.evictions


def _simulated(case: Case, fast_forward: bool) -> tuple[Rows, Evictions]:
    evicted: list[tuple[int, int, int]] = []
    fleet = fleet_of(
        trace_of(case.requests),
        blocks=case.blocks,
        block_size=case.block_size,
        max_num_batched_tokens=case.max_num_batched_tokens,
        max_num_seqs=case.max_num_seqs,
        fast_forward=fast_forward,
        caching=case.caching,
        evicted=lambda owner, first, last: evicted.append((owner, first, last)),
    )
    r = check_always(fleet).run()
    columns = (
        r.cache_read_input_tokens, r.scheduled_s, r.first_token_s, r.finished_s, r.preemptions
    )  # fmt: skip
    rows: Rows = [tuple(int(value) for value in row) for row in zip(*columns, strict=True)]
    return rows, [(case.requests[owner].id, index) for owner, index in single_blocks(evicted)]


def _agree(case: Case) -> None:
    want = _oracle(case)
    assert _simulated(case, fast_forward=False) == want
    assert _simulated(case, fast_forward=True) == want


def _case(engine: tuple[int, int, int, int], *requests: tuple[str, str]) -> Case:
    """Requests (prompt, reply), one digit per token, that all arrive at once."""
    made = [
        NaiveRequest(f"r{i}", [int(t) for t in prompt], [int(t) for t in reply])
        for i, (prompt, reply) in enumerate(requests)
    ]
    return Case(made, *engine, caching=True)


def test_a_chunk_across_a_reply_being_written() -> None:
    """The decode fills the block in the step in which the chunk does, and before it."""
    others = [("000", "0"), ("0", "0"), ("0", "0"), ("0", "0")]
    _agree(_case((2, 2, 2, 2), ("0", "00"), ("00", "0"), *others))


def test_a_blocked_head_reads_a_reply_being_written() -> None:
    """When the block under way is full, it is a hit: the head needs one block less, and fits."""
    _agree(_case((5, 2, 2, 2), ("120", "120"), ("120120", "0")))


def test_two_write_the_same_reply_out_of_step() -> None:
    """The preempted one runs behind: the earlier copy of a block is the one filled earlier."""
    _agree(_case((2, 6, 2, 2), ("011", "001000"), ("011", "00100")))


def test_three_write_the_same_reply() -> None:
    """Their copies of a block are published in running order, although one of them parts later."""
    same, other = ("110100111", "0001"), ("110100111", "0000")
    _agree(_case((2, 10, 4, 3), same, other, same, ("0", "0"), ("1101001110000", "0")))


def test_a_segment_is_contested_as_long_as_two_write_it() -> None:
    """Three decodes write node 7, one of them 8 too: two are left, then one, then nobody."""
    writers, long, short = Writers(), Route([7, 8], [9, 12]), Route([7], [9])
    first, second, third = (_writer(i, 5, long if i == 1 else short) for i in range(3))
    for order, request in enumerate((third, second, first)):
        request.order = order
        writers.add(request)
    assert writers.contested == {7} and writers.of(long) == [third, second, first]
    assert writers.of_contested() == [third, second, first]
    writers.discard(second)
    assert writers.contested == {7} and not writers.write(Route([8], [12]))
    writers.discard(third)
    assert writers.contested == set() and writers.of(short) == [first]
    writers.discard(first)
    assert not writers.write(short)


def test_two_turns_write_one_node_one_after_the_other() -> None:
    """Tokens 5 to 8 and 9 to 11 of a node have nothing in common; a prompt of 5 tokens contains neither."""
    writers = Writers()
    first, second = _writer(0, 5, Route([7], [9])), _writer(1, 9, Route([7], [12]))
    for request in (first, second):
        writers.add(request)
    assert writers.contested == set()
    assert not writers.write(Route([7], [5]))
    assert writers.of(Route([7], [6])) == [first]
    assert writers.of(Route([7], [9])) == [first]
    assert writers.of(Route([7], [10])) == [first, second]


def _writer(index: int, prompt_tokens: int, route: Route) -> Request:
    request = Request(RequestRow(index, 0.0), BlockTable(route, prompt_tokens, index), 9, route.nodes)
    request.order = index
    return request


@settings(QUICK, max_examples=400)
@given(cases())
def test_random_traces(case: Case) -> None:
    """First hits, steps, preemptions and evictions in order are those of the naive scheduler."""
    _agree(case)


@pytest.mark.slow
@settings(THOROUGH, max_examples=10_000)
@given(cases(most=10))
def test_random_traces_thoroughly(case: Case) -> None:
    """The same on many more and longer traces."""
    _agree(case)
