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

import simpy

from sim.engine.batch import Decodes
from sim.engine.events import FIRST_REPLICA, At
from sim.engine.interface import KvMemory
from sim.engine.latency import IterationTime, run_s, steps_to_reach
from sim.engine.leaving import Leaving
from sim.engine.request import DECODE, PREFILL, WAITING, Request
from sim.engine.sglang_admission import (
    CLIP_MAX_NEW_TOKENS,
    RETRACT_DECODE_STEPS,
    NewTokenRatio,
    PrefillPass,
    Verdict,
)
from sim.engine.sglang_memory import SglangMemory
from sim.engine.sglang_options import SglangEngine
from sim.engine.sglang_queue import WaitingQueue
from sim.engine.sglang_request import SglangRequest
from sim.engine.steps import StepRecord, StepRecorder
from sim.records import ABORTED, EngineTotals, RequestLog, StepLog
from workloads.errors import InputError


class SglangReplica(Leaving):
    """Waiting requests, at most one begun prompt, a running batch, and the radix cache they live in.

    ``finished(index)`` is called when a request's last token is there, or when it is aborted.
    """

    def __init__(
        self,
        number: int,
        env: simpy.Environment,
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
        super().__init__()
        self.number = number
        self.memory: SglangMemory = memory
        self.steps = StepLog()
        self.work = StepLog()
        self.totals = EngineTotals()
        self.recorder = recorder
        self._env = env
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
        self._order = 0
        self._decoded_s = 0.0  # end of the last decode step
        self._last_tokens: dict[float, int] = {}  # time of the last token -> how many in the batch had it
        self._admitted: list[tuple[SglangRequest, int]] = []  # by the last pass, with their cached tokens
        # The iterations under way: the event that ends them (None: idle), and what they are.
        self._event: At | None = None
        self._chunks: list[tuple[SglangRequest, int]] = []  # a prefill batch; empty: decode steps
        self._began_s = 0.0
        self._first_s = self._slope_s = 0.0
        self._steps = 1
        self._allocated = 0  # decode steps of the run that have their pages

    # -- what others see ---------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Requests waiting."""
        return len(self._queue.requests)

    @property
    def load(self) -> int:
        """Requests waiting and running."""
        return len(self._queue.requests) + len(self._batch) + len(self._chunks)

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
        if self._event is None:
            self._schedule(0.0, self._begin)
        elif self._steps > 1 and not self._full and len(self._batch) < self._max_running:
            self._cut()

    # -- time --------------------------------------------------------------------------------------

    def _schedule(self, delay_s: float, callback: Callable[[Any], None]) -> None:
        self._event = At(self._env, delay_s, FIRST_REPLICA + self.number, callback)

    def _cut(self) -> None:
        """End the run of decode steps at the first boundary at or after now."""
        now = self._env.now
        steps = steps_to_reach(self._first_s, self._slope_s, now - self._began_s)
        if steps < self._steps:
            self._steps = steps
            end = self._began_s + run_s(self._first_s, self._slope_s, steps)
            self._schedule(max(0.0, end - now), self._end)

    def _catch_up(self) -> None:
        """Give the decode steps that have begun by now their pages."""
        if self._steps > 1:
            elapsed = self._env.now - self._began_s
            self._allocate(min(self._steps, steps_to_reach(self._first_s, self._slope_s, elapsed)))

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
                self._event = None
                return

    def _start(self, first_s: float, slope_s: float, steps: int) -> None:
        self.totals.note_usage(self.memory)
        self._began_s, self._first_s, self._slope_s = self._env.now, first_s, slope_s
        self._steps = steps
        self._schedule(run_s(first_s, slope_s, steps), self._end)

    def _end(self, event: object) -> None:
        """Apply the results of what ends now, then go on."""
        if event is not self._event:
            return  # superseded: the run was cut short
        steps, self._steps = self._steps, 1
        self.totals.iterations += steps
        self.totals.busy_s += self._env.now - self._began_s
        self.work.add(self._env.now, self._first_s, self._slope_s, steps, 0, 0)
        done = self._end_prefill() if self._chunks else self._end_decodes(steps)
        if self.recorder is not None:
            record = self.recorder.records[-1]
            record.end_s = self._env.now
            record.finished = [request.index for request in done]
            record.used_blocks = self.held_blocks
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
                self._full = bool(prefill.admitted or batch)
            if verdict is not Verdict.GO_ON:
                break
        new = prefill.admitted if begun is None else prefill.admitted[1:]
        del waiting[: len(new)]
        self._admitted = [(request, request.computed) for request, _ in new]
        for request, cached in self._admitted:
            request.phase = PREFILL
            self._log.admit(request, self._env.now, cached, request.kv.held, self.totals)
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
        self._start(duration_s, 0.0, 1)

    def _end_prefill(self) -> list[SglangRequest]:
        """One token for each completed prompt; what was computed enters the tree now, not before."""
        now, chunks = self._env.now, self._chunks
        was_empty = not self._batch
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
        if was_empty or done or self._begun is not None:
            self._full = False
        self.steps.add(now, self._first_s, 0.0, 1, 0, completed)
        if entered:
            self._last_tokens[now] = entered
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

    def _leave(self, request: SglangRequest) -> None:
        """``request`` is out of the decodes; its table learns which pages it took there."""
        request.kv.held = -(-request.computed // self.memory.page_size)

    def _finish(self, request: SglangRequest, now: float) -> None:
        self.memory.publish(request.kv, request.computed)
        self.memory.release(request.kv)
        if self._nobody_waits_for(request):
            return
        self._log.finish(request, now, self.number)
        self._finished(request.index)

    # -- decode ------------------------------------------------------------------------------------

    def _start_decodes(self) -> bool:
        """Start a run of decode steps, retracting who does not fit; False if nobody is left."""
        decodes, memory, latency = self._decodes, self.memory, self._latency
        needed = decodes.needs(decodes.step, 1)
        memory.make_room(needed)
        retracted: list[SglangRequest] = []
        if memory.free_pages >= needed:
            self._ratio.decay(1)
        else:
            retracted = self._retract()
            if not self._batch:
                return False
        self._allocated = 0
        self._allocate(1)
        count, steps = decodes.count, 1
        if self._fast_forward and (self._full or not self._queue.requests):
            steps = decodes.next_finish() - decodes.step
            if steps > 1:  # a page for each token that cannot be had ends the run, before the retraction
                steps = 1 + decodes.steps_within(decodes.step + 1, steps - 1, memory.free_blocks)
        first_s = latency.decode_s(count, decodes.context) + latency.fixed_s(count, count)
        if self.recorder is not None:
            self._note(self.recorder, [(request.index, 1) for request in self._batch], [], retracted)
        self._start(first_s, latency.slope_s(count), steps)
        return True

    def _allocate(self, steps: int) -> None:
        """Give the first ``steps`` decode steps of the run their pages.

        Each step evicts until there is a page for every request, needed or not, as far as there is
        something to evict; so the steps until free pages run short take theirs together.
        """
        decodes, memory = self._decodes, self.memory
        count, left = decodes.count, steps - self._allocated
        while left > 0:
            step = decodes.step + self._allocated
            memory.make_room(count)
            together = left
            if memory.tree.evictable_pages:
                together = min(left, 1 + decodes.steps_within(step, left, memory.free_pages - count))
            memory.take_unnamed(decodes.needs(step, together))
            self._allocated += together
            left -= together

    def _end_decodes(self, steps: int) -> list[SglangRequest]:
        """One token more per request and step; who is complete leaves in the order of the batch."""
        decodes, now = self._decodes, self._env.now
        self._allocate(steps)
        self.totals.note_usage(self.memory)
        self.totals.scheduled_tokens += decodes.count * steps
        self._ratio.decay(steps - 1)
        self._note_gaps(steps, decodes.count)
        done = []
        for request in decodes.advance(steps):
            assert isinstance(request, SglangRequest)
            del self._batch[request]
            self._leave(request)
            self._finish(request, now)
            done.append(request)
        if done:
            self._full = False
        self._allocated = 0
        self._decoded_s = now
        self._last_tokens = {now: len(self._batch)}
        return done

    def _note_gaps(self, steps: int, count: int) -> None:
        """Log the run; the gaps that end with its first step began before any prefill in between."""
        now, first_s, slope_s = self._env.now, self._first_s, self._slope_s
        before = {last_s: decodes for last_s, decodes in self._last_tokens.items() if decodes}
        if before != {self._began_s: count}:
            first_end_s = now if steps == 1 else self._began_s + first_s
            for last_s, decodes in before.items():
                self.steps.add(first_end_s, first_end_s - last_s, 0.0, 1, decodes, 0)
            steps, first_s = steps - 1, first_s + slope_s
        if steps:
            self.steps.add(now, first_s, slope_s, steps, count, 0)

    # -- retraction --------------------------------------------------------------------------------

    def _retract(self) -> list[SglangRequest]:
        """Take requests out of the batch until the others can decode; at least one, never the last.

        Fewest generated tokens first, of these the longest prompt. What a request has not in the tree is
        lost; the tree makes room for some steps of the others (``retract_decode``). If even the last one
        cannot go on it is aborted.
        """
        for request in self._batch:
            self._decodes.leave(request)
            self._leave(request)
        by_priority = self._engine.retraction_policy == "priority"
        priority = self._log.trace.priority
        kept = sorted(
            self._batch,
            key=lambda r: (priority[r.index] if by_priority else 0, r.generated, -r.prompt_tokens),
            reverse=True,
        )
        retracted: list[SglangRequest] = []
        while len(kept) > 1 and not (retracted and self._fit(kept)):
            request = kept.pop()
            self._put_back(request)
            retracted.append(request)
            self.memory.make_room(-(-RETRACT_DECODE_STEPS * len(kept) // self.memory.page_size))
        if len(kept) == 1 and not self._fit(kept):
            self._abort(kept.pop())
        self._batch = {}
        for request in kept:
            self._enter(request)
        self._ratio.retracted(kept)
        self._full = False
        return retracted

    def _fit(self, requests: list[SglangRequest]) -> bool:
        """Whether each of ``requests`` that needs a page for its next token gets one."""
        needed = sum(request.computed % self.memory.page_size == 0 for request in requests)
        self.memory.make_room(needed)
        return self.memory.free_pages >= needed

    def _put_back(self, request: SglangRequest) -> None:
        """Release everything and queue last; generated tokens are kept."""
        self._take_out(request)
        self.totals.num_preemptions += 1
        self.totals.recomputed_tokens += request.computed
        request.preemptions += 1
        request.computed = 0
        request.phase = WAITING
        self._queue.requests.append(request)

    def _abort(self, request: SglangRequest) -> None:
        self._take_out(request)
        if self._nobody_waits_for(request):
            return
        self._log.abandon(request, self.totals)
        self._log.end(request.index, ABORTED)
        self._log.replica[request.index] = self.number
        self._finished(request.index)

    def _take_out(self, request: SglangRequest) -> None:
        self.memory.release(request.kv)
        request.last_token_s = max(request.last_token_s, self._decoded_s)
        self._last_tokens[request.last_token_s] -= 1

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
            self._leave(request)
            del self._batch[request]
            self._take_out(request)
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
            tokens = request.base + self._decodes.step + self._allocated
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
