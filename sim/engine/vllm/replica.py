"""One replica of vLLM: a queue, a scheduler, KV memory and a clock.

The replica asks its scheduler for a batch, computes it, applies its results, and asks again. It alone sets
events and writes what requests and totals record; the scheduler only decides. A run of equal steps is one
event, which an arrival may cut short.

Asynchronous scheduling keeps one step in flight. When step s - 1 ends, its results are applied, step s + 1
is scheduled, and step s, scheduled before, begins to compute. From idle two steps are scheduled at once.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.caches.groups.cache import EngineMemory, GroupedCache
from sim.engine.events import Clock
from sim.engine.interface import Compute, Heard
from sim.engine.latency import IterationTime
from sim.engine.leaving import Leaving, Lost
from sim.engine.loads import Loads, Source
from sim.engine.lockstep import Lockstep
from sim.engine.request import GONE, WAITING, Request
from sim.engine.step_records import StepRecorder
from sim.engine.timer import Timer
from sim.engine.vllm.batch import Batch
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.decoding import Decoding
from sim.engine.vllm.durations import Durations
from sim.engine.vllm.notes import Notes
from sim.engine.vllm.run_scheduler import RunScheduler
from sim.engine.vllm.speculation import Drafter
from sim.engine.vllm.step_scheduler import Rank, StepScheduler
from sim.results.step_log import StepLog
from workloads.content import Route


class VllmReplica:
    """Requests come by `submit`; ``finished(request)`` is called when the last token of one is there,
    ``left(request)`` when one leaves before it.

    ``compute`` gives the duration of a step in the place of the latency model. With it, with a
    ``recorder``, where each token is ``heard``, and with options that the fast scheduler does not know,
    every step is decided and is an event.
    """

    __slots__ = (  # more attributes than CPython finds fast in an object without
        "_ahead", "_asks_time", "_asynchronous", "_changed", "_compute", "_computing", "_durations", "_env",
        "_fast_forward", "_finished", "_groups", "_heard", "_latency", "_leaving", "_left", "_loads",
        "_lockstep", "_notes", "_options", "_rank", "_repeated", "_repeating", "_runs", "_scheduler",
        "_source", "_timer", "memory", "number", "recorder", "steps", "totals",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        env: Clock,
        memory: EngineMemory,
        latency: IterationTime,
        options: SchedulerOptions,
        *,
        finished: Callable[[Request], None],
        left: Callable[[Request], None],
        rank: Callable[[Request], Rank],
        fast_forward: bool = True,
        source: Source | None = None,
        recorder: StepRecorder | None = None,
        compute: Compute | None = None,
        drafter: Drafter | None = None,
        lockstep: Lockstep | None = None,
        heard: Heard | None = None,
    ) -> None:
        self.number = number
        self.recorder = recorder
        self._env = env
        self._latency = latency
        self._options = options
        self._finished = finished
        self._left = left
        self._rank = rank
        self._compute = compute
        self._heard = heard
        self._fast_forward = fast_forward and lockstep is None
        self._lockstep = lockstep
        self._source = source
        self._timer = Timer(number, env, self._end)
        self._notes = Notes(number, latency, self._timer, recorder, heard)
        self._durations = Durations(latency, self._timer, self._notes, drafter)
        self.steps, self.totals = self._notes.steps, self._notes.totals
        self._leaving = Leaving(self._timer, self._abandon, self._woken)
        self._changed: Callable[[int], None] | None = None  # where a router watches
        self._asynchronous = options.async_scheduling
        self._computing: Batch | None = None
        self._ahead: Batch | None = None  # asynchronous: scheduled, waiting for the one that computes
        self._repeated = 0  # steps of the run under way that the scheduler has counted
        self._start_on(memory)

    def _start_on(self, memory: EngineMemory) -> None:
        self.memory = memory
        self._loads = None if self._source is None else Loads(self._source)
        self._runs: RunScheduler | None = None  # the scheduler, if steps may pass in runs
        cuts = isinstance(memory, GroupedCache) and memory.has_states
        singly = self.recorder is not None or self._compute is not None or self._heard is not None
        if not singly and self._options.plain and not cuts:
            longest = self._latency.is_uneven
            self._runs = RunScheduler(memory, self._options, self._loads, knows_longest=longest)
        self._scheduler = self._runs or StepScheduler(memory, self._options, self._loads, self._rank)
        self._repeating = self._runs if self._fast_forward else None
        self._groups = memory if isinstance(memory, GroupedCache) else None
        self._asks_time = memory.asks_time

    # -- what others see ---------------------------------------------------------------------------

    @property
    def work(self) -> StepLog:
        """Iterations so far: here gaps between tokens and iterations are the same."""
        return self.steps

    @property
    def queued(self) -> int:
        """Requests waiting."""
        return len(self._scheduler.waiting)

    @property
    def load(self) -> int:
        """Requests waiting, loading and running."""
        loading = 0 if self._loads is None else len(self._loads.loading)
        return len(self._scheduler.waiting) + len(self._scheduler.running) + loading

    @property
    def held_blocks(self) -> int:
        """KV blocks that requests hold at this moment."""
        self._catch_up()
        return self.memory.capacity_blocks - self.memory.free_blocks

    @property
    def queued_tokens(self) -> int:
        """Known tokens of the waiting requests, whatever of them is cached."""
        return self._scheduler.waiting_tokens

    def cached_tokens(self, route: Route, tokens: int) -> int:
        """Tokens of a prompt that a lookup would find at this moment."""
        self._catch_up()
        return self._scheduler.cached_tokens(route, tokens)

    def watch(self, changed: Callable[[int], None]) -> None:
        """Have ``changed(number)`` called whenever the queue or the batch changes, until watched anew."""
        self._changed = changed

    def submit(self, request: Request) -> None:
        """Queue ``request``; an idle replica begins a step once this instant's arrivals are in."""
        must_look = self._scheduler.enqueue(request)
        if self._changed is not None:
            self._changed(self.number)
        if self._timer.is_idle:
            self._timer.wake(self._woken)
        elif must_look and self._timer.steps > 1:
            self._timer.cut()

    # -- steps in time -----------------------------------------------------------------------------

    def _woken(self) -> None:
        """Look whether there is something to compute, after a rest."""
        if self._lockstep is not None and self._lockstep.until_s > self._env.now_s:
            self._timer.wake(self._woken, self._lockstep.until_s)
            return
        if self._asks_time:
            self.memory.now_s = self._env.now_s
        self._begin()

    def _begin(self) -> None:
        """Begin the step scheduled ahead, or schedule one; asynchronous: schedule the next one too."""
        if self._leaving.is_due and self._leaving.happen(self._scheduler, self._ahead):
            self._ahead = None
        batch = self._ahead
        if batch is None or not batch.tokens:
            self._ahead = None
            batch = self._next_with_tokens(batch)
            if batch is None:
                self._computing = None
                self._timer.stop()
                if self._changed is not None:
                    self._changed(self.number)
                return
        if self._asynchronous:
            self._ahead = self._plan(batch)
        self._start(batch)

    def _next_with_tokens(self, batch: Batch | None) -> Batch | None:
        """The next step that computes something; ``batch`` was scheduled ahead and does not, if it is one.

        All had their last token in flight, were preempted for it, or load.
        """
        was_ahead = batch is not None
        if batch is None:
            batch = self._plan(None)
        while batch is not None and not batch.tokens:
            if not was_ahead and not batch.preempted:
                self._apply(batch)
                return None
            following = self._plan(batch if self._asynchronous else None)
            self._apply(batch)
            batch, was_ahead = following, False
        return batch

    def _plan(self, in_flight: Batch | None) -> Batch | None:
        """Have a step scheduled, start the loads that it asks for, and note what it decided."""
        now = self._env.now_s
        batch = self._scheduler.plan(now, in_flight)
        if batch is None:
            return None
        self.totals.scheduled_tokens += batch.tokens
        if self._heard is not None and batch.tokens:
            self._heard.iteration(batch.tokens)
        if batch.chunks or batch.preempted or batch.loads or self.recorder is not None:
            self._notes.decided(batch, self._scheduler, now)
            if batch.loads:
                self._load(batch)
        return batch

    def _load(self, batch: Batch) -> None:
        """Begin the loads that ``batch`` asks for."""
        assert self._source is not None
        for request, found in batch.loads:
            self._timer.call_at(self._source.fetch(request, found), self._loaded, request)

    def _loaded(self, request: Request) -> None:
        """What a request waited for is there: it is the next one to be admitted."""
        if request.phase == GONE:
            return
        self._catch_up()
        must_look = self._scheduler.loaded(request)
        if self._changed is not None:
            self._changed(self.number)
        if self._timer.is_idle:
            self._timer.wake(self._woken)
        elif must_look:
            self._timer.cut()

    def _start(self, batch: Batch) -> None:
        """Compute ``batch`` from now on, and as many steps of decodes as may follow."""
        self._computing, self._repeated = batch, 0
        runs = self._repeating
        if runs is not None and (more := runs.repeats(batch, self._ahead)):
            self._durations.start_run(batch, self._ahead, runs.decodes, 1 + more)
        else:
            self._start_one(batch)
        if self._changed is not None:
            self._changed(self.number)

    def _start_one(self, batch: Batch) -> None:
        """Compute ``batch`` alone."""
        seconds = self._durations.of(batch)
        if self._compute is not None:
            seconds = self._compute(batch, self.memory, seconds)
        if self._lockstep is not None:
            self._lockstep.enter(self._env, self._timer, seconds)
        else:
            self._timer.start(seconds, 0.0, 1)

    def _catch_up(self) -> None:
        """Let the scheduler count the steps of the run under way that have begun by now."""
        if self._runs is not None:
            self._scheduled(self._runs.decoding, self._timer.begun())

    def _scheduled(self, decoding: Decoding, steps: int) -> None:
        """``steps`` steps of the run under way have begun."""
        new, batch = steps - 1 - self._repeated, self._computing
        if new > 0:
            assert batch is not None
            self._ahead, tokens = decoding.repeat(batch, self._ahead, new)
            self.totals.scheduled_tokens += tokens
            self._repeated += new
        decoding.settle()

    def _end(self, steps: int) -> None:
        """Apply the results of the steps that end now, then begin the next one."""
        batch, runs, now = self._computing, self._runs, self._env.now_s
        assert batch is not None
        if self._asks_time:
            self.memory.now_s = now
        if runs is None:
            self._verify(batch)
        else:
            self._scheduled(runs.decoding, steps)
        self.totals.note_usage(self.memory)
        if self._groups is not None:
            self.totals.max_used_blocks = max(self.totals.max_used_blocks, self._groups.peak_blocks)
        self._notes.ended(batch, steps, now)
        if batch.finishing or self.recorder is not None:
            self._apply(batch)
        self._begin()

    def _verify(self, batch: Batch) -> None:
        """See which drafts of ``batch`` are accepted, if it has any."""
        if batch.shares is not None and batch.shares.sampled is not None:
            assert isinstance(self._scheduler, StepScheduler)
            self._scheduler.drafts.verify(batch, self._ahead, self.totals)

    def _apply(self, batch: Batch) -> None:
        """Release the requests that have their last token, in order."""
        now, number, leaving, finished = self._env.now_s, self.number, self._leaving, self._finished
        for request in batch.finishing:
            phase = request.phase
            if phase == GONE:
                continue
            if phase == WAITING:
                self._notes.needless(request)
            self._scheduler.finish(request)
            if leaving.is_due and leaving.was_given_up(request):
                self._abandon(request)
            else:
                request.finished(now, number)
                if self._changed is not None:
                    self._changed(number)
                finished(request)
        if self.recorder is not None:
            self._notes.complete(batch, self.memory.capacity_blocks - self.memory.free_blocks, now)

    # -- requests that leave early -----------------------------------------------------------------

    def abort(self, request: Request) -> None:
        """Drop ``request``: at once if it waits, else when the iteration under way ends."""
        if self._changed is not None:
            self._changed(self.number)
        self._notes.leads_ended(self._timer.begun() - 1)  # what has happened is the request's
        self._leaving.give_up(request, self._scheduler)

    def fail(self, lost: Lost) -> None:
        """Die at the end of the iteration under way; ``lost`` is then called with its requests."""
        if self._changed is not None:
            self._changed(self.number)
        self._leaving.fail(lost, self._scheduler)

    def restart(self, memory: EngineMemory, source: Source | None) -> None:
        """Come back after a failure, with an empty ``memory`` and a ``source`` of its own."""
        assert not self.load
        self.totals.evicted_blocks += self.memory.evicted_blocks
        self._source = source
        self._start_on(memory)

    def _abandon(self, request: Request) -> None:
        self._notes.abandoned(request)
        self._left(request)

    def check(self) -> None:
        """Assert the invariants of queues, batch and memory. O(running + waiting + cache)."""
        self._catch_up()
        self._scheduler.check()
        if self.recorder is not None:
            evicted = self.totals.evicted_blocks + self.memory.evicted_blocks
            assert self.recorder.evicted_blocks == evicted, "evictions go unreported"
