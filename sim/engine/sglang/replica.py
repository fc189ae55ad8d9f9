"""One replica of SGLang: a queue, a scheduler, the radix tree and a clock.

The replica asks its scheduler for a batch, computes it, has its results applied, and asks again. It alone
sets events and writes what requests and totals record; the scheduler only decides. A run of equal decode
steps is one event, which an arrival may cut short.

With overlap one step is in flight: when step s - 1 ends, its results are applied, step s + 1 is decided,
and step s, decided one step earlier, begins to compute. From idle two steps are decided at once. If no step
can be decided before the results of step s are there, the next one is decided and begins then.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.engine.events import At, Clock
from sim.engine.latency import IterationTime
from sim.engine.leaving import Leaving, Lost
from sim.engine.loads import Loads, Source
from sim.engine.request import GONE, WAITING, Request
from sim.engine.sglang.batch import SglangBatch
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.decodes import TokenTimes
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.request import SglangRequest
from sim.engine.sglang.scheduler import SglangScheduler
from sim.engine.step_records import StepRecord, StepRecorder
from sim.engine.timer import Timer
from sim.results.records import EngineTotals, StepLog
from workloads.content import Route
from workloads.errors import InputError
from workloads.trace import Trace


def _unwatched(number: int) -> None:
    """No router wants to know what changes."""


class SglangReplica:
    """Requests come by `submit`; ``finished(request)`` is called when the last token of one is there or the
    engine has aborted it, ``left(request)`` when one leaves before its last token."""

    def __init__(
        self,
        number: int,
        env: Clock,
        memory: SglangMemory,
        latency: IterationTime,
        options: SglangEngine,
        *,
        trace: Trace,
        finished: Callable[[Request], None],
        left: Callable[[Request], None],
        fast_forward: bool = True,
        source: Source | None = None,
        recorder: StepRecorder | None = None,
    ) -> None:
        self.number = number
        self.steps = StepLog()
        self.work = StepLog()
        self.totals = EngineTotals()
        self.recorder = recorder
        self._env = env
        self._latency = latency
        self._options = options
        self._trace = trace
        self._finished = finished
        self._left = left
        self._fast_forward = fast_forward and recorder is None
        self._overlap = not options.disable_overlap_schedule
        self._timer = Timer(number, env, self._end)
        self._changed: Callable[[int], None] = _unwatched
        self._leaving = Leaving()
        self._times = TokenTimes()
        self._computing: SglangBatch | None = None
        self._ahead: SglangBatch | None = None  # overlap: decided, waiting for the one that computes
        self._repeated = 0  # steps of the run under way that the scheduler has counted
        self._retracted: list[int] = []  # and in no recorded step yet
        self._start_on(memory, source)

    def _start_on(self, memory: SglangMemory, source: Source | None) -> None:
        self.memory = memory
        self._source = source
        self._loads = None if source is None else Loads(source)
        self._scheduler = SglangScheduler(
            memory, self._options, self._loads, self._trace, names_decodes=self.recorder is not None
        )

    # -- what others see ---------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Requests waiting."""
        return len(self._scheduler.queue.requests)

    @property
    def load(self) -> int:
        """Requests waiting, loading and running."""
        return len(self._scheduler.queue.requests) + self._scheduler.present_count

    @property
    def held_blocks(self) -> int:
        """Pages that requests hold at this moment, those of the tree included."""
        self._catch_up()
        return self.memory.capacity_blocks - self.memory.free_blocks

    @property
    def queued_tokens(self) -> int:
        """Known tokens of the waiting requests, whatever of them is cached."""
        return self._scheduler.queue.tokens

    def cached_tokens(self, route: Route, tokens: int) -> int:
        """Tokens of a prompt that a lookup would find at this moment."""
        self._catch_up()
        return self.memory.cached_tokens(route, tokens)

    def watch(self, changed: Callable[[int], None]) -> None:
        """Have ``changed(number)`` called whenever the queue or the batch changes, until watched anew."""
        self._changed = changed

    def submit(self, request: Request) -> None:
        """Queue ``request``; an idle replica begins once this instant's arrivals are in."""
        trace, index, memory = self._trace, request.index, self.memory
        prompt, limit = request.prompt_tokens, request.output_tokens
        if limit == trace.output_tokens[index]:  # else it is prefilled here only, and asks for one token
            limit = self._options.max_new_tokens_of(prompt, limit, memory.capacity_pages, memory.page_size)
        kv = memory.table(trace.reply[index], prompt, index, trace.priority[index])
        must_look = self._scheduler.enqueue(SglangRequest(request, kv, limit))
        self._changed(self.number)
        if self._timer.is_idle:
            self._timer.wake(self._begin)
        elif must_look:
            self._timer.cut()

    # -- steps in time -----------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin the step decided ahead, or decide one; with overlap decide the next one too."""
        if self._leaving.is_due:
            self._let_leave()
        batch, self._ahead = self._ahead, None
        if batch is None:
            batch = self._plan(None)
            if batch is None:
                self._rest()
                return
        self._computing = batch
        self._times.begin()
        if self._overlap:
            self._ahead = self._plan(batch)
        self._start(batch)

    def _plan(self, in_flight: SglangBatch | None) -> SglangBatch | None:
        """Have a step decided; None if nothing is to be computed, at least until ``in_flight`` is."""
        while True:
            batch = self._decide(in_flight)
            if batch.sequences:
                return batch
            if in_flight is not None or not (batch.retracted or batch.aborted):
                return None

    def _decide(self, in_flight: SglangBatch | None) -> SglangBatch:
        """Have a step decided, and do and note what that entails."""
        now, totals, times = self._env.now, self.totals, self._times
        batch = self._scheduler.plan(in_flight)
        totals.scheduled_tokens += batch.tokens
        totals.num_preemptions += len(batch.retracted)
        totals.recomputed_tokens += batch.recomputed
        for request, known, cached in batch.admitted:
            request.admitted(now, known, cached, totals)
        for request, found in batch.loads:
            assert self._source is not None
            totals.loaded_tokens += found.tokens
            self._timer.call_at(self._source.fetch(request, found), self._loaded, request)
        totals.note_usage(self.memory)
        if self.recorder is not None:
            self._record(batch, self.recorder)
        for request in batch.joined:
            times.join(request)
        for request in batch.retracted:
            times.leave(request)
            request.preemptions += 1
        if batch.aborted is not None:
            self._abort(batch.aborted)
        return batch

    def _abort(self, request: SglangRequest) -> None:
        """The engine gives ``request`` up."""
        self._times.leave(request)
        self._abandon(request)
        request.row.aborted = True
        request.row.replica = self.number
        self._changed(self.number)
        self._finished(request)

    def _rest(self) -> None:
        """Nothing can be computed: an engine with a request that it can never admit would try on."""
        scheduler, memory = self._scheduler, self.memory
        self._computing = None
        self._timer.stop()
        self._changed(self.number)
        if self._loads is not None and self._loads.loading:
            return
        for request in scheduler.queue.requests[:1]:
            raise InputError(
                f"replica {self.number} can never admit {self._trace.where(request.index)}: "
                f"{request.known_tokens} known tokens and a reply of up to {request.max_new_tokens}; "
                f"allowed: less than {memory.capacity_pages * memory.page_size} together, with a page over"
            )
        scheduler.running.ratio.reset()

    def _loaded(self, event: At) -> None:
        """What a request waited for is there: it is the next one to be admitted."""
        request: SglangRequest = event.subject
        if request.phase == GONE:
            return
        self._catch_up()
        self.totals.note_usage(self.memory)  # copies of what others have brought in are freed now
        must_look = self._scheduler.loaded(request)
        self._changed(self.number)
        if self._timer.is_idle:
            self._timer.wake(self._begin)
        elif must_look:
            self._timer.cut()

    def _start(self, batch: SglangBatch) -> None:
        """Compute ``batch`` from now on, and as many equal steps as may follow."""
        self._repeated = 0
        latency = self._latency
        steps = 1
        if self._fast_forward:
            steps += self._scheduler.repeats(batch, self._ahead)
        seconds = latency.fixed_s(batch.tokens, batch.sequences)
        for _, before, new in batch.chunks:
            seconds += latency.prefill_s(before, new)
        if batch.decodes:
            seconds += latency.decode_s(batch.decodes, batch.context)
        self._timer.start((), seconds, latency.slope_s(batch.decodes), steps)
        self._changed(self.number)

    def _catch_up(self) -> None:
        """Let the scheduler count the steps of the run under way that have begun by now."""
        self._repeat(self._timer.begun() - 1)

    def _repeat(self, steps: int) -> None:
        new = steps - self._repeated
        if new > 0:
            assert self._computing is not None
            self._ahead, tokens = self._scheduler.running.repeat(self._computing, self._ahead, new)
            self.totals.scheduled_tokens += tokens
            self._repeated = steps

    def _end(self, steps: int) -> None:
        """Apply the results of the steps that end now, then begin the next one."""
        batch, timer, totals, now = self._computing, self._timer, self.totals, self._env.now
        assert batch is not None
        self._repeat(steps - 1)
        totals.note_usage(self.memory)
        totals.iterations += steps
        totals.busy_s += now - timer.began_s
        self.work.add(now, timer.first_s, timer.slope_s, steps, 0, 0)
        if self._latency.is_bounded:
            totals.extrapolated_s += self._latency.extrapolated_s(
                [(before, new) for _, before, new in batch.chunks],
                batch.decodes,
                batch.context,
                timer.first_s,
                timer.slope_s,
                steps,
            )
        if batch.chunks:
            self._note_first_tokens(batch, now)
        else:
            self._times.steps(self.steps, now, timer.began_s, timer.first_s, timer.slope_s, steps)
        done = []
        for request in self._scheduler.results(batch):
            self._times.leave(request)
            if self._leaving.was_given_up(request):
                self._abandon(request)
                continue
            totals.surplus_tokens += request.computed - request.final_tokens
            request.finished(now, self.number)
            done.append(request)
        if self.recorder is not None:
            record = self.recorder.open.popleft()
            record.end_s = now
            record.finished = [request.index for request in done]
            record.used_blocks = self.memory.capacity_blocks - self.memory.free_blocks
        for request in done:
            self._changed(self.number)
            self._finished(request)
        self._begin()

    def _note_first_tokens(self, batch: SglangBatch, now: float) -> None:
        """One token for each completed prompt: its first, or the next one after a retraction."""
        tokens = 0
        for request in batch.completed:
            if request.phase in (WAITING, GONE):
                continue
            tokens += 1
            row = request.row
            if row.first_token_s != row.first_token_s:  # not a number: none before
                row.first_token_s = now
            else:
                self.steps.add_gap(now, now - request.last_token_s)
            request.last_token_s = now
            self._times.enter(request)
        self.steps.add(now, self._timer.first_s, 0.0, 1, 0, tokens)

    # -- requests that leave early -----------------------------------------------------------------

    def abort(self, request: Request) -> None:
        """Drop ``request``: at once if it waits, else when the iteration under way ends."""
        self._changed(self.number)
        scheduler = self._scheduler
        for mine in [*scheduler.queue.requests, *scheduler.present()]:
            if mine.submitted is request:
                break
        mine.given_up()
        if mine.phase == WAITING:
            scheduler.queue.withdraw(mine)
            self._abandon(mine)
        else:
            self._leaving.give_up(mine)
        self._look()

    def fail(self, lost: Lost) -> None:
        """Die at the end of the iteration under way; ``lost`` then hears which requests were here."""
        self._leaving.fail(lost)
        self._look()

    def _look(self) -> None:
        """Look at the queue and at who leaves as soon as the iteration under way ends."""
        if not self._timer.is_idle:
            self._timer.cut()
            return
        if self._leaving.is_due:
            self._let_leave()
            self._changed(self.number)
        if self._scheduler.queue.requests:
            self._timer.wake(self._begin)

    def restart(self, memory: SglangMemory, source: Source | None) -> None:
        """Come back after a failure, with an empty ``memory`` and a ``source`` of its own."""
        assert not self.load
        self.totals.evicted_blocks += self.memory.evicted_blocks
        self._start_on(memory, source)

    def _let_leave(self) -> None:
        """Between two steps: drop what was given up, and everything if the replica fails."""
        self._timer.take_turn()
        scheduler, lost_to = self._scheduler, self._leaving.failed
        leave, wanted = self._leaving.divide(list(scheduler.present()))
        for request in leave:
            assert isinstance(request, SglangRequest)
            scheduler.drop(request)
            self._times.leave(request)
            self._abandon(request)
        if lost_to is not None:
            for request in list(scheduler.queue.requests):
                scheduler.queue.withdraw(request)
                self._abandon(request)
                wanted.append(request)
            self._leaving.failed = self._ahead = None
            lost_to(wanted)

    def _abandon(self, request: Request) -> None:
        request.abandoned(self.totals)
        self._left(request)

    # -- records and checks ------------------------------------------------------------------------

    def _record(self, batch: SglangBatch, recorder: StepRecorder) -> None:
        """Keep a step that computes something; what was decided before one without goes to the next."""
        self._retracted += [request.index for request in batch.retracted]
        if not batch.sequences:
            return
        scheduler = self._scheduler
        scheduled = [(request.index, new) for request, _, new in batch.chunks]
        admitted = [(request.index, cached, request.preemptions) for request, _, cached in batch.admitted]
        record = StepRecord(
            step=len(recorder.records),
            replica=self.number,
            scheduled_s=self._env.now,
            sched=scheduled or [(request.index, 1) for request in batch.scheduled],
            new=[(index, cached) for index, cached, preemptions in admitted if not preemptions],
            resumed=[(index, cached) for index, cached, preemptions in admitted if preemptions],
            preempted=self._retracted,
            evicted=recorder.take_evicted(),
            free=self.memory.free_blocks,
            running=len(scheduler.running.requests) + len(batch.chunks),
            waiting=len(scheduler.queue.requests),
        )
        self._retracted = []
        recorder.records.append(record)
        recorder.open.append(record)

    def check(self) -> None:
        """Assert the invariants of queue, batch and memory. O(running + waiting + cache)."""
        self._catch_up()
        self._scheduler.check()
        if self.recorder is not None:
            evicted = self.totals.evicted_blocks + self.memory.evicted_blocks
            assert self.recorder.evicted_blocks == evicted, "evictions go unreported"
