"""One engine replica: vLLM's step loop, with runs of equal decode iterations taken in one event.

Each iteration schedules the running requests first, then admits waiting ones, as vLLM 0.33.0's V1
scheduler does in synchronous mode with policy fcfs (``v1/core/sched/scheduler.py``). Between two
changes of the batch decode iterations differ only by one more KV token per request; their total time
has a closed form, so they pass in one event, which a new arrival may cut short at the next boundary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, MutableSequence

from sim.caches.block import BlockCache, BlockTable
from sim.engine.batch import Decodes
from sim.engine.events import Clock
from sim.engine.latency import IterationTime
from sim.engine.leaving import Leaving
from sim.engine.request import DECODE, PREFILL, WAITING, Request
from sim.engine.writers import Writers
from sim.results.records import EngineTotals, RequestLog, StepLog


class Replica(Leaving):
    """A queue of waiting requests, a running batch, and the KV memory they compete for.

    ``finished(index)`` is called at the simulated time at which a request's last token is there.
    """

    def __init__(
        self,
        number: int,
        env: Clock,
        memory: BlockCache,
        latency: IterationTime,
        *,
        max_num_batched_tokens: int,
        max_num_seqs: int,
        fast_forward: bool,
        log: RequestLog,
        finished: Callable[[int], None],
    ) -> None:
        super().__init__(number, env)
        self.memory: BlockCache = memory
        self.steps = StepLog()
        self.totals = EngineTotals()
        self.waiting: deque[Request] = deque()
        self.running: dict[Request, None] = {}  # in order of admission
        self._latency = latency
        self._max_tokens = max_num_batched_tokens
        self._max_seqs = max_num_seqs
        self._fast_forward = fast_forward
        self._log = log
        self._finished = finished
        self._decodes = Decodes(memory.block_size)
        self._partial: Request | None = None  # prompt begun, not complete: last of the running
        self._chunks: list[tuple[Request, int]] = []  # prompt work of the iteration under way
        self._writers = Writers()
        self._admissions = 0
        self._allocated = 0  # iterations under way whose decodes have their blocks

    @property
    def work(self) -> StepLog:
        """Iterations so far: here gaps between tokens and iterations are the same."""
        return self.steps

    @property
    def queued(self) -> int:
        """Requests waiting."""
        return len(self.waiting)

    @property
    def load(self) -> int:
        """Requests waiting and running."""
        return len(self.waiting) + len(self.running)

    @property
    def held_blocks(self) -> int:
        """KV blocks that running requests hold at this moment."""
        self._allocate(self._iterations_begun())
        return self.memory.capacity_blocks - self.memory.free_blocks

    @property
    def queued_tokens(self) -> int:
        """Known tokens of the waiting requests, whatever of them is cached. O(waiting)."""
        return sum(request.known_tokens for request in self.waiting)

    def cached_tokens(self, path: list[int], tokens: int) -> int:
        """Tokens of a prompt that a lookup would find at this moment."""
        begun = self._iterations_begun()
        self._allocate(begun)
        self._write_back(path, begun)
        table = BlockTable(path, tokens, -1)
        return self.memory.lookup(table, tokens).blocks * self.memory.block_size

    def submit(self, request: Request) -> None:
        """Queue ``request``; an idle replica begins an iteration once this instant's arrivals are in."""
        self.waiting.append(request)
        self._changed(self.number)
        if self._event is None:
            self.memory.now_s = self._env.now
            self._schedule(0.0, self._begin)
        elif self._steps > 1 and len(self.waiting) == 1 and len(self.running) < self._max_seqs:
            self._cut()

    # -- one iteration -----------------------------------------------------------------------------

    def _begin(self, event: object = None) -> None:
        """Schedule one iteration (or a run of equal ones) and set the event that ends it."""
        if self._aborted or self._failed is not None:
            self._let_leave()
        decodes, latency = self._decodes, self._latency
        self._chunks = []
        preempted = self._allocate_decodes()
        if self._writers.contested:
            self._write_back(sorted(self._writers.contested), 1)
        budget = self._max_tokens - decodes.count
        if self._partial is not None and budget > 0:
            chunk = self._continue_prefill(self._partial, budget)
            budget -= chunk
            preempted = preempted or chunk == 0
        if not preempted or not self.running:  # an empty step takes no time: the next one admits
            self._admit(budget)
        sequences = decodes.count + len(self._chunks)
        if not sequences:
            assert self._may_idle()
            self._idle()
            return
        tokens = decodes.count
        first = latency.decode_s(decodes.count, decodes.context)
        slope = 0.0
        steps = 1
        if self._chunks:
            for request, chunk in self._chunks:
                tokens += chunk
                first += latency.prefill_s(request.computed, chunk)
        elif self._fast_forward and not preempted and not self._must_step():
            slope = latency.slope_s(decodes.count)
            steps = decodes.next_finish() - decodes.step
            if steps > 1:
                done = self._allocated
                free = self.memory.free_blocks
                steps = done + decodes.steps_within(decodes.step + done, steps - done, free)
        first += latency.fixed_s(tokens, sequences)
        self.totals.scheduled_tokens += tokens
        self._start(first, slope, steps)

    def _may_idle(self) -> bool:
        return not self.waiting and not self.running

    def _end(self, event: object) -> None:
        """Apply the results of the iterations that end now, then begin the next one."""
        steps = self._ended(event)
        if not steps:
            return
        decodes, now = self._decodes, self._env.now
        self.memory.now_s = now
        count = decodes.count
        self._allocate(steps)
        self.totals.note_usage(self.memory)
        self.totals.scheduled_tokens += count * (steps - 1)
        self.totals.iterations += steps
        self.totals.busy_s += now - self._began_s
        if self._latency.is_bounded:
            self.totals.extrapolated_s += self._latency.extrapolated_s(
                [(request.computed, chunk) for request, chunk in self._chunks],
                count,
                decodes.context,
                self._first_s,
                self._slope_s,
                steps,
            )
        done = list(decodes.advance(steps))
        for request in done:
            self._writers.remove(request)
        first_tokens = 0
        for request, chunk in self._chunks:
            request.computed += chunk
            if request.computed < request.known_tokens:
                continue
            first_tokens += 1
            self._sampled(request, now)
            if request.generated == request.output_tokens:
                done.append(request)
            else:
                decodes.enter(request)
                self._writers.add(request)
        self.steps.add(now, self._first_s, self._slope_s, steps, count, first_tokens)
        for request in done:
            self._finish(request, now)
        self._begin()

    def _sampled(self, request: Request, now: float) -> None:
        """A completed prefill gives one token: the first, or the next one after a preemption."""
        request.generated += 1
        if request.generated == 1:
            self._log.first_token_s[request.index] = now
        else:
            self.steps.add_gap(now, now - request.last_token_s)

    def _finish(self, request: Request, now: float) -> None:
        self._release(request)
        del self.running[request]
        if self._nobody_waits_for(request):
            return
        self._log.finish(request, now, self.number)
        self._changed(self.number)
        self._finished(request.index)

    # -- scheduling --------------------------------------------------------------------------------

    def _allocate_decodes(self) -> bool:
        """Give every decode its next token's block; whether somebody had to be preempted.

        If nobody else takes blocks in this iteration they are taken when it ends, with those of the run,
        or when somebody looks: what an eviction order without a clock evicts is the same then.
        """
        decodes, memory = self._decodes, self.memory
        needed = decodes.needs(decodes.step, 1)
        self._allocated = 1
        if needed <= memory.free_blocks:
            if memory.has_clock or self._others_take():
                memory.take(needed)
            else:
                self._allocated = 0
            return False
        for request in list(self.running):
            if request.phase != DECODE or not decodes.needs_block(request):
                continue
            while memory.free_blocks == 0:
                victim = next(reversed(self.running))
                self._preempt(victim)
                if victim is request:
                    return True
            memory.take(1)
        return True

    def _others_take(self) -> bool:
        """Whether an iteration that begins now may take blocks for prompts."""
        return bool(self.waiting) or self._partial is not None

    def _allocate(self, iterations: int) -> None:
        """Give the decodes the blocks of the first ``iterations`` iterations of the run."""
        if iterations > self._allocated:
            decodes, done = self._decodes, self._allocated
            self.memory.take(decodes.needs(decodes.step + done, iterations - done))
            self._allocated = iterations

    def _continue_prefill(self, request: Request, budget: int) -> int:
        """The next chunk of a begun prompt; 0 if its blocks are not to be had (it is preempted)."""
        chunk = min(request.known_tokens - request.computed, budget)
        size = self.memory.block_size
        needed = -(-(request.computed + chunk) // size) - -(-request.computed // size)
        if needed > self.memory.free_blocks:
            self._preempt(request)
            return 0
        self.memory.take(needed)
        self._write_back(request.table.path, 1)  # decodes come before this chunk
        self._compute(request, chunk)
        return chunk

    def _admit(self, budget: int) -> None:
        """Admit waiting requests in order while budget, slots and memory last.

        The head must fit with its whole known sequence (``scheduler_reserve_full_isl``); if it does
        not, nobody behind it is tried.
        """
        memory, size = self.memory, self.memory.block_size
        while self.waiting and budget > 0 and len(self.running) < self._max_seqs:
            request = self.waiting[0]
            self._write_back(request.table.path, 1)
            known = request.known_tokens
            hit = memory.lookup(request.table, known)
            if -(-known // size) - hit.blocks + hit.idle > memory.free_blocks:
                return
            self.waiting.popleft()
            cached = memory.acquire(request.table, hit)
            chunk = min(known - cached, budget)
            memory.take(-(-(cached + chunk) // size) - hit.blocks)
            self._enter(request, cached)
            self._compute(request, chunk)
            budget -= chunk

    def _enter(self, request: Request, cached: int) -> None:
        """``request`` runs from now on, with ``cached`` tokens found."""
        request.computed = cached
        self._admissions += 1
        request.order = self._admissions
        request.phase = PREFILL
        self.running[request] = None
        self._log.admit(request, self._env.now, cached, self.totals)

    def _compute(self, request: Request, chunk: int) -> None:
        """Put ``chunk`` prompt tokens into this iteration; their full blocks can be hit at once."""
        upto = request.computed + chunk
        self.memory.publish(request.table, upto)
        self._chunks.append((request, chunk))
        self._partial = request if upto < request.known_tokens else None

    def _preempt(self, request: Request) -> None:
        """Release everything and go back to the head of the queue; generated tokens are kept."""
        if request.phase == DECODE:
            self._decodes.leave(request)
            self._writers.remove(request)
            request.last_token_s = self._env.now
        if request is self._partial:
            self._partial = None
        self.totals.num_preemptions += 1
        self.totals.recomputed_tokens += request.computed
        self._release(request)
        del self.running[request]
        request.preemptions += 1
        request.computed = 0
        request.phase = WAITING
        self.waiting.appendleft(request)

    def _release(self, request: Request) -> None:
        self.memory.publish(request.table, request.computed)
        self.memory.release(request.table, -(-request.computed // self.memory.block_size))

    # -- replies being written ---------------------------------------------------------------------

    def _write_back(self, segments: Iterable[int], ahead: int) -> None:
        """Publish what decodes have written of ``segments``, ``ahead`` iterations from the last end on."""
        for request in self._writers.of(segments):
            self.memory.publish(request.table, request.base + self._decodes.step + ahead)

    def _must_step(self) -> bool:
        """Whether two write one reply, or the blocked head of the queue reads one being written."""
        if self._writers.contested:
            return True
        return bool(self.waiting) and self._writers.write(self.waiting[0].table.path)

    # -- requests that leave early -----------------------------------------------------------------

    def _queued(self) -> MutableSequence[Request]:
        return self.waiting

    def _present(self) -> list[Request]:
        return list(self.running)

    def _drop(self, request: Request) -> None:
        if request.phase == DECODE:
            self._decodes.leave(request)
            self._writers.remove(request)
        elif request is self._partial:
            self._partial = None
        self._release(request)
        del self.running[request]

    def check(self) -> None:
        """Assert the invariants of queues, batch and memory. O(running + cache)."""
        memory = self.memory
        begun = self._iterations_begun()
        self._allocate(begun)
        memory.check()
        decoding = [request for request in self.running if request.phase == DECODE]
        self._decodes.check(decoding)
        shared = memory.cached_blocks - (memory.free_blocks - memory.empty_blocks)
        held = shared + self._unpublished_blocks(begun)
        assert held + memory.free_blocks == memory.capacity_blocks
        assert len(self.running) <= self._max_seqs

    def _unpublished_blocks(self, begun: int) -> int:
        """Allocated blocks that are not in the map, with ``begun`` iterations of the run begun."""
        chunks, size = dict(self._chunks), self.memory.block_size
        unpublished = 0
        for request in self.running:
            if request.phase == DECODE:
                tokens = request.base + self._decodes.step + begun
            else:
                tokens = request.computed + chunks.get(request, 0)
            unpublished += -(-tokens // size) - request.table.published
        return unpublished
