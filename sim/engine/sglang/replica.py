"""One engine replica with SGLang's scheduler: prefill first, on the radix tree, replies run by run.

As read from SGLang 0.5.23 (``get_next_batch_to_run`` in ``managers/scheduler.py``, ``retract_decode`` in
``managers/schedule_batch.py``), its loop without overlap. Each pass tries to build a prefill batch; only if
there is none, the running batch decodes one token each. Nobody is admitted during a run of decode steps, so
between two changes of the batch they differ by one token per request: a run is one event, which an arrival
may cut short.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

from sim.engine.batch import Decodes
from sim.engine.events import Clock
from sim.engine.interface import KvMemory
from sim.engine.latency import IterationTime
from sim.engine.leaving import Leaving
from sim.engine.request import DECODE, PREFILL, WAITING, Request
from sim.engine.sglang.admission import CLIP_MAX_NEW_TOKENS, NewTokenRatio, PrefillPass, Verdict
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.decodes import DecodePages, TokenTimes
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.queue import WaitingQueue
from sim.engine.sglang.request import SglangRequest
from sim.engine.sglang.retraction import retract
from sim.engine.steps import StepRecord, StepRecorder
from sim.results.records import ABORTED, COMPLETED, EngineTotals, RequestLog, StepLog
from workloads.errors import InputError


class SglangReplica(Leaving):
    """Waiting requests, at most one begun prompt, a running batch, and the radix cache they live in.

    ``finished(index)`` is called when a request's last token is there, or when it is aborted.
    """

    def __init__(
        self,
        number: int,
        env: Clock,
        memory: SglangMemory,
        latency: IterationTime,
        engine: SglangEngine,
        *,
        fast_forward: bool,
        log: RequestLog,
        finished: Callable[[int], None],
        recorder: StepRecorder | None = None,
    ) -> None:
        assert engine.max_running_requests is not None, "resolved() first"
        super().__init__(number, env)
        self.memory: SglangMemory = memory
        self.steps = StepLog()
        self.work = StepLog()
        self.totals = EngineTotals()
        self.recorder = recorder
        self._latency = latency
        self._engine = engine
        self._max_running = engine.max_running_requests
        self._fast_forward = fast_forward and recorder is None
        self._log = log
        self._finished = finished
        self._queue = WaitingQueue(engine.schedule_policy, memory, log.trace.content)
        self._batch: dict[SglangRequest, None] = {}  # in decode, in SGLang's order
        self._begun: SglangRequest | None = None  # its prompt is begun and not complete
        self._full = False  # nobody is admitted until somebody leaves the batch (batch_is_full)
        self._ratio = NewTokenRatio(engine.schedule_conservativeness)
        self._decodes = Decodes(memory.page_size)
        self._pages = DecodePages(memory, self._decodes)
        self._times = TokenTimes()
        self._order = 0
        self._admitted: list[tuple[SglangRequest, int]] = []  # by the last pass, with their cached tokens
        self._chunks: list[tuple[SglangRequest, int]] = []  # the prefill batch under way; empty: decodes

    # -- what others see ---------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Requests waiting."""
        return len(self._queue.requests)

    @property
    def load(self) -> int:
        """Requests waiting and running."""
        prefilling = len(self._chunks) or (self._begun is not None)
        return len(self._queue.requests) + len(self._batch) + prefilling

    @property
    def held_blocks(self) -> int:
        """Pages that running requests hold at this moment, those of the tree included."""
        self._catch_up()
        return self.memory.capacity_blocks - self.memory.free_blocks

    @property
    def queued_tokens(self) -> int:
        """Known tokens of the waiting requests, whatever of them is cached. O(waiting)."""
        return sum(request.known_tokens for request in self._queue.requests)

    def cached_tokens(self, path: list[int], tokens: int) -> int:
        """Tokens of a prompt that a lookup would find at this moment."""
        self._catch_up()
        return self.memory.cached_tokens(path[-1], tokens)

    def submit(self, request: Request) -> None:
        """Queue ``request``; an idle replica begins once this instant's arrivals are in."""
        trace, index, memory = self._log.trace, request.index, self.memory
        prompt, output = request.prompt_tokens, request.output_tokens
        kv = memory.table(trace.reply[index], prompt, index, trace.priority[index])
        limit = self._engine.max_new_tokens_of(prompt, output, memory.capacity_pages, memory.page_size)
        self._queue.requests.append(SglangRequest(request, kv, limit))
        self._changed(self.number)
        if self._event is None:
            self._schedule(0.0, self._begin)
        elif self._steps > 1 and not self._full and len(self._batch) < self._max_running:
            self._cut()

    # -- time --------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Give the decode steps that have begun by now their pages."""
        if self._steps > 1:
            self._pages.allocate(self._iterations_begun())

    def _begin(self, event: object = None) -> None:
        """Start a prefill batch or, if there is none, a run of decode steps."""
        if self._aborted or self._failed is not None:
            self._let_leave()
        while True:
            self._chunks = self._plan_prefill()
            if self._chunks:
                self._start_prefill()
                return
            if self._batch:
                if self._start_decodes():
                    return
            elif self._queue.requests:
                self._refuse_for_ever()
            else:
                self._ratio.reset()
                self._idle()
                return

    def _end(self, event: object) -> None:
        """Apply the results of what ends now, then go on."""
        steps = self._ended(event)
        if not steps:
            return
        self.totals.iterations += steps
        self.totals.busy_s += self._env.now - self._began_s
        self.work.add(self._env.now, self._first_s, self._slope_s, steps, 0, 0)
        done = self._end_prefill() if self._chunks else self._end_decodes(steps)
        if self.recorder is not None:
            record = self.recorder.records[-1]
            record.end_s = self._env.now
            record.finished = [request.index for request in done]
            record.used_blocks = self.held_blocks
        self._changed(self.number)
        for request in done:
            if self._log.status[request.index] == COMPLETED:  # and not given up before
                self._finished(request.index)
        self._begin()

    # -- prefill -----------------------------------------------------------------------------------

    def _plan_prefill(self) -> list[tuple[SglangRequest, int]]:
        """Who computes how much of its prompt now: the begun one first, then those admitted."""
        begun, batch, waiting = self._begun, self._batch, self._queue.requests
        if not batch:
            self._full = False
        if begun is None and (self._full or not waiting):
            return []
        room = self._max_running - len(batch)
        if begun is None and room <= 0:
            self._full = True
            return []
        self._queue.arrange()
        prefill = PrefillPass(self._engine, self.memory, self._reserved_tokens())
        if begun is not None:
            prefill.resume(begun)
        for request in waiting:
            if prefill.verdict is Verdict.OTHER:
                break
            if len(prefill.admitted) >= room:
                self._full = True
            if self._full:
                break
            verdict = prefill.admit(request)
            if verdict is Verdict.NO_TOKEN:
                self._full = bool(batch)  # one that was empty is replaced with its flag by who joins
            if verdict is not Verdict.GO_ON:
                break
        new = prefill.admitted if begun is None else prefill.admitted[1:]
        del waiting[: len(new)]
        self._admitted = [(request, request.computed) for request, _ in new]
        for request, cached in self._admitted:
            request.phase = PREFILL
            self._log.admit(request, self._env.now, cached, self.totals)
        self._begun = prefill.cut
        return prefill.admitted

    def _reserved_tokens(self) -> float:
        """What the running requests are expected to need yet, added up in their order."""
        ratio = 1.0 if self._engine.ignore_eos else self._ratio.value
        step = self._decodes.step
        return sum(
            [min(request.tokens_to_come(step), CLIP_MAX_NEW_TOKENS) * ratio for request in self._batch]
        )

    def _start_prefill(self) -> None:
        """Make room for the whole batch, a page per request more than needed, and compute."""
        memory, latency, chunks = self.memory, self._latency, self._chunks
        size = memory.page_size
        tokens = sum(chunk for _, chunk in chunks)
        memory.make_room(-(-tokens // size) + (len(chunks) if size > 1 else 0))
        duration_s = latency.fixed_s(tokens, len(chunks))
        for request, chunk in chunks:
            memory.take(request.kv, -(-(request.computed + chunk) // size) - request.kv.held)
            duration_s += latency.prefill_s(request.computed, chunk)
        self.totals.scheduled_tokens += tokens
        if self.recorder is not None:
            self._note(self.recorder, [(request.index, chunk) for request, chunk in chunks], self._admitted)
        self.totals.note_usage(self.memory)
        self._start(duration_s, 0.0, 1)

    def _end_prefill(self) -> list[SglangRequest]:
        """One token for each completed prompt; what was computed enters the tree now, not before."""
        now, chunks = self._env.now, self._chunks
        done: list[SglangRequest] = []
        entered = completed = 0
        self._chunks = []
        for request, chunk in chunks:
            request.computed += chunk
            if request is self._begun:
                continue
            completed += 1
            self._sampled(request, now)
            if request.generated == request.output_tokens:
                done.append(request)
                self._finish(request, now)
            else:
                self.memory.publish(request.kv, request.computed)
                self._enter(request)
                entered += 1
        if self._begun is not None:
            self.memory.publish(self._begun.kv, self._begun.computed)
        if done:
            self._full = False
        self.steps.add(now, self._first_s, 0.0, 1, 0, completed)
        self._times.enter(now, entered)
        return done

    def _sampled(self, request: SglangRequest, now: float) -> None:
        """A completed prefill gives one token: the first, or the next one after a retraction."""
        request.generated += 1
        if request.generated == 1:
            self._log.first_token_s[request.index] = now
        else:
            self.steps.add_gap(now, now - request.last_token_s)
        request.last_token_s = now

    def _enter(self, request: SglangRequest) -> None:
        """``request`` goes on token by token, last in the batch."""
        self._order += 1
        request.order = self._order
        self._batch[request] = None
        self._decodes.enter(request)

    def _finish(self, request: SglangRequest, now: float) -> None:
        self.memory.publish(request.kv, request.computed)
        self.memory.release(request.kv)
        if self._nobody_waits_for(request):
            return
        self._log.finish(request, now, self.number)

    # -- decode ------------------------------------------------------------------------------------

    def _start_decodes(self) -> bool:
        """Start a run of decode steps, retracting who does not fit; False if nobody is left."""
        decodes, pages, latency = self._decodes, self._pages, self._latency
        retracted: list[SglangRequest] = []
        if pages.next_step_fits():
            self._ratio.decay(1)
        else:
            retracted = self._retract()
            if not self._batch:
                return False
        pages.allocate(1)
        count, steps = decodes.count, 1
        if self._fast_forward and (self._full or not self._queue.requests):
            steps = decodes.next_finish() - decodes.step
            if steps > 1:
                steps = pages.steps_that_fit(steps)
        first_s = latency.decode_s(count, decodes.context) + latency.fixed_s(count, count)
        if self.recorder is not None:
            self._note(self.recorder, [(request.index, 1) for request in self._batch], [], retracted)
        self.totals.note_usage(self.memory)
        self._start(first_s, latency.slope_s(count), steps)
        return True

    def _end_decodes(self, steps: int) -> list[SglangRequest]:
        """One token more per request and step; who is complete leaves in the order of the batch."""
        decodes, now = self._decodes, self._env.now
        self._pages.allocate(steps)
        self.totals.note_usage(self.memory)
        self.totals.scheduled_tokens += decodes.count * steps
        self._ratio.decay(steps - 1)
        self._times.log(self.steps, now, self._began_s, self._first_s, self._slope_s, steps)
        done = []
        for request in decodes.advance(steps):
            assert isinstance(request, SglangRequest)
            del self._batch[request]
            self._pages.leave(request)
            self._finish(request, now)
            done.append(request)
        if done:
            self._full = False
        self._pages.allocated = 0
        self._times.step(now, len(self._batch))
        return done

    def _retract(self) -> list[SglangRequest]:
        """Take requests out of the batch until the others can decode; those that queue again."""
        for request in self._batch:
            self._decodes.leave(request)
            self._pages.leave(request)
        by_priority = self._engine.retraction_policy == "priority"
        priority = self._log.trace.priority if by_priority else None
        kept, retracted, aborted = retract(list(self._batch), priority, self.memory)
        for request in retracted:
            self._put_back(request)
        if aborted is not None:
            self._times.leave(aborted)
            if self._nobody_waits_for(aborted):
                aborted = None
            else:
                self._log.abandon(aborted, self.totals)
                self._log.end(aborted.index, ABORTED)
                self._log.replica[aborted.index] = self.number
        self._batch = {}
        for request in kept:
            self._enter(request)
        self._ratio.retracted(kept)
        self._full = False
        if aborted is not None:
            self._changed(self.number)
            self._finished(aborted.index)
        return retracted

    def _put_back(self, request: SglangRequest) -> None:
        """Queue a retracted request last; its generated tokens are kept."""
        self._times.leave(request)
        self.totals.num_preemptions += 1
        self.totals.recomputed_tokens += request.computed
        request.preemptions += 1
        request.computed = 0
        request.phase = WAITING
        self._queue.requests.append(request)

    def _refuse_for_ever(self) -> None:
        """Raise InputError: an engine would try the head of the queue again and again."""
        request = self._queue.requests[0]
        raise InputError(
            f"replica {self.number} can never admit {self._log.trace.where(request.index)}: "
            f"{request.known_tokens} known tokens and a reply of up to {request.max_new_tokens}; allowed: "
            f"less than {self.memory.capacity_pages * self.memory.page_size} together, with a page to spare"
        )

    # -- requests that leave early -----------------------------------------------------------------

    def restart(self, memory: KvMemory) -> None:
        """As every replica does; the queue looks prefixes up in the memory, and the ratio starts anew."""
        super().restart(memory)
        self._queue = WaitingQueue(self._engine.schedule_policy, self.memory, self._log.trace.content)
        self._pages = DecodePages(self.memory, self._decodes)
        self._ratio = NewTokenRatio(self._engine.schedule_conservativeness)

    def _queued(self) -> MutableSequence[Any]:
        return self._queue.requests

    def _present(self) -> list[Request]:
        return [*self._batch, *([] if self._begun is None else [self._begun])]

    def _drop(self, request: Request) -> None:
        assert isinstance(request, SglangRequest)
        if request is self._begun:
            self._begun = None
            self.memory.release(request.kv)
        else:
            self._decodes.leave(request)
            self._pages.leave(request)
            del self._batch[request]
            self._times.leave(request)
            self.memory.release(request.kv)
        self._full = False

    # -- records and checks ------------------------------------------------------------------------

    def _note(
        self,
        recorder: StepRecorder,
        sched: list[tuple[int, int]],
        admitted: list[tuple[SglangRequest, int]],
        retracted: Sequence[SglangRequest] = (),
    ) -> None:
        recorder.records.append(
            StepRecord(
                step=len(recorder.records),
                replica=self.number,
                scheduled_s=self._env.now,
                sched=sched,
                new=[(request.index, cached) for request, cached in admitted if not request.preemptions],
                resumed=[(request.index, cached) for request, cached in admitted if request.preemptions],
                preempted=[request.index for request in retracted],
                evicted=recorder.take_evicted(),
                free=self.memory.free_blocks,
                running=len(self._batch) + len(self._chunks),
                waiting=len(self._queue.requests),
            )
        )

    def check(self) -> None:
        """Assert the invariants of queue, batch and memory. O(running + waiting + cache)."""
        self._catch_up()
        memory, size = self.memory, self.memory.page_size
        memory.check()
        self._decodes.check(list(self._batch))
        private = 0
        for request in self._batch:
            assert request.phase == DECODE
            tokens = request.base + self._decodes.step + self._pages.allocated
            private += -(-tokens // size) - request.kv.owned
        prefilling = dict(self._chunks)
        if self._begun is not None:
            prefilling.setdefault(self._begun, 0)
        for request, chunk in prefilling.items():
            held = -(-(request.computed + chunk) // size)
            assert request.kv.held == held
            private += held - request.kv.owned
        assert private == memory.private_pages
        assert len(self._batch) + len(self._chunks) <= self._max_running
        assert all(request.phase == WAITING and not request.kv.held for request in self._queue.requests)
