"""The decodes of a replica as a few numbers, against the requests one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches.block import BlockTable
from sim.engine.batch import Decodes
from sim.engine.request import Request
from sim.results.request_log import RequestRow
from tests.caches.cases import QUICK
from workloads.content import Route

SIZE = st.integers(1, 5)
CONTEXTS = st.lists(st.integers(1, 20), max_size=6)
FEW = st.integers(0, 25)


def _request(order: int, computed: int, output_tokens: int) -> Request:
    """A request whose prompt is computed and whose first token is there."""
    request = Request(
        RequestRow(order, 0.0), BlockTable(Route([1], [computed + 9]), computed, order), output_tokens, []
    )
    request.order, request.computed, request.generated = order, computed, 1
    return request


def _batch(block_size: int, contexts: list[int], passed: int = 0) -> Decodes:
    """Decodes of long replies with ``contexts`` tokens in KV, after ``passed`` iterations of nobody."""
    decodes = Decodes(block_size)
    assert list(decodes.advance(passed)) == []
    for order, computed in enumerate(contexts):
        decodes.enter(_request(order, computed, 1000))
    return decodes


def _needed(block_size: int, contexts: list[int], iteration: int) -> int:
    """Blocks needed by the ``iteration``-th iteration from now: one per context that fills its blocks."""
    return sum((held + iteration) % block_size == 0 for held in contexts)


@QUICK
@given(SIZE, CONTEXTS, FEW, FEW, FEW)
def test_needs(block_size: int, contexts: list[int], passed: int, ahead: int, steps: int) -> None:
    """A decode needs a block whenever the tokens it has fill its blocks exactly."""
    decodes = _batch(block_size, contexts, passed)
    want = sum(_needed(block_size, contexts, ahead + i) for i in range(steps))
    assert decodes.needs(decodes.step + ahead, steps) == want


@QUICK
@given(SIZE, CONTEXTS, FEW, st.integers(0, 60), st.integers(0, 80))
def test_steps_within(block_size: int, contexts: list[int], ahead: int, steps: int, blocks: int) -> None:
    """The longest run whose needs the free blocks cover, and not one iteration less."""
    decodes = _batch(block_size, contexts)
    used, want = 0, 0
    while want < steps:
        used += _needed(block_size, contexts, ahead + want)
        if used > blocks:
            break
        want += 1
    assert decodes.steps_within(ahead, steps, blocks) == want


@QUICK
@given(SIZE, st.lists(st.tuples(st.integers(1, 20), st.integers(2, 9)), min_size=1, max_size=6))
def test_who_finishes_when(block_size: int, sizes: list[tuple[int, int]]) -> None:
    """A reply of n tokens, the first of which is there, takes n - 1 iterations; ties in running order."""
    decodes = Decodes(block_size)
    requests = [_request(order, *size) for order, size in enumerate(sizes)]
    for request in requests:
        decodes.enter(request)
    done: list[tuple[int, int]] = []
    while decodes.count:
        steps = decodes.next_finish - decodes.step
        done += [(decodes.step, request.order) for request in decodes.advance(steps)]
        decodes.check([request for request in requests if (request.generated < request.output_tokens)])
    assert done == sorted((output - 1, order) for order, (_, output) in enumerate(sizes))
    for request, (computed, output) in zip(requests, sizes, strict=True):
        assert request.computed == computed + output - 1  # the last token has no KV


@settings(QUICK, max_examples=200)
@given(SIZE, st.data())
def test_enter_and_leave(block_size: int, data: st.DataObject) -> None:
    """Whatever enters, advances, is preempted and comes back: context and progress stay exact."""
    decodes = Decodes(block_size)
    inside: dict[Request, list[int]] = {}  # request -> [tokens in KV, output tokens]
    order = 0
    for _ in range(data.draw(st.integers(1, 15))):
        action = data.draw(st.sampled_from(["enter", "advance", "leave"]))
        if action == "enter":
            order += 1
            computed, output = data.draw(st.integers(1, 9)), data.draw(st.integers(2, 9))
            request = _request(order, computed, output)
            decodes.enter(request)
            inside[request] = [computed, 1]
        elif inside and action == "advance":
            steps = data.draw(st.integers(1, decodes.next_finish - decodes.step))
            finished = list(decodes.advance(steps))
            for counts in inside.values():
                counts[0] += steps
                counts[1] += steps
            want = [r for r, (_, generated) in inside.items() if generated == r.output_tokens]
            assert finished == want
            for request in finished:
                _has(request, inside.pop(request))
        elif inside:
            request = data.draw(st.sampled_from(list(inside)))
            decodes.leave(request)
            counts = inside.pop(request)
            _has(request, counts)
            if data.draw(st.booleans()):  # resumed: at the end of the running list
                order += 1
                request.order = order
                decodes.enter(request)
                inside[request] = counts
        decodes.check(list(inside))
        assert decodes.context == sum(computed for computed, _ in inside.values())


def _has(request: Request, counts: Any) -> None:
    assert [request.computed, request.generated] == counts
