"""The radix cache and its naive model in lock-step: random requests, tiny pools, every policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sim.caches.radix import RadixCache, RadixTable
from sim.caches.radix_eviction import POLICIES
from sim.caches.radix_replay import RadixConfig
from sim.caches.replay import BlockConfig
from tests.caches.cases import QUICK, THOROUGH, blocks_of, request_lists, trace_of
from tests.oracles.naive_radix import NaiveNode, NaiveRadix
from tests.oracles.naive_vllm import NaiveRequest

SALTS = st.sampled_from([None, None, "salt"])
TREES = st.sampled_from(["unified", "unified", "classic"])
PRIORITIES = st.lists(st.integers(0, 2), min_size=14, max_size=14)
HISTORY = {
    "requests": request_lists(most=14, salts=SALTS),
    "priorities": PRIORITIES,
    "page": st.integers(1, 4),
    "spare": st.integers(0, 24),
    "tree": TREES,
}


def _one_after_another(
    eviction: str, requests: list[NaiveRequest], priorities: list[int], page: int, spare: int, tree: Any
) -> None:
    """Serve all requests by both, in a pool that exceeds the largest request by ``spare`` tokens."""
    for request, priority in zip(requests, priorities, strict=False):
        request.priority = priority
    trace = trace_of(requests)
    tokens = blocks_of(requests, page) * page + spare
    evicted: list[tuple[str, int, int]] = []
    config = RadixConfig(kind="radix", page_size=page, capacity_tokens=tokens, eviction=eviction, tree=tree)
    replay = config.replay(
        trace, "cache", evicted=lambda owner, start, to: evicted.append((requests[owner].id, start, to))
    )
    model = NaiveRadix(tokens, page, eviction, tree)
    for number, request in enumerate(requests):
        evicted.clear()
        before = replay.evicted_tokens
        served = replay.serve(number, 0.0)
        got = {
            "hit": served.hit_tokens,
            "held_tokens": replay.held_tokens,
            "evict_tokens": replay.evicted_tokens - before,
            "evicted": evicted,
            "free": replay.cache.free_pages * page,
            "evictable": replay.cache.tree.evictable_pages * page,
            "protected": replay.cache.tree.protected_pages * page,
        }
        expected = model.serve(request)
        assert expected | got == expected
        replay.check()
        model.check()


@pytest.mark.parametrize("eviction", POLICIES)
@settings(QUICK, max_examples=100)
@given(**HISTORY)
def test_one_after_another(eviction: str, **history: Any) -> None:
    """Every hit, every evicted leaf by owner and order, and what is free and evictable afterwards."""
    _one_after_another(eviction, **history)


@pytest.mark.slow
@THOROUGH
@given(eviction=st.sampled_from(sorted(POLICIES)), **HISTORY)
def test_one_after_another_thoroughly(eviction: str, **history: Any) -> None:
    """The same, new examples every time."""
    _one_after_another(eviction, **history)


@QUICK
@given(request_lists(most=10), st.integers(1, 4))
def test_endless_memory_is_that_of_a_block_cache(requests: list[NaiveRequest], size: int) -> None:
    """Without evictions, whole pages found in a tree are the whole blocks found in a map."""
    trace = trace_of(requests)
    blocks = BlockConfig(kind="block", block_size=size).replay(trace, "cache")
    radix = RadixConfig(kind="radix", page_size=size).replay(trace, "cache")
    for request in range(len(trace)):
        assert radix.serve(request, 0.0) == blocks.serve(request, 0.0)


class Running:
    """A request in both models: what it holds, and how many of its tokens have KV."""

    def __init__(self, request: NaiveRequest, table: RadixTable, node: NaiveNode, row: list[int]) -> None:
        self.request = request
        self.table = table
        self.node = node
        self.row = row  # slots by position in the naive model
        self.owned = len(row)
        self.counted = 0
        self.whole = [*request.prompt, *request.output[:-1]]


class LockStep(RuleBasedStateMachine):
    """Several requests at a time, as an engine batches them: chunks, decode steps, preemptions.

    A request may be released at any time without publishing what it has; it then comes back as new.
    """

    @initialize(
        requests=request_lists(salts=SALTS),
        priorities=PRIORITIES,
        page=st.integers(1, 3),
        pages=st.integers(1, 14),
        eviction=st.sampled_from(sorted(POLICIES)),
        tree=TREES,
        in_chains=st.booleans(),
    )
    def begin(
        self,
        requests: list[NaiveRequest],
        priorities: list[int],
        page: int,
        pages: int,
        eviction: str,
        tree: Any,
        in_chains: bool,
    ) -> None:
        """Content and memory; all of it is known in advance."""
        trace = trace_of(requests)
        names = [request.id for request in requests]
        self.page = page
        self.evicted: list[tuple[str, int, int]] = []
        self.cache = RadixCache(
            trace.chains if in_chains else trace.content,
            page,
            pages * page,
            eviction=eviction,
            tree=tree,
            evicted=lambda owner, start, to: self.evicted.append((names[owner], start, to)),
        )
        self.model = NaiveRadix(pages * page, page, eviction, tree)
        self.tables: dict[NaiveRequest, RadixTable] = {}
        for number, request in enumerate(requests):
            request.priority = priorities[number]
            self.tables[request] = self.cache.table(
                trace.reply[number], len(request.prompt), number, request.priority
            )
        self.idle = requests
        self.live: list[Running] = []

    @precondition(lambda self: self.idle)
    @rule(pick=st.integers(0, 5))
    def look_up(self, pick: int) -> None:
        """A lookup that locks nothing, as for a request that has to wait."""
        request = self.idle[pick % len(self.idle)]
        self._match(request)

    @precondition(lambda self: self.idle)
    @rule(pick=st.integers(0, 5))
    def admit(self, pick: int) -> None:
        """A lookup, and the prefix found is locked."""
        request = self.idle.pop(pick % len(self.idle))
        table = self.tables[request]
        found, node = self._match(request)
        self.cache.lock(table, found)
        self.model.lock(node, 1)
        self.live.append(Running(request, table, node, self.model.path_slots(node)))

    @precondition(lambda self: self.live)
    @rule(pick=st.integers(0, 5), chunk=st.integers(1, 12), slack=st.integers(0, 1), publish=st.booleans())
    def compute(self, pick: int, chunk: int, slack: int, publish: bool) -> None:
        """The next tokens of a prompt or a reply, if there is room; published at once, or not yet.

        Room is made for up to a page more than is needed.
        """
        running = self.live[pick % len(self.live)]
        known, table = len(running.row), running.table
        inside = known < len(running.request.prompt)
        until = min(known + chunk, len(running.request.prompt) if inside else len(running.whole))
        pages = -(-until // self.page) - table.held
        self.cache.make_room(pages + slack)
        self.model.make_room((pages + slack) * self.page)
        assert self.cache.free_pages == len(self.model.pages)
        if pages > self.cache.free_pages:
            return
        self.cache.take(table, pages)
        for _ in range(until - known):
            self.model.allocate(running.row, running.request.id)
        if publish:
            self._publish(running)

    @precondition(lambda self: self.live)
    @rule(pick=st.integers(0, 5), publish=st.booleans())
    def release(self, pick: int, publish: bool) -> None:
        """A request ends, or is preempted and publishes nothing."""
        running = self.live[pick % len(self.live)]
        if publish:
            self._publish(running)
        self._release(running)

    def _match(self, request: NaiveRequest) -> tuple[Any, NaiveNode]:
        node = self.model.match(self.model.floor(request.prompt[:-1]), request.salt)
        found = self.cache.match(self.tables[request], len(request.prompt))
        assert found.hi * self.page == len(self.model.path_slots(node))
        return found, node

    def _publish(self, running: Running) -> None:
        tokens = running.whole[: len(running.row)]
        self.cache.publish(running.table, len(tokens))
        running.node, running.owned = self.model.publish(
            running.request, tokens, running.row, running.node, running.owned, running.counted
        )
        running.counted = max(running.counted, running.owned)

    def _release(self, running: Running) -> None:
        self.cache.release(running.table)
        self.model.free(running.row[running.owned :])
        self.model.lock(running.node, -1)
        self.live.remove(running)
        self.idle.append(running.request)

    @invariant()
    def agree(self) -> None:
        """What is free, evictable, protected and private, and all evictions so far in their order."""
        self.cache.check()
        tree, page = self.cache.tree, self.page
        assert self.cache.free_pages == len(self.model.pages)
        assert tree.evictable_pages * page == self.model.num_in_tree(locked=False)
        assert tree.protected_pages * page == self.model.num_in_tree(locked=True)
        for running in self.live:
            assert running.table.owned * page == running.owned
            assert running.table.held == -(-len(running.row) // page)
        assert self.evicted == self.model.evictions

    def teardown(self) -> None:
        """Emptying the pool at the end shows the order of all that is left."""
        for running in list(self.live):
            self._release(running)
        self.model.check()
        self.cache.make_room(self.cache.capacity_pages)
        self.model.make_room(self.model.num_slots)
        assert self.cache.free_pages == self.cache.capacity_pages
        self.agree()


def test_lock_step() -> None:
    """Some hundred histories, the same every time."""
    run_state_machine_as_test(LockStep, settings=settings(QUICK, max_examples=120, stateful_step_count=40))


@pytest.mark.slow
def test_lock_step_thoroughly() -> None:
    """Thousands of longer ones."""
    run_state_machine_as_test(LockStep, settings=settings(THOROUGH, stateful_step_count=80))
