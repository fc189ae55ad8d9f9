"""vLLM's scheduler with default options, at a cost per change of the batch.

Each step schedules the running requests first, then admits waiting ones, as vLLM 0.33.0's V1 scheduler does
with policy fcfs (``v1/core/sched/scheduler.py``). Between two changes of the batch the steps differ only by
one more KV token per request: `repeats` says how many may follow, and they pass without being decided one
by one. `StepScheduler` decides every step and knows every option; tests hold the two equal.

Asynchronous scheduling (vLLM's default) decides a step while the one before computes, so without the
results of that one. Here this is ``lag`` = 1: a reply's tokens can be found one step later, and a request
whose last token is scheduled stays, without work, until that token is there.
"""

from __future__ import annotations

from collections import deque

from sim.caches.block import BlockTable
from sim.caches.groups.cache import EngineMemory, GroupedCache
from sim.engine.batch import Decodes
from sim.engine.loads import Loads
from sim.engine.request import DECODE, LAST, LOADING, PREFILL, WAITING, Request
from sim.engine.vllm.batch import Batch
from sim.engine.vllm.slides import Slides
from sim.engine.writers import Writers
from workloads.content import Route


class RunScheduler:
    """A queue of waiting requests, a running batch, and the KV memory they compete for.

    *Blocks are taken late.* The blocks that decodes need are taken when something else happens to the
    memory, all steps since then together: what an eviction order without a clock evicts is the same then.
    With blocks of 16, two decodes with 30 and 40 tokens in KV need 2 and 1 blocks over 20 steps; if nothing
    else happens the 3 are taken in one go.
    """

    def __init__(
        self,
        memory: EngineMemory,
        loads: Loads | None,
        *,
        max_num_batched_tokens: int,
        max_num_seqs: int,
        asynchronous: bool,
    ) -> None:
        self.memory = memory
        self.waiting: deque[Request] = deque()
        self.waiting_tokens = 0
        self.running: dict[Request, None] = {}  # in order of admission
        self._loads = loads
        self._max_tokens = max_num_batched_tokens
        self._max_seqs = max_num_seqs
        self._lag = 1 if asynchronous else 0
        self._decodes = Decodes(memory.block_size)
        self._taken = 0  # scheduled steps whose decodes have their blocks
        self._partial: Request | None = None  # prompt begun, not complete: last of the running
        self._writers = Writers()
        self._admissions = 0
        self._now = 0.0
        self._has_clock = memory.has_clock
        self._in_flight = max_num_batched_tokens * (1 + self._lag)
        self._groups = memory if isinstance(memory, GroupedCache) else None
        self._width = 1 if self._groups is None else self._groups.width
        self._slides = None if self._groups is None else Slides(self._groups, self._lag)

    # -- the queue ---------------------------------------------------------------------------------

    def enqueue(self, request: Request) -> bool:
        """Queue ``request``; whether a run of steps has to end so that it can be admitted."""
        self.waiting.append(request)
        self.waiting_tokens += request.known_tokens
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
        decodes = self._decodes
        self._now = now
        self.memory.now_s = now
        batch = Batch()
        if self._taken < decodes.step:
            self._take(decodes.step)
        if decodes.count:
            self._allocate_decodes(batch, in_flight)
        batch.decodes = batch.tokens = decodes.count
        batch.context = decodes.context
        self._advance(1, batch)
        if self._writers.contested:
            self._write_back(self._writers.of_contested())
        if self._others_take():
            self._schedule_prompts(batch, in_flight)
        if not batch.tokens and not batch.preempted and not batch.loads:
            assert not self.waiting or self._lag or self._loads, "a request waits for nothing"
            return None
        return batch

    def _schedule_prompts(self, batch: Batch, in_flight: Batch | None) -> None:
        """The begun prompt goes on, then others are admitted, unless a request was preempted."""
        batch.admitted, batch.loads = [], []
        budget = self._max_tokens - batch.decodes
        preempted = bool(batch.preempted)
        if self._partial is not None and budget > 0:
            chunk = self._continue_prefill(self._partial, budget, batch, in_flight)
            budget -= chunk
            preempted = preempted or chunk == 0
        if not preempted:
            self._admit(budget, batch)
        if batch.chunks:
            self._complete(batch)

    def _advance(self, steps: int, last: Batch) -> None:
        """Count ``steps`` scheduled steps; the last of them, ``last``, gives some their last token."""
        decodes = self._decodes
        if not decodes.may_finish(decodes.step + steps):
            decodes.pass_by(steps)
            return
        self._take(decodes.step + steps)  # before the numbers change
        last.finishing = decodes.advance(steps)
        for request in last.finishing:
            request.phase = LAST
            if self._slides is not None:
                self._slides.leave(request)

    def _complete(self, batch: Batch) -> None:
        """Requests whose prompts this step completes go on token by token from the next step on."""
        self._take(self._decodes.step)
        batch.completed = []
        for request, before, tokens in batch.chunks:
            batch.tokens += tokens
            if request.computed < request.prompt_tokens + request.generated:
                continue
            request.generated += 1
            batch.completed.append(request)
            if request.generated == request.output_tokens:
                request.phase = LAST
                batch.finishing = [*batch.finishing, request]
            else:
                self._decodes.enter(request)
                self._writers.add(request)
                if self._slides is not None:
                    self._slides.enter(request, before, self._decodes.step)

    # -- runs of steps -----------------------------------------------------------------------------

    def repeats(self, computing: Batch, ahead: Batch | None) -> int:
        """How many steps of decodes alone may follow ``computing`` before anything has to be decided.

        Synchronous: up to the step with which a request finishes, or before the one that lacks blocks.
        Asynchronous: the same counted from ``ahead``, which is scheduled already and computes first. If
        requests finish with the run, the step after it is scheduled while they compute their last token:
        this too is foreseen, if no request waits.
        """
        if computing.finishing or self._must_step():
            return 0
        decodes, free, steps = self._decodes, self.memory.free_blocks // self._width, 0
        others = self._others_take()
        if self._lag:
            if ahead is None or not ahead.tokens or ahead.preempted or (ahead.chunks and others):
                return 0
            if not ahead.finishing:
                steps = decodes.next_finish() - decodes.step
        elif not decodes.count or computing.preempted or (computing.chunks and others):
            return 0
        else:
            steps = decodes.next_finish() - decodes.step
        owed = decodes.step - self._taken
        within = decodes.steps_within(self._taken, owed + steps, free) - owed
        if not self._lag or within < steps or others:
            return within
        # The step without those that finish: all others may need a block each.
        needed = decodes.needs(self._taken, owed + steps) + decodes.count
        return steps + 1 if needed <= free else steps

    def following(self, computing: Batch, ahead: Batch | None) -> tuple[int, int] | None:
        """(decodes, context) of the steps of decodes alone; None if ``computing`` is the first of them."""
        decodes = self._decodes
        if ahead is None or ahead.chunks:
            count, context = decodes.count, decodes.context
        else:
            count, context = ahead.decodes, ahead.context
        same = computing.decodes == count and not computing.lost and not computing.chunks
        if same and (ahead is None or not ahead.chunks):
            return None
        return count, context

    def repeat(self, computing: Batch, ahead: Batch | None, steps: int) -> tuple[Batch | None, int]:
        """``steps`` of the `repeats` have been scheduled since; (the step ahead now, tokens scheduled)."""
        decodes = self._decodes
        count = decodes.count
        if not self._lag:
            self._advance(steps, computing)
            return None, steps * count
        assert ahead is not None
        tokens = 0
        same = 0 if ahead.finishing else min(steps, decodes.next_finish() - decodes.step)
        if same:
            tokens = same * count
            ahead = Batch(count, decodes.context + (same - 1) * count)
            self._advance(same, ahead)
        if steps > same:
            # What was ahead computes and gives its last tokens; the others are scheduled once more.
            assert steps == same + 1
            computing.finishing = ahead.finishing
            ahead = Batch(decodes.count, decodes.context)
            tokens += decodes.count
            self._advance(1, ahead)
        return (ahead if ahead.decodes else None), tokens

    def settle(self) -> None:
        """Take the blocks of all steps scheduled so far."""
        if self._taken < self._decodes.step:
            self._take(self._decodes.step)

    def _must_step(self) -> bool:
        """Whether two write one reply, or the blocked head of the queue reads one being written.

        Or it waits for blocks, and decodes give some back.
        """
        if self._writers.contested:
            return True
        if self._groups is not None and self.waiting and len(self.running) < self._max_seqs:
            return True
        return bool(self.waiting) and self._writers.write(self.waiting[0].table.route)

    # -- blocks of decodes -------------------------------------------------------------------------

    def _allocate_decodes(self, batch: Batch, in_flight: Batch | None) -> None:
        """Give every decode its next token's block, or preempt requests until there is one."""
        decodes, memory, width = self._decodes, self.memory, self._width
        step = decodes.step
        if decodes.needs(step, 1) * width <= memory.free_blocks:
            if self._has_clock or self._others_take():
                self._take(step + 1)
            return
        due: dict[Request, int] = {}
        if self._slides is not None:
            due = {request: settled for _, _, request, settled in self._slides.due(step, step + 1)}
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
                    self._taken = step + 1
                    return
            memory.take(width)
        self._taken = step + 1

    def _take(self, upto: int) -> None:
        """Give the decodes the blocks of all scheduled steps before number ``upto``."""
        if upto > self._taken:
            needed = self._decodes.needs(self._taken, upto - self._taken)
            if needed:
                self.memory.take(needed * self._width)
            if self._slides is not None:
                self._slides.happen(self._taken, upto, self._decodes)
            self._taken = upto

    def _others_take(self) -> bool:
        """Whether a step that is scheduled now may take blocks for prompts."""
        if self.waiting or self._partial is not None:
            return True
        return self._loads is not None and bool(self._loads.ready)

    # -- prompts -----------------------------------------------------------------------------------

    def _continue_prefill(
        self, request: Request, budget: int, batch: Batch, in_flight: Batch | None
    ) -> int:
        """The next chunk of a begun prompt; 0 if its blocks are not to be had (it is preempted)."""
        chunk = min(request.known_tokens - request.computed, budget)
        computed, upto, size = request.computed, request.computed + chunk, self.memory.block_size
        if self._groups is not None:
            settled = computed
            if in_flight is not None:
                settled = min(
                    [before for other, before, _ in in_flight.chunks if other is request], default=computed
                )
            fits = self._groups.extend(request.table, computed, upto, settled)
        else:
            needed = -(-upto // size) - -(-computed // size)
            fits = needed <= self.memory.free_blocks
            if fits:
                self.memory.take(needed)
        if not fits:
            self._preempt(request, batch, in_flight)
            return 0
        self._write_back(self._writers.of(request.table.route))  # decodes come before this chunk
        self._compute(request, chunk, batch)
        return chunk

    def _admit(self, budget: int, batch: Batch) -> None:
        """Admit what was loaded, then waiting requests in order, while budget, slots and memory last.

        The head must fit with its whole known sequence (``scheduler_reserve_full_isl``); if it does
        not, no request behind it is tried. One whose KV can be loaded leaves the queue for its load.
        """
        memory, size, loads = self.memory, self.memory.block_size, self._loads
        while budget > 0 and len(self.running) < self._max_seqs:
            if loads is not None and loads.ready:
                request = loads.admit()
                cached = request.computed
                held = -(-cached // size)
                memory.give_back(-(-request.known_tokens // size) - held)
            elif self.waiting:
                request = self.waiting[0]
                self._write_back(self._writers.of(request.table.route))
                known = request.known_tokens
                hit = memory.lookup(request.table, known)
                total, upto = -(-known // size), min(known, hit.blocks * size + budget)
                if not memory.fits(request.table, hit, known, upto, self._in_flight, 0):
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
                    batch.loads.append((request, found))
                    continue
            else:
                return
            chunk = min(request.known_tokens - cached, budget)
            memory.grow(request.table, held * size, cached + chunk)
            self._enter(request, cached, batch)
            self._compute(request, chunk, batch)
            budget -= chunk

    def _enter(self, request: Request, cached: int, batch: Batch) -> None:
        """``request`` runs from now on, with ``cached`` tokens found."""
        request.computed = cached
        self._admissions += 1
        request.order = self._admissions
        request.phase = PREFILL
        self.running[request] = None
        batch.admitted.append((request, request.known_tokens, cached))

    def _compute(self, request: Request, chunk: int, batch: Batch) -> None:
        """Put ``chunk`` prompt tokens into this step; their full blocks can be hit at once."""
        before = request.computed
        request.computed = upto = before + chunk
        self.memory.publish(request.table, upto)
        batch.chunks.append((request, before, chunk))
        self._partial = request if upto < request.known_tokens else None

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
        """``request`` has its last token; it may be back in the queue, preempted while that came."""
        if request.phase == WAITING:
            self.waiting.remove(request)
            self.waiting_tokens -= request.known_tokens
            return
        if request.output_tokens > 1:
            self._writers.discard(request)
        self._take(self._decodes.step)
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
        self._take(self._decodes.step)
        written = self._written(request)
        if request.phase == DECODE:
            self._decodes.leave(request)
            self._writers.discard(request)
            if self._slides is not None:
                self._slides.leave(request)
        elif request.phase == LAST:
            self._writers.discard(request)
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
        self._take(self._decodes.step)
        self._write_back(self._writers.of(route))
        return self.memory.lookup(BlockTable(route, tokens, -1), tokens).blocks * self.memory.block_size

    def _write_back(self, writers: list[Request]) -> None:
        """Publish what ``writers`` have of their replies by now."""
        for request in writers:
            self.memory.publish(request.table, self._written(request))

    def _written(self, request: Request) -> int:
        """Tokens of a running request whose KV is computed and whose text is known, as scheduled."""
        if request.phase == DECODE:
            return request.base + self._decodes.step - self._lag
        if request.phase == LAST:
            return request.computed - self._lag
        return request.computed

    def check(self) -> None:
        """Assert the invariants of queue, batch and memory. O(running + waiting + cache)."""
        memory, size = self.memory, self.memory.block_size
        self._take(self._decodes.step)
        memory.check()
        self._decodes.check([request for request in self.running if request.phase == DECODE])
        unpublished = 0
        for request in self.running:
            tokens = request.computed
            if request.phase == DECODE:
                tokens = request.base + self._decodes.step
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
