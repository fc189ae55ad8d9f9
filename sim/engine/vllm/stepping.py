"""One engine replica that goes step by step: every option of vLLM's scheduler, and step records.

Schedules as vLLM 0.33.0 does (``v1/core/sched/scheduler.py``, ``async_scheduler.py``,
``request_queue.py``). Each step loops over the running requests, so its cost grows with the batch;
`Replica` takes the default options at a cost per change of the batch, and `make_replica` picks.

Asynchronous scheduling keeps one step in flight. When step s - 1 ends, its results are applied, step
s + 1 is scheduled, and step s, scheduled one step earlier, begins to compute. So a step is decided
without the results of the one before: a sampled token that is not there yet counts as schedulable,
blocks are published and given back a step late, and who arrives at a busy replica waits a step longer.
A step that schedules nothing takes no time. From idle two steps are scheduled at once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from sim.caches.block import BlockCache
from sim.engine.events import Clock
from sim.engine.latency import IterationTime
from sim.engine.request import DECODE, PREFILL, WAITING, Request
from sim.engine.steps import StepRecord, StepRecorder
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.replica import Replica
from sim.results.records import RequestLog
from workloads.errors import InputError

LIVELOCK_STEPS = 10_000
"""After so many steps without a token a replica looks whether it makes progress at all."""


class Step:
    """One step from its scheduling to its results."""

    __slots__ = ("admitted", "duration_s", "preempted", "record", "sampled", "scheduled")

    def __init__(self) -> None:
        self.scheduled: dict[Request, int] = {}  # tokens of each request, running ones first
        self.admitted: list[tuple[Request, int]] = []  # with their cached tokens
        self.preempted: list[Request] = []
        self.sampled: list[Request] = []  # those that get a token from this step
        self.duration_s = 0.0
        self.record: StepRecord | None = None


class SteppingReplica(Replica):
    """A `Replica` to those who feed or watch it; inside, another scheduler.

    ``computed`` counts every token scheduled so far, in flight or not; ``generated`` the results.
    """

    def __init__(
        self,
        number: int,
        env: Clock,
        memory: BlockCache,
        latency: IterationTime,
        options: SchedulerOptions,
        *,
        log: RequestLog,
        finished: Callable[[int], None],
        recorder: StepRecorder | None = None,
    ) -> None:
        super().__init__(
            number,
            env,
            memory,
            latency,
            max_num_batched_tokens=options.max_num_batched_tokens,
            max_num_seqs=options.max_num_seqs,
            fast_forward=False,
            log=log,
            finished=finished,
        )
        self.options = options
        self.recorder = recorder
        self._by_priority = options.policy == "priority"
        self._async = options.async_scheduling
        self._watermark = options.watermark_blocks(memory.capacity_blocks)
        self._fruitless = 0  # steps since the last token
        self._computing: Step | None = None
        self._ahead: Step | None = None  # scheduled, waiting for the one that computes

    def submit(self, request: Request) -> None:
        """Queue ``request``; an idle replica begins a step once this instant's arrivals are in."""
        self._enqueue(request)
        self._changed(self.number)
        if self._event is None:
            self._schedule(0.0, self._begin)

    def _enqueue(self, request: Request, *, first: bool = False) -> None:
        """fcfs: at the end or, ``first``, at the head; priority: by rank, O(waiting)."""
        if self._by_priority:
            insort(self.waiting, request, key=self._rank)
        elif first:
            self.waiting.appendleft(request)
        else:
            self.waiting.append(request)

    def _rank(self, request: Request) -> tuple[int, float, str]:
        """Place in the priority queue. Ids compare as text, r10 before r9; unnamed ones by index."""
        index, trace = request.index, self._log.trace
        name = f"{index:012}" if trace.request_ids is None else trace.request_ids[index]
        arrival_s = 0.0 if trace.equal_arrival else self._log.arrival_s[index]
        return trace.priority[index], arrival_s, name

    # -- steps in time -----------------------------------------------------------------------------

    def _begin(self, event: object = None) -> None:
        """Begin the step scheduled ahead, or schedule one; asynchronous: schedule the next one too."""
        if self._aborted or self._failed is not None:
            self._let_leave()
        while True:
            step = self._computing = self._ahead or self._plan()
            self._ahead = self._plan() if self._async else None
            if step is None:
                self._idle()
                return
            if step.scheduled:
                break
            # All that ran had its last token in flight, or was preempted for the sake of one that had.
            assert self._async and (self._ahead is None or self._ahead.scheduled), "nothing fits"
            self._apply(step)
        self._start(step.duration_s, 0.0, 1)

    def _end(self, event: object) -> None:
        """Apply the results of the step that ends now, then begin the next one."""
        step = self._computing
        assert step is not None and self._ended(event)
        self.memory.now_s = self._env.now
        self.totals.iterations += 1
        self.totals.busy_s += self._env.now - self._began_s
        self._apply(step)
        self._begin()

    def _apply(self, step: Step) -> None:
        """Count the sampled tokens, then release who is finished one by one, in scheduling order."""
        now = self._env.now
        decodes = 0
        done = []
        self._fruitless = 0 if step.sampled else self._fruitless + 1
        if self._fruitless and self._fruitless % LIVELOCK_STEPS == 0:
            self._require_progress()
        for request in step.sampled:
            request.generated += 1
            if request.generated == 1:
                self._log.first_token_s[request.index] = now
            elif request.last_token_s == self._began_s:
                decodes += 1
            else:  # preempted since its last token
                self.steps.add_gap(now, now - request.last_token_s)
            request.last_token_s = now
            if request.generated == request.output_tokens:
                done.append(request)
        if step.scheduled:
            self.steps.add(now, step.duration_s, 0.0, 1, decodes, len(step.sampled) - decodes)
        for request in done:
            self._leave(request)
        if step.record is not None:
            step.record.end_s = now
            step.record.finished = [request.index for request in done]
            step.record.used_blocks = self.memory.capacity_blocks - self.memory.free_blocks

    def _require_progress(self) -> None:
        """Raise InputError if requests only preempt each other: an engine would do so for ever.

        Every step computes at least one token, so without preemption the known tokens of all requests
        bound the steps that give no token.
        """
        known = sum(request.known_tokens for request in [*self.running, *self.waiting])
        if self._fruitless > known:
            raise InputError(
                f"replica {self.number} makes no progress: {self._fruitless:,} steps without a token, "
                f"{self.totals.num_preemptions:,} preemptions; {len(self.running) + len(self.waiting)} "
                f"requests push each other out of {self.memory.capacity_blocks} KV blocks; allowed: more "
                "memory, or scheduler_reserve_full_isl: true with policy: fcfs"
            )

    def _leave(self, request: Request) -> None:
        """``request`` has its last token; it may be back in the queue, preempted while that came."""
        if request.phase == WAITING:
            self.waiting.remove(request)
            self.totals.recomputed_tokens -= _final_tokens(request)  # they are not needed again
        else:
            self.memory.publish(request.table, request.computed)  # asynchronous: what was in flight
            self.memory.release(request.table, -(-request.computed // self.memory.block_size))
            del self.running[request]
        if self._nobody_waits_for(request):
            return
        self._log.finish(request, self._env.now, self.number)
        self._changed(self.number)
        self._finished(request.index)

    def _drop(self, request: Request) -> None:
        assert not self._async, "a step in flight may contain it"
        self.memory.release(request.table, -(-request.computed // self.memory.block_size))
        del self.running[request]

    # -- scheduling --------------------------------------------------------------------------------

    def _plan(self) -> Step | None:
        """Schedule one step as things stand now; None if there is no request."""
        present = len(self.running) + len(self.waiting)
        if not present:
            return None
        self.memory.now_s = self._env.now
        # The threshold keeps a long prompt from starving others; alone it starves nobody.
        threshold = self.options.long_prefill_token_threshold if present > 1 else 0
        limit = threshold or self._max_tokens
        step = Step()
        budget = self._schedule_running(step, limit)
        if not step.preempted:
            self._schedule_waiting(step, limit, budget)
        if step.scheduled:
            self._advance(step)
        self.totals.note_usage(self.memory)
        if self.recorder is not None:
            self._note(step, self.recorder)
        return step

    def _schedule_running(self, step: Step, limit: int) -> int:
        """Give the running requests their tokens in order, preempting while blocks are short.

        Returns the budget left. A victim that had tokens in this step gives them back.
        """
        budget = self._max_tokens
        for request in list(self.running):
            if not budget:
                break
            if request.phase == WAITING or request.computed == _final_tokens(request):
                continue  # preempted by one before it; asynchronous: its last token is in flight
            tokens = 1
            if request.phase == PREFILL:
                tokens = min(request.known_tokens - request.computed, limit, budget)
            while not self._extend(request, tokens):
                victim = self._victim()
                budget += self._put_back(step, victim)
                if victim is request:
                    break
            else:
                step.scheduled[request] = tokens
                budget -= tokens
        return budget

    def _extend(self, request: Request, tokens: int) -> bool:
        """Allocate blocks for ``tokens`` more tokens and publish those they fill; False: no room."""
        memory, table = self.memory, request.table
        size, upto = memory.block_size, request.computed + tokens
        needed = -(-upto // size) - -(-request.computed // size)
        if needed:
            if needed > memory.free_blocks:
                return False
            memory.take(needed)
        # Asynchronous: blocks with tokens in flight have no content yet.
        written = min(upto, request.prompt_tokens + request.generated)
        if written // size > table.published:
            memory.publish(table, written)
        return True

    def _victim(self) -> Request:
        """fcfs: the last one running; priority: the largest (priority, arrival), of equals the first."""
        if not self._by_priority:
            return next(reversed(self.running))
        return max(self.running, key=lambda request: self._rank(request)[:2])

    def _put_back(self, step: Step, victim: Request) -> int:
        """Preempt ``victim``; the tokens it had in this step. What they would have filled stays published.

        All blocks are released and computed again later; generated tokens are kept.
        """
        tokens = step.scheduled.pop(victim, 0)
        held = -(-(victim.computed + tokens) // self.memory.block_size)
        self.memory.release(victim.table, held)
        del self.running[victim]
        self.totals.num_preemptions += 1
        self.totals.recomputed_tokens += victim.computed
        victim.preemptions += 1
        victim.computed = 0
        victim.phase = WAITING
        step.preempted.append(victim)
        self._enqueue(victim, first=True)
        return tokens

    def _schedule_waiting(self, step: Step, limit: int, budget: int) -> None:
        """Admit in order while budget, slots and memory last; who does not fit blocks the queue."""
        memory, size = self.memory, self.memory.block_size
        running, waiting = self.running, self.waiting
        while waiting and budget and len(running) < self._max_seqs:
            request = waiting[0]
            known = request.known_tokens
            hit = memory.lookup(request.table, known)
            fit = known
            if not self.options.scheduler_reserve_full_isl:
                fit = min(known, hit.blocks * size + min(limit, budget))
            spare = self._watermark if running else 0
            if -(-fit // size) - hit.blocks + hit.idle + spare > memory.free_blocks:
                return
            waiting.popleft()
            cached = memory.acquire(request.table, hit)
            tokens = min(known - cached, limit, budget)
            memory.take(-(-(cached + tokens) // size) - hit.blocks)
            memory.publish(request.table, cached + tokens)
            request.computed = cached
            request.phase = PREFILL
            running[request] = None
            self._log.admit(request, self._env.now, cached, self.totals)
            step.admitted.append((request, cached))
            step.scheduled[request] = tokens
            budget -= tokens

    def _advance(self, step: Step) -> None:
        """Count the step's tokens as computed, note who samples, and how long the step takes."""
        latency = self._latency
        decodes = context = 0
        prefills = []
        for request, tokens in step.scheduled.items():
            if request.phase == DECODE:
                decodes += 1
                context += request.computed
                request.computed += 1
                step.sampled.append(request)
                continue
            prefills.append((request.computed, tokens))
            request.computed += tokens
            if request.computed == request.known_tokens:
                request.phase = DECODE
                step.sampled.append(request)
        self.totals.scheduled_tokens += sum(step.scheduled.values())
        step.duration_s = self._duration_s(step, prefills, decodes, context)
        self.totals.extrapolated_s += latency.extrapolated_s(prefills, decodes, context, step.duration_s)

    def _duration_s(self, step: Step, prefills: list[tuple[int, int]], decodes: int, context: int) -> float:
        """How long ``step`` takes: predicted here, measured where a replica really computes its steps."""
        latency, total = self._latency, sum(step.scheduled.values())
        duration_s = latency.fixed_s(total, len(step.scheduled)) + latency.decode_s(decodes, context)
        for cached, new in prefills:
            duration_s += latency.prefill_s(cached, new)
        return duration_s

    def _note(self, step: Step, recorder: StepRecorder) -> None:
        admitted = [(request.index, cached, request.preemptions) for request, cached in step.admitted]
        step.record = StepRecord(
            step=len(recorder.records),
            replica=self.number,
            scheduled_s=self._env.now,
            sched=[(request.index, tokens) for request, tokens in step.scheduled.items()],
            new=[(index, cached) for index, cached, preemptions in admitted if not preemptions],
            resumed=[(index, cached) for index, cached, preemptions in admitted if preemptions],
            preempted=[request.index for request in step.preempted],
            evicted=recorder.take_evicted(),
            free=self.memory.free_blocks,
            running=len(self.running),
            waiting=len(self.waiting),
        )
        recorder.records.append(step.record)

    def check(self) -> None:
        """Assert the invariants of queues, batch and memory. O(running + waiting + cache)."""
        memory, size = self.memory, self.memory.block_size
        memory.check()
        private = 0
        for request in self.running:
            assert request.phase != WAITING and request.generated < request.output_tokens
            assert 0 < request.computed <= _final_tokens(request)
            in_flight = request.computed - request.known_tokens + 1
            assert in_flight in (0, 1, 2) if request.phase == DECODE else in_flight <= 0
            private += -(-request.computed // size) - request.table.published
        assert private + memory.cached_blocks + memory.empty_blocks == memory.capacity_blocks
        assert len(self.running) <= self._max_seqs
        assert all(request.phase == WAITING and not request.computed for request in self.waiting)
        if self._by_priority:
            ranks = [self._rank(request) for request in self.waiting]
            assert ranks == sorted(ranks)
        if self.recorder is not None:
            evicted = self.totals.evicted_blocks + memory.evicted_blocks
            assert self.recorder.evicted_blocks == evicted, "evictions go unreported"


def _final_tokens(request: Request) -> int:
    """Tokens with KV when its last token is sampled, which gets none."""
    return request.prompt_tokens + request.output_tokens - 1
