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

from sim.engine.events import Clock
from sim.engine.interface import Heard
from sim.engine.latency import IterationTime
from sim.engine.leaving import Leaving, Lost
from sim.engine.loads import Loads, Source
from sim.engine.request import GONE, Request
from sim.engine.sglang.batch import SglangBatch
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.notes import Notes
from sim.engine.sglang.request import SglangRequest
from sim.engine.sglang.scheduler import SglangScheduler
from sim.engine.step_records import StepRecorder
from sim.engine.timer import Timer
from workloads.content import Route
from workloads.errors import InputError
from workloads.trace import Trace


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
        heard: Heard | None = None,
    ) -> None:
        self.number = number
        self.recorder = recorder
        self._notes = notes = Notes(number, latency, recorder, heard)
        self.steps, self.work, self.totals = notes.steps, notes.work, notes.totals
        self._env, self._latency = env, latency
        self._options, self._trace = options, trace
        self._finished, self._left = finished, left
        self._fast_forward = fast_forward and recorder is None and heard is None
        self._heard = heard
        self._overlap = not options.disable_overlap_schedule
        self._timer = Timer(number, env, self._end)
        self._changed: Callable[[int], None] | None = None  # nobody watches
        self._leaving = Leaving(self._timer, self._abandon, self._begin)
        self._computing: SglangBatch | None = None
        self._ahead: SglangBatch | None = None  # overlap: decided, waiting for the one that computes
        self._repeated = 0  # steps of the run under way that the scheduler has counted
        self._start_on(memory, source)

    def _start_on(self, memory: SglangMemory, source: Source | None) -> None:
        self.memory = memory
        self._source = source
        self._loads = None if source is None else Loads(source)
        self._scheduler = SglangScheduler(
            memory,
            self._options,
            self._loads,
            self._trace,
            names_decodes=self.recorder is not None,
            knows_longest=self._latency.is_uneven,
        )

    # -- what others see ---------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Requests waiting."""
        return len(self._scheduler.waiting)

    @property
    def load(self) -> int:
        """Requests waiting, loading and running."""
        return len(self._scheduler.waiting) + self._scheduler.present_count

    @property
    def held_blocks(self) -> int:
        """Pages that requests hold at this moment, those of the tree included."""
        self._catch_up()
        return self.memory.capacity_blocks - self.memory.free_blocks

    @property
    def queued_tokens(self) -> int:
        """Known tokens of the waiting requests, whatever of them is cached."""
        return self._scheduler.waiting_tokens

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
        kv = memory.table_on(request.table.route, prompt, index, trace.priority[index])
        must_look = self._scheduler.enqueue(SglangRequest(request, kv, limit))
        if self._changed is not None:
            self._changed(self.number)
        if self._timer.is_idle:
            self._timer.wake(self._begin)
        elif must_look:
            self._timer.cut()

    # -- steps in time -----------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin the step decided ahead, or decide one; with overlap decide the next one too."""
        if self._leaving.is_due and self._leaving.happen(self._scheduler, None):
            self._ahead = None
        batch = self._ahead
        if batch is None:
            batch = self._plan(None)
            if batch is None:
                self._rest()
                return
        self._computing = batch
        if self._loads is not None:  # else no request joins with KV from elsewhere
            self._notes.begins()
        self._ahead = self._plan(batch) if self._overlap else None
        self._start(batch)

    def _plan(self, in_flight: SglangBatch | None) -> SglangBatch | None:
        """Have a step decided, and do and note what that entails.

        None if nothing is to be computed, at least until ``in_flight`` is.
        """
        while True:
            batch = self._scheduler.plan(in_flight)
            self._notes.decided(batch, self._scheduler, self._env.now_s)
            if self._heard is not None and batch.tokens:
                self._heard.iteration(batch.tokens)
            for request, found in batch.loads:
                assert self._source is not None
                self._timer.call_at(self._source.fetch(request, found), self._loaded, request)
            if batch.aborted is not None:
                self._abort(batch.aborted)
            if batch.tokens:
                return batch
            if in_flight is not None or not (batch.retracted or batch.aborted):
                return None

    def _abort(self, request: SglangRequest) -> None:
        """The engine gives ``request`` up."""
        self._abandon(request)
        request.row.aborted = True
        request.row.replica = self.number
        if self._changed is not None:
            self._changed(self.number)
        self._finished(request)

    def _rest(self) -> None:
        """Nothing can be computed: an engine with a request that it can never admit would try on."""
        scheduler, memory = self._scheduler, self.memory
        self._computing = None
        self._timer.stop()
        if self._changed is not None:
            self._changed(self.number)
        if self._loads is not None and self._loads.loading:
            return
        for request in scheduler.waiting[:1]:
            raise InputError(
                f"replica {self.number} can never admit {self._trace.where(request.index)}: "
                f"{request.known_tokens} known tokens and a reply of up to {request.max_new_tokens}; "
                f"allowed: less than {memory.capacity_pages * memory.page_size} together, with a page over"
            )
        scheduler.running.ratio.reset()

    def _loaded(self, request: SglangRequest) -> None:
        """What a request waited for is there: it is the next one to be admitted."""
        if request.phase == GONE:
            return
        self._catch_up()
        self.totals.note_usage(self.memory)  # copies of what others have brought in are freed now
        must_look = self._scheduler.loaded(request)
        if self._changed is not None:
            self._changed(self.number)
        if self._timer.is_idle:
            self._timer.wake(self._begin)
        elif must_look:
            self._timer.cut()

    def _start(self, batch: SglangBatch) -> None:
        """Compute ``batch`` from now on, and as many equal steps as may follow."""
        self._repeated = 0
        latency, chunks = self._latency, batch.chunks
        if chunks:
            seconds = latency.fixed_s(batch.tokens, len(chunks))
            for _, before, new in chunks:
                seconds += latency.prefill_s(before, new)
            self._timer.start(seconds, 0.0, 1)
        else:
            steps = 1
            if self._fast_forward:
                steps += self._scheduler.repeats(batch, self._ahead)
            seconds, slope_s, steps = latency.run(batch.decodes, batch.context, batch.uneven, steps)
            self._timer.start(seconds, slope_s, steps)
        if self._changed is not None:
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
        batch, now = self._computing, self._env.now_s
        assert batch is not None
        if steps > 1:  # else nothing was taken since the last step was decided
            self._repeat(steps - 1)
            self.totals.note_usage(self.memory)
        self._notes.ended(batch, self._timer, steps, now)
        done = []
        for request in self._scheduler.results(batch):
            if self._leaving.was_given_up(request):
                self._abandon(request)
            else:
                self._notes.finished(request, now)
                done.append(request)
        if self.recorder is not None:
            self._notes.complete(done, self.memory.capacity_blocks - self.memory.free_blocks, now)
        for request in done:
            if self._changed is not None:
                self._changed(self.number)
            self._finished(request)
        self._begin()

    # -- requests that leave early -----------------------------------------------------------------

    def abort(self, request: Request) -> None:
        """Drop ``request``: at once if it waits, else when the iteration under way ends."""
        if self._changed is not None:
            self._changed(self.number)
        scheduler = self._scheduler
        present = [*scheduler.waiting, *scheduler.present()]
        mine = next(each for each in present if each.submitted is request)
        self._leaving.give_up(mine, scheduler)

    def fail(self, lost: Lost) -> None:
        """Die at the end of the iteration under way; ``lost`` is then called with its requests."""
        if self._changed is not None:
            self._changed(self.number)
        self._leaving.fail(lost, self._scheduler)

    def restart(self, memory: SglangMemory, source: Source | None) -> None:
        """Come back after a failure, with an empty ``memory`` and a ``source`` of its own."""
        assert not self.load
        self.totals.evicted_blocks += self.memory.evicted_blocks
        self._start_on(memory, source)

    def _abandon(self, request: SglangRequest) -> None:
        self._notes.abandoned(request)
        self._left(request)

    def check(self) -> None:
        """Assert the invariants of queue, batch and memory. O(running + waiting + cache)."""
        self._catch_up()
        self._scheduler.check()
        if self.recorder is not None:
            evicted = self.totals.evicted_blocks + self.memory.evicted_blocks
            assert self.recorder.evicted_blocks == evicted, "evictions go unreported"
