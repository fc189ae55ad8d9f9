"""What a replica of SGLang writes down: totals, its requests' rows, gaps between tokens, recorded steps."""

from __future__ import annotations

from sim.engine.interface import Heard
from sim.engine.latency import IterationTime
from sim.engine.request import GONE, WAITING
from sim.engine.sglang.batch import SglangBatch
from sim.engine.sglang.decodes import TokenTimes
from sim.engine.sglang.request import SglangRequest
from sim.engine.sglang.scheduler import SglangScheduler
from sim.engine.step_records import StepRecord, StepRecorder
from sim.engine.timer import Timer
from sim.results.records import EngineTotals
from sim.results.step_log import StepLog


class Notes:
    """The records of replica ``number``; with a ``recorder`` those of every step too."""

    def __init__(
        self,
        number: int,
        latency: IterationTime,
        recorder: StepRecorder | None,
        heard: Heard | None = None,
    ) -> None:
        self.steps = StepLog()
        self.work = StepLog()
        self.totals = EngineTotals()
        self.recorder = recorder
        self._heard = heard
        self._number = number
        self._latency = latency
        self._times = TokenTimes()
        self._retracted: list[int] = []  # and in no recorded step yet

    def decided(self, batch: SglangBatch, scheduler: SglangScheduler, now: float) -> None:
        """``batch`` has been decided, and requests have been admitted and retracted with it."""
        totals = self.totals
        totals.scheduled_tokens += batch.tokens
        if batch.loads:
            totals.loaded_tokens += sum(found.tokens for _, found in batch.loads)
        memory = scheduler.memory
        used = memory.private_pages + memory.tree.protected_pages
        if used > totals.max_used_blocks:  # as `note_usage`: this is hot
            totals.max_used_blocks = used
        for request, known, cached in batch.admitted:
            request.admitted(now, known, cached, totals)
        if self.recorder is not None:
            self._record(batch, scheduler, now, self.recorder)
        for request in batch.joined:
            self._times.join(request)
        if batch.retracted:
            totals.num_preemptions += len(batch.retracted)
            totals.recomputed_tokens += batch.recomputed
            for request in batch.retracted:
                self._times.leave(request)
                request.preemptions += 1

    def begins(self) -> None:
        """The step that was decided last begins to compute."""
        self._times.begin()

    def ended(self, batch: SglangBatch, timer: Timer, steps: int, now: float) -> None:
        """``steps`` steps like ``batch`` end now: which requests have a token from them."""
        totals, first_s, slope_s = self.totals, timer.first_s, timer.slope_s
        totals.iterations += steps
        totals.busy_s += now - timer.began_s
        self.work.add(now, first_s, slope_s, steps, 0, 0)
        if self._latency.is_bounded:
            chunks = [(before, new) for _, before, new in batch.chunks]
            totals.extrapolated_s += self._latency.extrapolated_s(
                chunks, batch.decodes, batch.context, first_s, slope_s, steps
            )
        if batch.chunks:
            self._note_prefills(batch, first_s, now)
        else:
            self._times.steps(self.steps, now, timer.began_s, first_s, slope_s, steps)
            if self._heard is not None:
                for request in self._times.stepped:
                    self._hear(request, self._heard)

    def _note_prefills(self, batch: SglangBatch, duration_s: float, now: float) -> None:
        """One token for each completed prompt: its first, or the next one after a retraction."""
        tokens = 0
        for request, _, _ in batch.chunks:
            if request is batch.cut or request.phase in (WAITING, GONE):
                continue
            tokens += 1
            row = request.row
            if row.first_token_s != row.first_token_s:  # not a number: none before
                row.first_token_s = now
            else:
                self.steps.add_gap(now, now - request.last_token_s)
            request.last_token_s = now
            self._times.enter(request)
            if self._heard is not None:
                self._hear(request, self._heard)
        self.steps.add(now, duration_s, 0.0, 1, 0, tokens)

    def _hear(self, request: SglangRequest, heard: Heard) -> None:
        request.given += 1
        heard.tokens(request.index, request.given)

    def finished(self, request: SglangRequest, now: float) -> None:
        """``request`` has its last token."""
        self._times.leave(request)
        self.totals.surplus_tokens += request.computed - request.final_tokens
        request.finished(now, self._number)

    def abandoned(self, request: SglangRequest) -> None:
        """``request`` leaves before its last token."""
        self._times.leave(request)
        request.abandoned(self.totals)

    # -- recorded steps ----------------------------------------------------------------------------

    def _record(
        self, batch: SglangBatch, scheduler: SglangScheduler, now: float, recorder: StepRecorder
    ) -> None:
        """Keep a step that computes something; what was decided before one without goes to the next."""
        self._retracted += [request.index for request in batch.retracted]
        if not batch.sequences:
            return
        scheduled = [(request.index, new) for request, _, new in batch.chunks]
        admitted = [(request.index, cached, request.preemptions) for request, _, cached in batch.admitted]
        record = StepRecord(
            step=len(recorder.records),
            replica=self._number,
            scheduled_s=now,
            sched=scheduled or [(request.index, 1) for request in batch.scheduled],
            new=[(index, cached) for index, cached, preemptions in admitted if not preemptions],
            resumed=[(index, cached) for index, cached, preemptions in admitted if preemptions],
            preempted=self._retracted,
            evicted=recorder.take_evicted(),
            free=scheduler.memory.free_blocks,
            running=len(scheduler.running.requests) + len(batch.chunks),
            waiting=len(scheduler.queue.requests),
        )
        self._retracted = []
        recorder.records.append(record)
        recorder.open.append(record)

    def complete(self, done: list[SglangRequest], used_blocks: int, now: float) -> None:
        """The oldest recorded step without an end has ended, and ``done`` with it."""
        if self.recorder is not None:
            record = self.recorder.open.popleft()
            record.end_s = now
            record.finished = [request.index for request in done]
            record.used_blocks = used_blocks
