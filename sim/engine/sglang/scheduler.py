"""SGLang's scheduler: prompts first, on the radix tree; a token for each running request if there are none.

As read from SGLang 0.5.23 (``get_next_batch_to_run`` in ``managers/scheduler.py``). It decides a step and,
applies it by `results` once it has been computed; what a prefill computed enters the tree only then.
No request is admitted during a run of decode steps, so between two changes of the batch they differ by one
token per request: `repeats` says how many may follow without being decided one by one.
"""

from __future__ import annotations

from sim.engine.loads import Loads
from sim.engine.request import GONE, LAST, LOADING, PREFILL, WAITING
from sim.engine.sglang.admission import PrefillPass, Verdict
from sim.engine.sglang.batch import NONE, SglangBatch
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.queue import WaitingQueue
from sim.engine.sglang.request import SglangRequest
from sim.engine.sglang.running import RunningBatch
from workloads.trace import Trace


class SglangScheduler:
    """Waiting requests, at most one begun prompt, a running batch, and the radix cache they live in."""

    def __init__(
        self,
        memory: SglangMemory,
        engine: SglangEngine,
        loads: Loads | None,
        trace: Trace,
        *,
        names_decodes: bool = False,
        knows_longest: bool = True,
    ) -> None:
        """``knows_longest``: batches say by how much their decodes fall short of the longest."""
        assert engine.max_running_requests is not None, "resolved() first"
        self.memory = memory
        self.queue = WaitingQueue(engine.schedule_policy, memory)
        self.running = RunningBatch(
            memory, engine, trace.priority, names_decodes=names_decodes, knows_longest=knows_longest
        )
        self._engine = engine
        self._max_running = engine.max_running_requests
        self._loads = loads
        self._begun: SglangRequest | None = None  # its prompt is begun and not complete
        self._prefilled: list[SglangRequest] = []  # complete with the last prefill: they run from now on

    # -- the queue ---------------------------------------------------------------------------------

    def enqueue(self, request: SglangRequest) -> bool:
        """Queue ``request``; whether a run of steps has to end so that it can be admitted."""
        self.queue.add(request)
        running = self.running
        return not running.full and len(running.requests) < self._max_running

    @property
    def waiting(self) -> list[SglangRequest]:
        """The requests that wait, in the order in which the last pass left them."""
        return self.queue.requests

    @property
    def waiting_tokens(self) -> int:
        """Their known tokens."""
        return self.queue.tokens

    def withdraw(self, request: SglangRequest) -> None:
        """Take ``request``, which waits, out of the queue."""
        self.queue.withdraw(request)

    def loaded(self, request: SglangRequest) -> bool:
        """The KV that ``request`` waited for is there; whether a run of steps has to end for it."""
        assert self._loads is not None
        self.memory.publish(request.kv, request.computed)
        self._loads.arrived(request)
        return self._room > 0

    @property
    def _room(self) -> int:
        return self._max_running - len(self.running.requests)

    # -- one step ----------------------------------------------------------------------------------

    def plan(self, in_flight: SglangBatch | None) -> SglangBatch:
        """Decide one step as things stand; ``in_flight`` is the step that computes, if one does."""
        batch, running, begun, loads = SglangBatch(), self.running, self._begun, self._loads
        if begun is not None:  # it is in the last prefill
            self.memory.publish(begun.kv, begun.computed)
            running.full = False
        if self._prefilled:
            running.join(self._prefilled, in_flight)
            self._prefilled = []
        if loads is not None:
            self._join_loaded(batch, loads)
        if not running.requests:
            running.full = False
        if (
            begun is not None
            or (self.queue.requests and not running.full)
            or (loads is not None and loads.ready)
        ):
            self._plan_prefill(batch, in_flight)
        if running.requests and not batch.chunks:
            held = loads is not None and bool(loads.loading)
            running.plan(batch, in_flight, to_the_last=held)
            for request in batch.retracted:
                self.queue.add(request)
        return batch

    def _plan_prefill(self, batch: SglangBatch, in_flight: SglangBatch | None) -> None:
        """Which prompts compute how much: the begun one first, what was loaded, then the queue."""
        begun, running, loads = self._begun, self.running, self._loads
        room = self._max_running - len(running.requests)
        if begun is None and room <= 0:
            running.full = True
            return
        self.queue.arrange()
        prefill = PrefillPass(
            self._engine,
            self.memory,
            len(running.requests),
            lambda: running.reserved_tokens(in_flight),
            None if loads is None else loads.source,
        )
        if begun is not None:
            prefill.resume(begun)
        if loads is not None:
            self._admit_loaded(prefill, loads)
        if self.queue.requests and not (prefill.spent and prefill.has(0)):
            self._admit_waiting(prefill, room)
        self._begin(prefill, batch)

    def _admit_waiting(self, prefill: PrefillPass, room: int) -> None:
        """The queue, as far as the budgets go and until ``room`` requests more run."""
        running, first = self.running, len(prefill.chunks)
        for request in self.queue.requests:
            if len(prefill.chunks) + len(prefill.joined) >= room:
                running.full = True
            if running.full:
                break
            verdict = prefill.admit(request)
            if verdict is Verdict.NO_TOKEN:
                # A batch that was empty is replaced, with its flag, by the requests that join it.
                running.full = bool(running.requests)
            if verdict is not Verdict.GO_ON:
                break
        taken = len(prefill.chunks) - first + len(prefill.joined) + len(prefill.loads)
        if taken:
            self.queue.drop_first(taken)

    def _admit_loaded(self, prefill: PrefillPass, loads: Loads) -> None:
        """What was loaded goes before everything that waits."""
        while loads.ready and len(prefill.chunks) < self._room:
            request = loads.ready[0]
            assert isinstance(request, SglangRequest)
            if not prefill.admit_loaded(request):
                return
            loads.admit()

    def _begin(self, prefill: PrefillPass, batch: SglangBatch) -> None:
        """Make room for the whole prefill, a page per request more than needed, and begin loads."""
        memory, size, chunks, cut = self.memory, self.memory.page_size, prefill.chunks, prefill.cut
        batch.tokens = tokens = prefill.tokens
        if tokens:
            memory.make_room(-(-tokens // size) + (len(chunks) if size > 1 else 0))
        batch.admitted = [*batch.admitted, *prefill.admitted]
        batch.chunks = chunks
        batch.cut = self._begun = cut
        batch.finishing = []
        for request, before, chunk in chunks:
            request.phase = PREFILL
            request.computed = computed = before + chunk
            memory.take(request.kv, -(-computed // size) - request.kv.held)
            if request is not cut:
                request.generated += 1
                self._prefilled.append(request)
                if request.generated == request.output_tokens:
                    request.phase = LAST
                    batch.finishing.append(request)
        for request in prefill.joined:
            self._join(request, batch)
        for request, found in prefill.loads:
            assert self._loads is not None
            self._loads.begin(request, request.computed)
            batch.loads = [*batch.loads, (request, found)]

    def _join_loaded(self, batch: SglangBatch, loads: Loads) -> None:
        """Requests that were prefilled elsewhere decode as soon as their KV is here."""
        while loads.ready and self._room > 0:
            request = loads.ready[0]
            assert isinstance(request, SglangRequest)
            if not request.is_prefilled:
                return
            loads.admit()
            self._join(request, batch)

    def _join(self, request: SglangRequest, batch: SglangBatch) -> None:
        self.memory.give_back(request.kv, -(-request.computed // self.memory.page_size))
        batch.admitted = [*batch.admitted, (request, request.known_tokens, request.computed)]
        batch.joined = [*batch.joined, request]
        self.running.enter(request)

    # -- results -----------------------------------------------------------------------------------

    def results(self, batch: SglangBatch) -> list[SglangRequest]:
        """``batch`` has been computed: publish its prompts; those that have their last token, in order."""
        chunks, finishing = batch.chunks, batch.finishing
        done = [request for request in finishing if request.phase == LAST] if finishing else NONE
        if not chunks:
            for request in done:
                self._finish(request)
            return done
        for request, before, new in chunks:
            if request in done:
                self._finish(request)
            elif request is not batch.cut and request.phase not in (WAITING, GONE):
                self.memory.publish(request.kv, before + new)
        return done

    def _finish(self, request: SglangRequest) -> None:
        self.memory.publish(request.kv, request.computed)
        self._let_go(request)
        if self._loads is not None:
            self._loads.source.left(request)

    # -- runs of steps -----------------------------------------------------------------------------

    def repeats(self, computing: SglangBatch, ahead: SglangBatch | None) -> int:
        """How many more steps like ``computing`` may follow it before anything has to be decided."""
        if self.queue.requests and not self.running.full:
            return 0
        return self.running.repeats(computing, ahead)

    # -- requests that leave -----------------------------------------------------------------------

    def _let_go(self, request: SglangRequest) -> None:
        """``request`` runs no more, and gives back what it holds."""
        if request in self._prefilled:
            self._prefilled.remove(request)
        self.running.remove(request)
        self.memory.release(request.kv)
        request.phase = GONE

    def drop(self, request: SglangRequest, in_flight: SglangBatch | None) -> None:
        """Take a request out that does not wait; what of it is in the tree stays there."""
        if request.phase == LOADING:
            assert self._loads is not None
            self._loads.drop(request)
            self.memory.release(request.kv)
            request.computed = 0  # nothing was computed for it yet
            return
        if request is self._begun:
            self.memory.publish(request.kv, request.computed)
            self._begun = None
        self._let_go(request)

    # -- what others see ---------------------------------------------------------------------------

    def present(self) -> list[SglangRequest]:
        """The requests that run, in order, then those that load."""
        begun = [] if self._begun is None else [self._begun]
        present = [*self.running.requests, *self.running.ending, *self._prefilled, *begun]
        if self._loads is not None:
            for request in self._loads.loading:
                assert isinstance(request, SglangRequest)
                present.append(request)
        return present

    @property
    def present_count(self) -> int:
        """Their number."""
        loading = 0 if self._loads is None else len(self._loads.loading)
        prefilling = len(self._prefilled) + (self._begun is not None)
        return len(self.running.requests) + len(self.running.ending) + prefilling + loading

    def check(self) -> None:
        """Assert the invariants of queue, batch and memory. O(running + waiting + cache)."""
        memory, running = self.memory, self.running
        memory.check()
        running.check()
        self.queue.check()
        if self._loads is not None:
            self._loads.check()
        others = [
            request
            for request in self.present()
            if request not in running.requests and request not in running.ending
        ]
        private = sum(request.kv.held - request.kv.owned for request in others)
        assert private + running.private_pages() == memory.private_pages
        assert len(running.requests) + len(self._prefilled) <= self._max_running
