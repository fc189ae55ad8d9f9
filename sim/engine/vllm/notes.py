"""What a replica of vLLM writes down: totals, its requests' rows, gaps between tokens, recorded steps."""

from __future__ import annotations

from sim.engine.interface import Heard
from sim.engine.latency import IterationTime
from sim.engine.request import GONE, WAITING, Request
from sim.engine.step_records import StepRecord, StepRecorder
from sim.engine.timer import Timer
from sim.engine.vllm.batch import NONE, Batch, Shares
from sim.engine.vllm.run_scheduler import RunScheduler
from sim.engine.vllm.step_scheduler import StepScheduler
from sim.results.records import EngineTotals
from sim.results.step_log import StepLog


class Notes:
    """The records of replica ``number``; with a ``recorder`` those of every step too.

    The iterations that end together are those of ``batch`` and equal ones, or *leads* followed by a run of
    decodes: a step with a prompt, say, and ``decodes`` requests that go on after it.
    """

    __slots__ = (
        "_context", "_decodes", "_heard", "_is_bounded", "_latency", "_led_s", "_noted", "_number",
        "_recorder", "_timer", "steps", "totals",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        latency: IterationTime,
        timer: Timer,
        recorder: StepRecorder | None,
        heard: Heard | None = None,
    ) -> None:
        self.steps = StepLog()
        self.totals = EngineTotals()
        self._number = number
        self._latency = latency
        self._is_bounded = latency.is_bounded
        self._timer = timer
        self._recorder = recorder
        self._heard = heard
        self._noted = 0  # leads whose tokens are noted
        self._led_s = 0.0  # their duration
        self._decodes = self._context = 0  # of the run after the leads

    # -- what is decided ---------------------------------------------------------------------------

    def decided(self, batch: Batch, scheduler: RunScheduler | StepScheduler, now: float) -> None:
        """``batch`` has been decided; requests have been admitted, preempted or sent to load with it."""
        totals = self.totals
        for request, known, cached in batch.admitted:
            request.admitted(now, known, cached, totals)
        if batch.loads:
            totals.loaded_tokens += sum(found.tokens for _, found in batch.loads)
        if batch.preempted:
            totals.num_preemptions += len(batch.preempted)
            totals.recomputed_tokens += batch.recomputed
        if batch.chunks or batch.preempted or batch.loads:  # else a recorded step, whose end notes it
            totals.note_usage(scheduler.memory)
        if self._recorder is not None:
            self._record(batch, scheduler, now, self._recorder)

    def begins(self, decodes: int, context: int) -> None:
        """Leads begin, then a run of ``decodes`` that have ``context`` tokens in KV."""
        self._noted, self._led_s = 0, 0.0
        self._decodes, self._context = decodes, context

    # -- what has been computed --------------------------------------------------------------------

    def ended(self, batch: Batch, steps: int, now: float) -> None:
        """``steps`` iterations end now, of which ``batch`` was the first."""
        timer, totals = self._timer, self.totals
        totals.iterations += steps
        totals.busy_s += now - timer.began_s
        if self._is_bounded:
            self._note_extrapolated(batch, steps)
        leads = timer.leads
        if not leads:
            if batch.chunks or batch.lost or batch.left or batch.shares is not None:
                self._note_step(batch, now, timer.first_s, timer.slope_s, steps)
            else:  # decodes alone
                self.steps.add(now, timer.first_s, timer.slope_s, steps, batch.decodes, 0)
            return
        self.leads_ended(steps)
        run = steps - len(leads)
        if run > 0:
            self.steps.add(now, timer.first_s, timer.slope_s, run, self._decodes, 0)

    def leads_ended(self, steps: int) -> None:
        """Note, once, those of the first ``steps`` iterations that come before a run."""
        leads, began_s, led_s = self._timer.leads, self._timer.began_s, self._led_s
        if self._noted or steps < len(leads):
            leads = leads[self._noted : steps]
        for lead, lead_s in leads:
            led_s += lead_s
            self._note_step(lead, began_s + led_s, lead_s, 0.0, 1)
        self._noted += len(leads)
        self._led_s = led_s

    def _note_step(self, batch: Batch, at_s: float, first_s: float, slope_s: float, steps: int) -> None:
        """First tokens, and the gaps that ``batch`` and equal steps end, at ``at_s``."""
        decodes, first_tokens, shares = batch.decodes - batch.lost, 0, batch.shares
        if shares is not None:
            decodes = self._count_decodes(batch, shares, at_s)
        if batch.completed:
            first_tokens = self._note_completed(batch.completed, at_s)
        if shares is not None and shares.given is not None:
            # The tokens of a step come together: one gap, whatever their number.
            first_tokens += sum(shares.given.values()) - len(shares.given)
        if batch.left:
            for request in batch.left:
                request.last_token_s = at_s
        self.steps.add(at_s, first_s, slope_s, steps, decodes, first_tokens)

    def _note_completed(self, requests: list[Request], at_s: float) -> int:
        """The prompts of ``requests`` are complete, which gave each of them a token; how many got it."""
        tokens = 0
        for request in requests:
            if request.phase == GONE:
                continue
            tokens += 1
            row = request.row
            if row.first_token_s != row.first_token_s:  # not a number: none before
                row.first_token_s = at_s
            else:
                self.steps.add_gap(at_s, at_s - request.last_token_s)
            request.last_token_s = at_s
            if self._heard is not None:
                self._heard.tokens(request.index, request.generated)
        return tokens

    def _count_decodes(self, batch: Batch, shares: Shares, at_s: float) -> int:
        """Give each request its token; how many decodes had their last one when this step began.

        The budget may leave out a decode for a step: its gap is longer and is noted by itself.
        """
        given = shares.given
        if given is None:
            for request in batch.completed:
                request.generated += request.phase != GONE
        chunks = {request for request, _, _ in batch.chunks}
        decodes = 0
        for request in shares.tokens:
            if request in chunks or request.phase == GONE:
                continue
            if given is None:
                request.generated += 1
            elif request not in given:
                continue
            if request.last_token_s == self._timer.began_s:
                decodes += 1
            else:
                self.steps.add_gap(at_s, at_s - request.last_token_s)
            request.last_token_s = at_s
            if self._heard is not None:
                self._heard.tokens(request.index, request.generated)
        return decodes

    def _note_extrapolated(self, batch: Batch, steps: int) -> None:
        """Of the time of the iterations that end now, that outside of what the profile measured."""
        timer, leads, extrapolated_s = self._timer, self._timer.leads, self._latency.extrapolated_s
        if not leads:
            self.totals.extrapolated_s += extrapolated_s(
                _prefills(batch), batch.decodes, batch.context, timer.first_s, timer.slope_s, steps
            )
            return
        for lead, lead_s in leads[:steps]:
            self.totals.extrapolated_s += extrapolated_s(
                _prefills(lead), lead.decodes, lead.context, lead_s
            )
        run = steps - len(leads)
        if run > 0:
            self.totals.extrapolated_s += extrapolated_s(
                NONE, self._decodes, self._context, timer.first_s, timer.slope_s, run
            )

    def abandoned(self, request: Request) -> None:
        """``request`` leaves before its last token."""
        request.abandoned(self.totals)

    def needless(self, request: Request) -> None:
        """``request`` was preempted while its last token came: nothing is computed again."""
        assert request.phase == WAITING
        self.totals.recomputed_tokens -= request.final_tokens

    # -- recorded steps ----------------------------------------------------------------------------

    def _record(
        self,
        batch: Batch,
        scheduler: RunScheduler | StepScheduler,
        now: float,
        recorder: StepRecorder,
    ) -> None:
        admitted = [(request.index, cached, request.preemptions) for request, _, cached in batch.admitted]
        assert batch.shares is not None
        record = StepRecord(
            step=len(recorder.records),
            replica=self._number,
            scheduled_s=now,
            sched=[(request.index, tokens) for request, tokens in batch.shares.tokens.items()],
            new=[(index, cached) for index, cached, preemptions in admitted if not preemptions],
            resumed=[(index, cached) for index, cached, preemptions in admitted if preemptions],
            preempted=[request.index for request in batch.preempted],
            evicted=recorder.take_evicted(),
            free=scheduler.memory.free_blocks,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
        )
        recorder.records.append(record)
        recorder.open.append(record)

    def complete(self, batch: Batch, used_blocks: int, now: float) -> None:
        """The results of ``batch`` are applied: so ends the oldest recorded step without an end."""
        if self._recorder is not None:
            record = self._recorder.open.popleft()
            record.end_s = now
            record.finished = [request.index for request in batch.finishing if request.phase != GONE]
            record.used_blocks = used_blocks


def _prefills(batch: Batch) -> list[tuple[int, int]]:
    return [(before, new) for _, before, new in batch.chunks] if batch.chunks else NONE
