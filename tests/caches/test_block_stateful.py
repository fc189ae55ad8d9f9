"""The block cache and the naive per-block pool in lock-step, under random interleavings."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sim.caches.block import BlockCache, BlockTable
from tests.caches.cases import QUICK, THOROUGH, blocks_of, request_lists, trace_of
from tests.caches.recorded import single_blocks
from tests.oracles.naive_vllm import NaiveBlockPool, NaiveRequest
from workloads.content import Tree

PICK = st.integers(0, 7)
CHUNK = st.sampled_from([1, 2, 5, 99])


class LockStep(RuleBasedStateMachine):
    """Several requests at a time look up, grow chunk by chunk and token by token, and are released.

    A request may be released at any time, as by a preemption: it keeps its generated tokens and may
    come back. A finished one may come back as a new request with the same content.
    """

    looks = True
    """Whether all that is cached is looked at between the steps."""

    @initialize(
        requests=request_lists(4, 8, salts=st.sampled_from([None, None, "salt"])),
        block_size=st.integers(1, 4),
        spare=st.sampled_from([0, 3, 10, 30]),
        caching=st.sampled_from([True, True, True, False]),
        cache_reply=st.sampled_from([True, True, False]),
        in_chains=st.booleans(),
        listens=st.sampled_from([True, True, True, False]),
    )
    def begin(
        self,
        requests: list[NaiveRequest],
        block_size: int,
        spare: int,
        caching: bool,
        cache_reply: bool,
        in_chains: bool,
        listens: bool,
    ) -> None:
        """Content and memory; all of it is known in advance."""
        trace = trace_of(requests)
        blocks = blocks_of(requests, block_size) + spare
        self.size = block_size
        self.listens = listens and self.looks
        self.evicted: list[tuple[int, int, int]] = []
        tree: Tree = trace.chains if in_chains else trace.content
        self.cache = BlockCache(
            tree,
            block_size,
            blocks,
            caching=caching,
            cache_reply=cache_reply,
            evicted=(lambda owner, first, last: self.evicted.append((owner, first, last)))
            if self.listens
            else None,
        )
        self.pool = NaiveBlockPool(blocks, block_size, caching, cache_reply)
        self.names = [request.id for request in requests]
        self.routes = [tree.route(reply) for reply in trace.reply]
        self.idle = requests
        self.live: dict[NaiveRequest, BlockTable] = {}

    @precondition(lambda self: self.idle)
    @rule(pick=PICK, chunk=CHUNK)
    def admit(self, pick: int, chunk: int) -> None:
        """A lookup; then, if the chunk fits, the hit blocks are taken and the chunk is allocated."""
        request = self.idle[pick % len(self.idle)]
        number = self.names.index(request.id)
        table = BlockTable(self.routes[number], len(request.prompt), number)
        hits = self.pool.lookup_request(request)
        hit = self.cache.lookup(table, request.num_tokens)
        assert hit.blocks == len(hits)
        assert hit.idle == sum(self.pool.refs[block] == 0 for block in hits)
        cached = hit.blocks * self.size
        tokens = min(chunk, request.num_tokens - cached)
        new_blocks = self._blocks(cached + tokens) - hit.blocks
        fits = self.pool.allocate(request, tokens, hits)
        assert fits == (new_blocks + hit.idle <= self.cache.free_blocks)
        if fits:
            self.idle.remove(request)
            self.live[request] = table
            self.cache.acquire(table, hit)
            self._allocated(request, tokens, new_blocks)

    @precondition(lambda self: self.live)
    @rule(pick=PICK, chunk=CHUNK)
    def grow(self, pick: int, chunk: int) -> None:
        """The next chunk of a prompt or, in decode, one token more; without room it is preempted."""
        request = list(self.live)[pick % len(self.live)]
        if request.computed == request.num_tokens:
            request.generated += 1
        if request.finished:
            self._release(request)
            request.generated = 0
            return
        tokens = min(chunk, request.num_tokens - request.computed)
        new_blocks = self._blocks(request.computed + tokens) - self._blocks(request.computed)
        fits = self.pool.allocate(request, tokens)
        assert fits == (new_blocks <= self.cache.free_blocks)
        if fits:
            self._allocated(request, tokens, new_blocks)
        else:
            self._release(request)

    @precondition(lambda self: len(self.live) > 2)
    @rule(pick=PICK)
    def preempt(self, pick: int) -> None:
        """A request gives everything back before it is done."""
        self._release(list(self.live)[pick % len(self.live)])

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.size)

    def _allocated(self, request: NaiveRequest, tokens: int, new_blocks: int) -> None:
        self.cache.take(new_blocks)
        request.computed += tokens
        self.cache.publish(self.live[request], request.computed)

    def _release(self, request: NaiveRequest) -> None:
        self.cache.release(self.live.pop(request), self._blocks(request.computed))
        self.pool.release(request)
        self.idle.append(request)

    def _evictions(self) -> list[tuple[str, int]]:
        return [(self.names[owner], index) for owner, index in single_blocks(self.evicted)]

    @invariant()
    def agree(self) -> None:
        """Free blocks, cached blocks, and all evictions so far by owner, index and order."""
        self.pool.check(self.live)
        assert self.cache.free_blocks == len(self.pool.free)
        if self.looks:
            self._look()
        assert self.cache.evicted_blocks == len(self.pool.evictions)
        assert not self.listens or self._evictions() == self.pool.evictions

    def _look(self) -> None:
        self.cache.check()
        assert self.cache.cached_blocks == len(self.pool.owner)

    def teardown(self) -> None:
        """Taking all memory at the end shows the order of the whole free queue."""
        self._look()
        for request in reversed(list(self.live)):
            self._release(request)
        tokens = self.pool.num_blocks * self.size
        assert self.pool.allocate(NaiveRequest("everything", [-1] * tokens, [-1]), tokens)
        self.cache.take(self.cache.free_blocks)
        assert not self.listens or self._evictions() == self.pool.evictions


class Unwatched(LockStep):
    """Nobody hears of evictions or asks for what is cached between the steps, so they come late."""

    looks = False


def test_lock_step() -> None:
    """80 histories, the same every time."""
    run_state_machine_as_test(LockStep, settings=settings(QUICK, max_examples=80, stateful_step_count=80))


def test_evictions_come_late() -> None:
    """300 histories, the same every time."""
    run_state_machine_as_test(Unwatched, settings=settings(QUICK, max_examples=300, stateful_step_count=80))


@pytest.mark.slow
def test_lock_step_thoroughly() -> None:
    """3,000 histories, new ones every time."""
    run_state_machine_as_test(LockStep, settings=settings(THOROUGH, stateful_step_count=80))
    run_state_machine_as_test(Unwatched, settings=settings(THOROUGH, stateful_step_count=80))
