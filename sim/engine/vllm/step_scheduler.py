"""vLLM's scheduler with every option, step by step.

Schedules as vLLM 0.33.0 does (``v1/core/sched/scheduler.py``, ``async_scheduler.py``,
``request_queue.py``). Each step loops over the running requests; `RunScheduler` takes the default options
at a cost per change of the batch.

Asynchronous scheduling decides a step while the one before it computes, without its results: a sampled
token that is not there yet counts as schedulable, and blocks are published and given back a step late.

With speculative decoding a decode computes its drafts too (`Drafts`).
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
from sim.engine.vllm.batch import Batch, Shares
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.drafts import Drafts
from sim.engine.vllm.progress import Progress
from workloads.content import Route

Rank = tuple[int, float, str]
"""Place in a priority queue: (priority, arrival in s, id as text)."""


class StepScheduler:
    """A loop over all running requests for each step. ``computed`` counts every token scheduled so far, in
    flight or not, drafts included; ``generated`` the results."""

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
        self.drafts = Drafts(options.speculation, memory)
        self._speculation = self.drafts.speculation
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
        batch.shares = shares = Shares(drafts=self.drafts.any)
        scheduled = shares.tokens
        budget = self._schedule_running(batch, scheduled, in_flight, limit)
        if not batch.preempted:
            prefills = self.drafts.any and any(request.phase == PREFILL for request in scheduled)
            self._schedule_waiting(batch, scheduled, limit, budget, prefills=prefills)
        self._longest = 0
        for request, tokens in scheduled.items():
            self._advance(batch, shares, request, tokens)
        batch.uneven = batch.decodes * self._longest - batch.context
        self._progress.made_by(batch, self.running, self.waiting, self.memory.capacity_blocks)
        return batch

    def _schedule_running(
        self, batch: Batch, scheduled: dict[Request, int], in_flight: Batch | None, limit: int
    ) -> int:
        """Give the running requests their tokens in order, preempting while blocks are short.

        Returns the budget left. A victim that had tokens in this step gives them back.
        """
        budget, draft_slots = self._options.max_num_batched_tokens, self.drafts.extra_tokens
        for request in list(self.running):
            if budget <= draft_slots:
                break
            if request.phase in (WAITING, LAST):
                continue  # preempted by one before it; asynchronous: its last token is in flight
            tokens = 1
            if self.drafts.any and request.phase == DECODE:
                tokens = self.drafts.decode_tokens(request, min(limit, budget - draft_slots))
                if not tokens:
                    continue
            if request.phase == PREFILL:
                tokens = min(request.known_tokens - request.computed, limit, budget - draft_slots)
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
                budget -= tokens + draft_slots
        return budget

    def _extend(self, request: Request, tokens: int, in_flight: Batch | None) -> bool:
        """Allocate blocks for ``tokens`` more tokens and publish those they fill; False: no room."""
        memory, table, held = self.memory, request.table, request.held_blocks
        size, upto = memory.block_size, request.computed + tokens
        slots = self._speculation.slots(upto)
        blocks = -(-slots // size)
        if self._groups is not None:
            settled = request.computed - _tokens_in(in_flight, request)
            before = held * size if self.drafts.any else request.computed
            if not self._groups.extend(table, before, max(before, slots), settled):
                return False
        elif blocks > held:
            if blocks - held > memory.free_blocks:
                return False
            memory.take(blocks - held)
        request.held_blocks = max(held, blocks)
        self.drafts.publish(request, upto)
        return True

    def _cut(self, request: Request, hit: Hit | None, tokens: int) -> int:
        """Of ``tokens`` prompt tokens those that end where a state can be kept; 0: not in this step.

        With ``hit`` the request is about to be admitted.
        """
        groups, start = self._groups, request.computed
        assert groups is not None
        if hit is not None:
            start = hit.blocks * groups.block_size
            request.table.junction = hit.junction
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
        self.memory.release(victim.table, victim.held_blocks)
        del self.running[victim]
        batch.recomputed += victim.computed
        victim.preemptions += 1
        victim.computed = victim.held_blocks = 0
        victim.phase = WAITING
        batch.preempted = [*batch.preempted, victim]
        self._queue(victim, first=True)
        return tokens + self.drafts.extra_tokens if tokens else 0

    def _schedule_waiting(
        self,
        batch: Batch,
        scheduled: dict[Request, int],
        limit: int,
        budget: int,
        *,
        prefills: bool,
    ) -> None:
        """Admit what was loaded, then the queue in order, while budget, slots and memory last.

        ``prefills``: prompts that were begun before are in this step.
        """
        loads, drafts, beside = self._loads, self.drafts, bool(scheduled)
        uniform = drafts.any and not prefills
        while budget > drafts.extra_tokens and len(self.running) < self._options.max_num_seqs:
            room = budget - drafts.extra_tokens
            if loads is not None and loads.ready:
                request = loads.ready[0]
                tokens = self._admit_loaded(batch, request, limit, room, uniform=uniform)
            elif self.waiting:
                request = self.waiting[0]
                tokens = self._admit(batch, request, limit, room, uniform=uniform, beside=beside)
                if request.phase == LOADING:
                    continue
            else:
                return
            if not tokens:
                return
            scheduled[request] = tokens
            budget -= tokens + drafts.extra_tokens

    def _admit_loaded(self, batch: Batch, request: Request, limit: int, room: int, *, uniform: bool) -> int:
        """Admit ``request``, whose KV was loaded; its tokens in this step, 0 if there is no room for it.

        ``uniform``: the step has no prompts that were begun before.
        """
        memory, cached = self.memory, request.computed
        left = request.known_tokens - cached
        tokens = min(left, limit, room)
        if uniform and left == 1:
            tokens = self.drafts.padded(cached, room)
        if tokens:
            assert self._loads is not None
            self._loads.admit()
            held = -(-cached // memory.block_size)
            memory.give_back(request.held_blocks - held)
            self._run(batch, request, cached, held, tokens)
        return tokens

    def _admit(
        self, batch: Batch, request: Request, limit: int, room: int, *, uniform: bool, beside: bool
    ) -> int:
        """Admit ``request``, the first in the queue; its tokens in this step, 0 if it does not fit.

        If KV of it can be loaded, it leaves the queue for that. ``beside``: others were in this step before
        any was admitted.
        """
        memory, size, loads = self.memory, self.memory.block_size, self._loads
        known, whole = request.known_tokens, self._options.scheduler_reserve_full_isl
        hit = memory.lookup(request.table, known)
        spare = self._watermark if self.running else 0
        cached = hit.blocks * size
        tokens = min(known - cached, limit, room)
        if self._cuts:
            tokens = self._cut(request, hit, tokens)
        elif uniform and known - cached == 1 and (beside or cached):
            tokens = self.drafts.padded(cached, room)
        if not tokens and (self._cuts or uniform):
            return 0
        upto = self._speculation.slots(cached + tokens)
        if not memory.fits(request.table, hit, whole and known, upto, self._in_flight, spare):
            return 0
        found = None if loads is None else loads.source.find(request, hit.blocks)
        loading = found is not None and found.tokens > 0
        whole_blocks = -(-self._speculation.slots(known + self.drafts.wide - 1) // size)
        if loading and whole_blocks - hit.blocks + hit.idle + spare > memory.free_blocks:
            return 0  # a load needs room for all of it
        self.waiting.popleft()
        cached = memory.acquire(request.table, hit)
        if cached > hit.blocks * size:  # a cache beside the memory found it
            tokens = min(tokens, known - cached)
        if loading:
            assert loads is not None and found is not None
            memory.take(whole_blocks - hit.blocks)
            request.held_blocks = whole_blocks
            loads.begin(request, cached + found.tokens)
            batch.loads.append((request, found))
            return 0
        tokens = tokens or known - cached  # a memory that finds all of a prompt still computes its last
        self._run(batch, request, cached, hit.blocks, tokens)
        return tokens

    def _run(self, batch: Batch, request: Request, cached: int, held: int, tokens: int) -> None:
        """``request`` has ``held`` blocks with ``cached`` tokens; it runs and gets room for ``tokens``."""
        memory, size = self.memory, self.memory.block_size
        slots = max(held * size, self._speculation.slots(cached + tokens))
        memory.grow(request.table, held * size, slots)
        request.held_blocks = -(-slots // size)
        self.drafts.publish(request, cached + tokens)
        batch.admitted.append((request, request.known_tokens, cached))
        request.computed = cached
        request.phase = PREFILL
        self.running[request] = None

    def _advance(self, batch: Batch, shares: Shares, request: Request, tokens: int) -> None:
        """Count the tokens of ``request`` in this step as computed, and what it gets for them."""
        before = request.computed
        request.computed = before + tokens
        batch.tokens += tokens
        if request.phase == DECODE:
            batch.decodes += 1
            batch.context += before
            self._longest = max(self._longest, before)
            if shares.sampled is not None:
                self.drafts.decided(shares, request, tokens - 1)
        else:
            batch.chunks.append((request, before, tokens))
            if request.computed < request.known_tokens:
                return
            request.phase = DECODE
            batch.completed.append(request)
            if shares.sampled is not None:  # beyond it there are placeholders only
                shares.sampled[request] = request.computed - request.known_tokens, 0
        if shares.sampled is None and request.computed == request.final_tokens:
            request.phase = LAST
            batch.finishing.append(request)

    # -- requests that leave -----------------------------------------------------------------------

    def finish(self, request: Request) -> None:
        """``request`` has its last token; it may be back in the queue, preempted while that came."""
        if request.phase == WAITING:
            self.waiting.remove(request)
            return
        self.memory.publish(request.table, request.computed)  # asynchronous: what was in flight
        self.memory.release(request.table, request.held_blocks)
        del self.running[request]
        if self._loads is not None:
            self._loads.source.left(request)

    def drop(self, request: Request, in_flight: Batch | None) -> None:
        """Take a running or loading request out and give back what it holds; full blocks stay cached."""
        self.memory.release(request.table, request.held_blocks)
        if request.phase != LOADING:
            del self.running[request]
            return
        assert self._loads is not None
        self._loads.drop(request)
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
            assert self.drafts.any or 0 < request.computed <= request.final_tokens
            in_flight = request.computed - request.known_tokens + 1
            assert (
                0 <= in_flight <= 2 * self.drafts.wide
                if request.phase in (DECODE, LAST)
                else in_flight <= 0
            )
            assert request.held_blocks >= -(-request.computed // size)
            private += memory.private_blocks(request.table, request.held_blocks)
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
    if batch is None or batch.shares is None:
        return 0
    return batch.shares.tokens.get(request, 0)
