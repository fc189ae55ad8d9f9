"""vLLM's scheduler with every option, step by step.

Schedules as vLLM 0.33.0 does (``v1/core/sched/scheduler.py``, ``async_scheduler.py``,
``request_queue.py``). Each step loops over the running requests; `RunScheduler` takes the default options
at a cost per change of the batch.

Asynchronous scheduling decides a step while the one before it computes, without its results: a sampled
token that is not there yet counts as schedulable, and blocks are published and given back a step late.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable

from sim.caches.block import BlockTable
from sim.caches.groups.cache import EngineMemory, GroupedCache
from sim.caches.tables import Hit
from sim.engine.loads import Loads
from sim.engine.request import DECODE, LAST, LOADING, PREFILL, WAITING, Request
from sim.engine.vllm.batch import Batch
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.progress import Progress
from workloads.content import Route

Rank = tuple[int, float, str]
"""Place in a priority queue: (priority, arrival in s, id as text)."""


class StepScheduler:
    """A loop over all running requests for each step. ``computed`` counts every token scheduled so far, in
    flight or not; ``generated`` the results."""

    def __init__(
        self,
        memory: EngineMemory,
        options: SchedulerOptions,
        loads: Loads | None,
        rank: Callable[[Request], Rank],
    ) -> None:
        self.memory = memory
        self.waiting: deque[Request] = deque()
        self.running: dict[Request, None] = {}  # in order of admission
        self._groups = memory if isinstance(memory, GroupedCache) else None
        self._cuts = self._groups is not None and self._groups.has_states
        self._in_flight = options.in_flight_tokens
        threshold = options.long_prefill_token_threshold
        self._most_at_once = min(
            threshold or options.max_num_batched_tokens, options.max_num_batched_tokens
        )
        self._options = options
        self._loads = loads
        self._rank = rank
        self._by_priority = options.policy == "priority"
        self._watermark = options.watermark_blocks(memory.capacity_blocks)
        self._progress = Progress()
        self._now = 0.0
        self._longest = 0  # tokens in KV of the longest decode in the step that is being decided

    @property
    def waiting_tokens(self) -> int:
        """Known tokens of the waiting requests. O(waiting)."""
        return sum(request.known_tokens for request in self.waiting)

    # -- the queue ---------------------------------------------------------------------------------

    def enqueue(self, request: Request) -> bool:
        """Queue ``request``; there is no run of steps to end for it."""
        self._queue(request)
        return False

    def loaded(self, request: Request) -> bool:
        """The KV that ``request`` waited for is there."""
        assert self._loads is not None
        self.memory.publish(request.table, request.computed)
        self._loads.arrived(request)
        return False

    def withdraw(self, request: Request) -> None:
        """Take ``request``, which waits, out of the queue."""
        self.waiting.remove(request)

    def _queue(self, request: Request, *, first: bool = False) -> None:
        """fcfs: at the end or, ``first``, at the head; priority: by rank, O(waiting)."""
        if self._by_priority:
            insort(self.waiting, request, key=self._rank)
        elif first:
            self.waiting.appendleft(request)
        else:
            self.waiting.append(request)

    # -- one step ----------------------------------------------------------------------------------

    def plan(self, now: float, in_flight: Batch | None) -> Batch | None:
        """Schedule one step as things stand; ``in_flight`` is the step that computes, if one does.

        None if there is no request. A step that schedules nothing takes no time.
        """
        loading = 0 if self._loads is None else len(self._loads.loading)
        present = len(self.running) + len(self.waiting) + loading
        if not present:
            return None
        self._now = now
        self.memory.now_s = now
        if self._groups is not None:
            self._groups.new_step()
        # The threshold keeps a long prompt from starving others; alone it starves nothing.
        threshold = self._options.long_prefill_token_threshold if present > 1 else 0
        limit = threshold or self._options.max_num_batched_tokens
        batch = Batch()
        batch.admitted, batch.chunks, batch.loads = [], [], []
        batch.completed, batch.finishing = [], []
        scheduled: dict[Request, int] = {}
        batch.scheduled = scheduled
        budget = self._schedule_running(batch, scheduled, in_flight, limit)
        if not batch.preempted:
            self._schedule_waiting(batch, scheduled, limit, budget)
        self._longest = 0
        for request, tokens in scheduled.items():
            self._advance(batch, request, tokens)
        batch.uneven = batch.decodes * self._longest - batch.context
        self._progress.made_by(batch, self.running, self.waiting, self.memory.capacity_blocks)
        return batch

    def _schedule_running(
        self, batch: Batch, scheduled: dict[Request, int], in_flight: Batch | None, limit: int
    ) -> int:
        """Give the running requests their tokens in order, preempting while blocks are short.

        Returns the budget left. A victim that had tokens in this step gives them back.
        """
        budget = self._options.max_num_batched_tokens
        for request in list(self.running):
            if not budget:
                break
            if request.phase in (WAITING, LAST):
                continue  # preempted by one before it; asynchronous: its last token is in flight
            tokens = 1
            if request.phase == PREFILL:
                tokens = min(request.known_tokens - request.computed, limit, budget)
                if self._cuts:
                    tokens = self._cut(request, None, tokens)
                    if not tokens:
                        continue
            while not self._extend(request, tokens, in_flight):
                victim = self._victim()
                budget += self._preempt(victim, batch, scheduled)
                if victim is request:
                    break
            else:
                scheduled[request] = tokens
                budget -= tokens
        return budget

    def _extend(self, request: Request, tokens: int, in_flight: Batch | None) -> bool:
        """Allocate blocks for ``tokens`` more tokens and publish those they fill; False: no room."""
        memory, table = self.memory, request.table
        size, upto = memory.block_size, request.computed + tokens
        if self._groups is not None:
            settled = request.computed - _tokens_in(in_flight, request)
            if not self._groups.extend(table, request.computed, upto, settled):
                return False
        elif needed := -(-upto // size) - -(-request.computed // size):
            if needed > memory.free_blocks:
                return False
            memory.take(needed)
        # Asynchronous: blocks with tokens in flight have no content yet.
        written = min(upto, request.known_tokens)
        if written // size > table.published or self._groups is not None:
            memory.publish(table, written)
        return True

    def _cut(self, request: Request, hit: Hit | None, tokens: int) -> int:
        """Of ``tokens`` prompt tokens those that end where a state can be kept; 0: not in this step.

        With ``hit`` the request is about to be admitted.
        """
        groups, start = self._groups, request.computed
        assert groups is not None
        if hit is not None:
            start = hit.blocks * groups.block_size
            groups.held(request.table).junction = hit.junction
        return groups.cut(request.table, start, tokens, request.known_tokens, self._most_at_once)

    def _victim(self) -> Request:
        """fcfs: the last one running; priority: the largest (priority, arrival), of equals the first."""
        if not self._by_priority:
            return next(reversed(self.running))
        return max(self.running, key=lambda request: self._rank(request)[:2])

    def _preempt(self, victim: Request, batch: Batch, scheduled: dict[Request, int]) -> int:
        """Release everything of ``victim`` and queue it; the tokens it had in this step.

        What those would have filled stays published. Generated tokens are kept.
        """
        tokens = scheduled.pop(victim, 0)
        self.memory.release(victim.table, -(-(victim.computed + tokens) // self.memory.block_size))
        del self.running[victim]
        batch.recomputed += victim.computed
        victim.preemptions += 1
        victim.computed = 0
        victim.phase = WAITING
        batch.preempted = [*batch.preempted, victim]
        self._queue(victim, first=True)
        return tokens

    def _schedule_waiting(
        self, batch: Batch, scheduled: dict[Request, int], limit: int, budget: int
    ) -> None:
        """Admit what was loaded, then the queue in order, while budget, slots and memory last.

        A request that does not fit blocks the queue. One whose KV can be loaded leaves it for its load.
        """
        memory, size, loads, options = self.memory, self.memory.block_size, self._loads, self._options
        whole, cuts = options.scheduler_reserve_full_isl, self._cuts
        running, waiting = self.running, self.waiting
        while budget and len(running) < options.max_num_seqs:
            if loads is not None and loads.ready:
                request = loads.admit()
                known, cached = request.known_tokens, request.computed
                held = -(-cached // size)
                memory.give_back(-(-known // size) - held)
            elif waiting:
                request = waiting[0]
                known = request.known_tokens
                hit = memory.lookup(request.table, known)
                spare = self._watermark if running else 0
                tokens = min(known - hit.blocks * size, limit, budget)
                if cuts:
                    tokens = self._cut(request, hit, tokens)
                    if not tokens:
                        return
                upto = hit.blocks * size + tokens
                if not memory.fits(request.table, hit, whole and known, upto, self._in_flight, spare):
                    return
                found = None if loads is None else loads.source.find(request, hit.blocks)
                loading = found is not None and found.tokens > 0
                if loading and -(-known // size) - hit.blocks + hit.idle + spare > memory.free_blocks:
                    return  # a load needs room for all of it
                waiting.popleft()
                cached = memory.acquire(request.table, hit)
                held = hit.blocks
                if loading:
                    assert loads is not None and found is not None
                    memory.take(-(-known // size) - held)
                    loads.begin(request, cached + found.tokens)
                    batch.loads.append((request, found))
                    continue
            else:
                return
            if not cuts:
                tokens = min(known - cached, limit, budget)
            memory.grow(request.table, held * size, cached + tokens)
            memory.publish(request.table, cached + tokens)
            request.computed = cached
            request.phase = PREFILL
            running[request] = None
            batch.admitted.append((request, known, cached))
            scheduled[request] = tokens
            budget -= tokens

    def _advance(self, batch: Batch, request: Request, tokens: int) -> None:
        """Count the tokens of ``request`` in this step as computed, and what it gets for them."""
        before = request.computed
        request.computed = before + tokens
        batch.tokens += tokens
        if request.phase == DECODE:
            batch.decodes += 1
            batch.context += before
            self._longest = max(self._longest, before)
        else:
            batch.chunks.append((request, before, tokens))
            if request.computed < request.known_tokens:
                return
            request.phase = DECODE
            batch.completed.append(request)
        if request.computed == request.final_tokens:
            request.phase = LAST
            batch.finishing.append(request)

    # -- requests that leave -----------------------------------------------------------------------

    def finish(self, request: Request) -> None:
        """``request`` has its last token; it may be back in the queue, preempted while that came."""
        if request.phase == WAITING:
            self.waiting.remove(request)
            return
        self.memory.publish(request.table, request.computed)  # asynchronous: what was in flight
        self.memory.release(request.table, -(-request.computed // self.memory.block_size))
        del self.running[request]
        if self._loads is not None:
            self._loads.source.left(request)

    def drop(self, request: Request, in_flight: Batch | None) -> None:
        """Take a running or loading request out and give back what it holds; full blocks stay cached."""
        size = self.memory.block_size
        if request.phase != LOADING:
            self.memory.release(request.table, -(-request.computed // size))
            del self.running[request]
            return
        assert self._loads is not None
        self._loads.drop(request)
        self.memory.release(request.table, -(-request.known_tokens // size))
        request.computed = 0  # nothing was computed for it yet

    # -- what others see ---------------------------------------------------------------------------

    def present(self) -> list[Request]:
        """The requests that run, in order, then those that load."""
        return [*self.running, *(self._loads.loading if self._loads is not None else ())]

    def cached_tokens(self, route: Route, tokens: int) -> int:
        """Tokens of a prompt that a lookup would find now."""
        return self.memory.lookup(BlockTable(route, tokens, -1), tokens).blocks * self.memory.block_size

    def check(self) -> None:
        """Assert the invariants of queue, batch and memory. O(running + waiting + cache)."""
        memory, size = self.memory, self.memory.block_size
        memory.check()
        private = 0
        for request in self.running:
            assert request.phase != WAITING and request.generated < request.output_tokens
            assert 0 < request.computed <= request.final_tokens
            in_flight = request.computed - request.known_tokens + 1
            assert in_flight in (0, 1, 2) if request.phase in (DECODE, LAST) else in_flight <= 0
            private += memory.private_blocks(request.table, -(-request.computed // size))
        if self._loads is not None:
            self._loads.check()
            published = sum(request.table.published for request in self._loads.loading)
            private += self._loads.held_blocks(size) - published
        assert private + memory.cached_blocks + memory.empty_blocks == memory.capacity_blocks
        assert len(self.running) <= self._options.max_num_seqs
        assert all(request.phase == WAITING and not request.computed for request in self.waiting)
        ranks = [self._rank(request) for request in self.waiting] if self._by_priority else []
        assert ranks == sorted(ranks)


def _tokens_in(batch: Batch | None, request: Request) -> int:
    """Tokens of ``request`` in a step whose results are not there yet."""
    if batch is None or batch.scheduled is None:
        return 0
    return batch.scheduled.get(request, 0)
