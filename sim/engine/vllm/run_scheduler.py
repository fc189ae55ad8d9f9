"""vLLM's scheduler with default options, at a cost per change of the batch.

Each step schedules the running requests first, then admits waiting ones, as vLLM 0.33.0's V1 scheduler does
with policy fcfs (``v1/core/sched/scheduler.py``). Steps of decodes alone pass in runs (`Decoding`).
`StepScheduler` decides every step and knows every option; tests hold the two equal.
"""

from __future__ import annotations

from collections import deque

from sim.caches.block import BlockTable
from sim.caches.groups.cache import EngineMemory, GroupedCache
from sim.engine.loads import Loads
from sim.engine.request import DECODE, LAST, LOADING, PREFILL, WAITING, Request
from sim.engine.vllm.batch import Batch
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.decoding import Decoding
from workloads.content import Route


class RunScheduler:
    """A queue of waiting requests, a running batch, and the KV memory they compete for."""

    __slots__ = (
        "_admissions", "_asynchronous", "_groups", "_in_flight", "_loads", "_max_seqs",
        "_max_tokens", "_now", "_partial", "_ready", "decodes", "decoding", "memory", "running", "waiting",
        "waiting_tokens",
    )  # fmt: skip

    def __init__(
        self, memory: EngineMemory, options: SchedulerOptions, loads: Loads | None, *, knows_longest: bool
    ) -> None:
        """``knows_longest``: batches say by how much their decodes fall short of the longest."""
        self.memory = memory
        self._groups = memory if isinstance(memory, GroupedCache) else None
        self._in_flight = options.in_flight_tokens
        self.waiting: deque[Request] = deque()
        self.waiting_tokens = 0
        self.running: dict[Request, None] = {}  # in order of admission
        self._loads = loads
        self._ready: deque[Request] = deque() if loads is None else loads.ready  # admitted before others
        self._max_tokens = options.max_num_batched_tokens
        self._max_seqs = options.max_num_seqs
        self._asynchronous = options.async_scheduling
        self.decoding = Decoding(memory, asynchronous=self._asynchronous, knows_longest=knows_longest)
        self.decodes = self.decoding.decodes
        self._partial: Request | None = None  # prompt begun, not complete: last of the running
        self._admissions = 0
        self._now = 0.0

    # -- the queue ---------------------------------------------------------------------------------

    def enqueue(self, request: Request) -> bool:
        """Queue ``request``; whether a run of steps has to end so that it can be admitted."""
        self.waiting.append(request)
        self.waiting_tokens += request.prompt_tokens + request.generated
        return len(self.waiting) == 1 and len(self.running) < self._max_seqs

    def loaded(self, request: Request) -> bool:
        """The KV that ``request`` waited for is there; whether a run of steps has to end for it."""
        assert self._loads is not None
        self.memory.publish(request.table, request.computed)
        self._loads.arrived(request)
        return len(self.running) < self._max_seqs

    def withdraw(self, request: Request) -> None:
        """Take ``request``, which waits, out of the queue."""
        self.waiting.remove(request)
        self.waiting_tokens -= request.known_tokens

    # -- one step ----------------------------------------------------------------------------------

    def plan(self, now: float, in_flight: Batch | None) -> Batch | None:
        """Schedule one step as things stand; ``in_flight`` is the step that computes, if one does.

        None if there is nothing to do. A step that only preempted is to be followed by another one.
        """
        decoding, decodes = self.decoding, self.decodes
        self._now = now
        others = bool(self.waiting or self._ready) or self._partial is not None
        batch = Batch(decodes.count, decodes.context, decodes.uneven)
        if batch.decodes:
            if not decoding.next_step_fits(others):
                self._preempt_for_decodes(batch, in_flight)
                others = True
            batch.finishing = decoding.advance(1)
        if decoding.contested:
            decoding.publish_contested()
        if others:
            self._schedule_prompts(batch, in_flight)
        if batch.tokens or batch.preempted or batch.loads:
            return batch
        assert not self.waiting or self._asynchronous or self._loads, "a request waits for nothing"
        return None

    def _schedule_prompts(self, batch: Batch, in_flight: Batch | None) -> None:
        """The begun prompt goes on, then others are admitted, unless a request was preempted."""
        batch.admitted, batch.chunks, batch.completed = [], [], []
        budget = self._max_tokens - batch.decodes
        if self._partial is not None and budget > 0:
            budget -= self._continue_prefill(self._partial, budget, batch, in_flight)
        if not batch.preempted and (self.waiting or self._loads is not None):
            self._admit(budget, batch)

    def _preempt_for_decodes(self, batch: Batch, in_flight: Batch | None) -> None:
        """Give every decode its next token's block, preempting requests until there is one."""
        decodes, memory = self.decoding.decodes, self.memory
        width, due = self.decoding.width, self.decoding.due()
        for request in list(self.running):
            if request.phase != DECODE:
                continue
            if request in due:
                assert self._groups is not None
                self._groups.slide(request.table, due[request])
            if not decodes.needs_block(request):
                continue
            while memory.free_blocks < width:
                victim = next(reversed(self.running))
                self._preempt(victim, batch, in_flight)
                if victim is request:
                    break
            else:
                memory.take(width)
        self.decoding.taken_singly()
        batch.decodes = batch.tokens = decodes.count
        batch.context, batch.uneven = decodes.context, decodes.uneven

    def repeats(self, computing: Batch, ahead: Batch | None) -> int:
        """How many steps of decodes alone may follow ``computing`` before anything has to be decided.

        None if the head of the queue waits for blocks, and decodes give some back (groups of layers).
        """
        last = ahead if self._asynchronous else computing
        if last is None or not last.tokens or last.preempted or computing.finishing:
            return 0
        head = self.waiting[0] if self.waiting else None
        others = head is not None or self._partial is not None or bool(self._ready)
        if others and last.chunks:
            return 0
        if self._groups is not None and head is not None and len(self.running) < self._max_seqs:
            return 0
        return self.decoding.repeats(last, head, others)

    # -- prompts -----------------------------------------------------------------------------------

    def _continue_prefill(
        self, request: Request, budget: int, batch: Batch, in_flight: Batch | None
    ) -> int:
        """The next chunk of a begun prompt; 0 if its blocks are not to be had (it is preempted)."""
        chunk = request.prompt_tokens + request.generated - request.computed
        if chunk > budget:
            chunk = budget
        if not self._extend(request, chunk, in_flight):
            self._preempt(request, batch, in_flight)
            return 0
        self.decoding.publish(request.table.route)  # decodes come before this chunk
        self._compute(request, chunk, batch)
        return chunk

    def _extend(self, request: Request, chunk: int, in_flight: Batch | None) -> bool:
        """Allocate blocks for ``chunk`` more tokens of a begun prompt; False: no room."""
        computed, upto, size = request.computed, request.computed + chunk, self.memory.block_size
        if self._groups is not None:
            settled = computed  # what is in flight still looks back
            for other, before, _ in () if in_flight is None else in_flight.chunks:
                settled = min(settled, before) if other is request else settled
            return self._groups.extend(request.table, computed, upto, settled)
        needed = -(-upto // size) - -(-computed // size)
        if needed > self.memory.free_blocks:
            return False
        self.memory.take(needed)
        return True

    def _admit(self, budget: int, batch: Batch) -> None:
        """Admit what was loaded, then waiting requests in order, while budget, slots and memory last.

        The head must fit with its whole known sequence (``scheduler_reserve_full_isl``); if it does
        not, no request behind it is tried. One whose KV can be loaded leaves the queue for its load.
        """
        memory, size, loads, groups = self.memory, self.memory.block_size, self._loads, self._groups
        while budget > 0 and len(self.running) < self._max_seqs:
            if loads is not None and loads.ready:
                request = loads.admit()
                known, cached = request.known_tokens, request.computed
                held = -(-cached // size)
                memory.give_back(-(-known // size) - held)
            elif self.waiting:
                request = self.waiting[0]
                self.decoding.publish(request.table.route)
                known = request.prompt_tokens + request.generated
                hit = memory.lookup(request.table, known)
                total = -(-known // size)
                if groups is not None:
                    upto = min(known, hit.blocks * size + budget)
                    if not groups.fits(request.table, hit, known, upto, self._in_flight, 0):
                        return
                elif total - hit.blocks + hit.idle > memory.free_blocks:
                    return
                found = None if loads is None else loads.source.find(request, hit.blocks)
                self.waiting.popleft()
                self.waiting_tokens -= known
                cached = memory.acquire(request.table, hit)
                held = hit.blocks
                if found is not None and found.tokens:
                    assert loads is not None
                    memory.take(total - held)
                    loads.begin(request, cached + found.tokens)
                    batch.loads = [*batch.loads, (request, found)]
                    continue
            else:
                return
            chunk = known - cached
            if chunk > budget:
                chunk = budget
            if groups is not None:
                groups.grow(request.table, held * size, cached + chunk)
            else:
                memory.take(-(-(cached + chunk) // size) - held)
            self._admissions += 1
            request.order = self._admissions
            request.phase = PREFILL
            request.computed = cached
            self.running[request] = None
            batch.admitted.append((request, known, cached))
            self._compute(request, chunk, batch)
            budget -= chunk

    def _compute(self, request: Request, chunk: int, batch: Batch) -> None:
        """Put ``chunk`` prompt tokens into this step; their full blocks can be hit at once.

        If the prompt is complete with them, the request goes on token by token from the next step on.
        """
        before = request.computed
        request.computed = upto = before + chunk
        self.memory.publish(request.table, upto)
        batch.chunks.append((request, before, chunk))
        batch.tokens += chunk
        if upto < request.prompt_tokens + request.generated:
            self._partial = request
            return
        self._partial = None
        request.generated += 1
        batch.completed.append(request)
        if request.generated < request.output_tokens:
            self.decoding.enter(request, before)
        else:
            request.phase = LAST
            batch.finishing = [*batch.finishing, request]

    # -- requests that leave -----------------------------------------------------------------------

    def _preempt(self, request: Request, batch: Batch, in_flight: Batch | None) -> None:
        """Release everything and go back to the head of the queue; generated tokens are kept."""
        if request.phase == DECODE:
            if in_flight is None:
                request.last_token_s = self._now
            elif request not in in_flight.completed:
                in_flight.left = [*in_flight.left, request]
        self._remove(request)
        batch.recomputed += request.computed
        request.preemptions += 1
        request.computed = 0
        request.phase = WAITING
        batch.preempted = [*batch.preempted, request]
        self.waiting.appendleft(request)
        self.waiting_tokens += request.known_tokens

    def finish(self, request: Request) -> None:
        """``request`` has its last token, and the decodes their blocks; it may be back in the queue,
        preempted while that came."""
        if request.phase == WAITING:
            self.waiting.remove(request)
            self.waiting_tokens -= request.known_tokens
            return
        self.decoding.writers.discard(request)  # it is no decode any more
        self.memory.publish(request.table, request.computed)
        self.memory.release(request.table, -(-request.computed // self.memory.block_size))
        del self.running[request]
        if self._loads is not None:
            self._loads.source.left(request)

    def drop(self, request: Request, in_flight: Batch | None) -> None:
        """Take a running or loading request out and give back what it holds; full blocks stay cached."""
        if request.phase == LOADING:
            assert self._loads is not None
            self._loads.drop(request)
            held = -(-request.known_tokens // self.memory.block_size)
            self.memory.release(request.table, held)
            request.computed = 0  # nothing was computed for it yet
            return
        if in_flight is not None and request.phase in (DECODE, LAST):
            in_flight.lost += request not in in_flight.completed
        self._remove(request)

    def _remove(self, request: Request) -> None:
        """Release the blocks of a running request; what is in flight of it is not published."""
        self.decoding.settle()
        written = self.decoding.written(request)
        if request.phase in (DECODE, LAST):
            self.decoding.leave(request)
        elif request is self._partial:
            self._partial = None
        self.memory.publish(request.table, written)
        self.memory.release(request.table, -(-request.computed // self.memory.block_size))
        del self.running[request]

    # -- what others see ---------------------------------------------------------------------------

    def present(self) -> list[Request]:
        """The requests that run, in order, then those that load."""
        return [*self.running, *(self._loads.loading if self._loads is not None else ())]

    def cached_tokens(self, route: Route, tokens: int) -> int:
        """Tokens of a prompt that a lookup would find now."""
        self.decoding.settle()
        self.decoding.publish(route)
        return self.memory.lookup(BlockTable(route, tokens, -1), tokens).blocks * self.memory.block_size

    def check(self) -> None:
        """Assert the invariants of queue, batch and memory. O(running + waiting + cache)."""
        memory, size = self.memory, self.memory.block_size
        self.decoding.settle()
        memory.check()
        self.decoding.check(list(self.running))
        unpublished, step = 0, self.decoding.decodes.step
        for request in self.running:
            tokens = request.base + step if request.phase == DECODE else request.computed
            unpublished += memory.private_blocks(request.table, -(-tokens // size))
        if self._loads is not None:
            self._loads.check()
            published = sum(request.table.published for request in self._loads.loading)
            unpublished += self._loads.held_blocks(size) - published
        shared = memory.cached_blocks - (memory.free_blocks - memory.empty_blocks)
        assert shared + unpublished + memory.free_blocks == memory.capacity_blocks
        assert len(self.running) <= self._max_seqs
        assert all(request.phase == WAITING and not request.computed for request in self.waiting)
        assert self.waiting_tokens == sum(request.known_tokens for request in self.waiting)
