"""SGLang's running batch: who gets a token by the next decode step, and who has to make room for that.

As read from SGLang 0.5.23 (``update_running_batch`` in ``managers/scheduler.py``, ``retract_decode`` in
``managers/schedule_batch.py``).

With overlap a step is decided while the one before computes, so before it is known what that one gives. A
request that gets its last token from it is known beforehand if its reply then is as long as it may be; one
that ends with a stop token takes part in one step more, a surplus. A request that is retracted loses the
token that is being computed for it.
"""

from __future__ import annotations

from sim.engine.batch import Decodes
from sim.engine.request import DECODE, GONE, LAST, WAITING
from sim.engine.sglang.admission import CLIP_MAX_NEW_TOKENS, NewTokenRatio
from sim.engine.sglang.batch import SglangBatch
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.decodes import DecodePages
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.request import SglangRequest
from sim.engine.sglang.retraction import retract


class RunningBatch:
    """Requests in decode, in SGLang's order, among them those whose last token is being computed."""

    def __init__(
        self, memory: SglangMemory, engine: SglangEngine, priority: list[int], *, names_decodes: bool
    ) -> None:
        self.requests: dict[SglangRequest, None] = {}
        self.ending: dict[SglangRequest, None] = {}
        """No longer in the batch: their last token is being computed."""
        self.full = False
        """Nobody is admitted until somebody leaves the batch (SGLang's ``batch_is_full``)."""
        self.ratio = NewTokenRatio(engine.schedule_conservativeness)
        self._memory = memory
        self._overlap = not engine.disable_overlap_schedule
        self._ignore_eos = engine.ignore_eos
        self._priority = priority if engine.retraction_policy == "priority" else None
        self._names_decodes = names_decodes
        self._decodes = Decodes(memory.page_size)
        self._pages = DecodePages(memory, self._decodes)
        self._order = 0

    # -- who is in it ------------------------------------------------------------------------------

    def enter(self, request: SglangRequest) -> None:
        """``request`` goes on token by token, last in the batch."""
        self._order += 1
        request.order = self._order
        self.requests[request] = None
        if request.phase != LAST:
            self._decodes.enter(request)

    def join(self, requests: list[SglangRequest], in_flight: SglangBatch | None) -> None:
        """Those that the last prefill completed, ``in_flight`` or over, enter."""
        first = self._order + 1
        for request in requests:
            if request.phase != GONE:
                self.enter(request)
        if in_flight is not None and in_flight.chunks:
            in_flight.orders = range(first, self._order + 1)

    def remove(self, request: SglangRequest) -> None:
        """``request`` leaves before its last token is scheduled, or when it is there."""
        if request.phase == DECODE:
            self._leave_decodes(request)
        self.requests.pop(request, None)
        self.ending.pop(request, None)
        self.full = False

    def _leave_decodes(self, request: SglangRequest) -> None:
        self._decodes.leave(request)
        self._pages.leave(request)

    def reserved_tokens(self, in_flight: SglangBatch | None) -> float:
        """What the running requests are expected to need yet, added up in their order."""
        ratio = 1.0 if self._ignore_eos else self.ratio.value
        return sum(
            [
                min(self._tokens_to_come(request, in_flight), CLIP_MAX_NEW_TOKENS) * ratio
                for request in self.requests
            ]
        )

    def _tokens_to_come(self, request: SglangRequest, in_flight: SglangBatch | None) -> int:
        """The longest that its reply may still grow, as far as the engine knows."""
        generated = request.generated
        if request.phase == DECODE:
            generated = request.output_tokens - request.finish_step + self._decodes.step
        unknown = in_flight is not None and request.order in in_flight.orders
        return request.max_new_tokens - generated + unknown

    # -- one step ----------------------------------------------------------------------------------

    def plan(self, batch: SglangBatch, in_flight: SglangBatch | None, *, to_the_last: bool) -> None:
        """Put a token for each request into ``batch``, retracting those that do not fit.

        Nothing is put there if nobody is left, or if room is known to come with the step ``in_flight``.
        """
        decodes, pages = self._decodes, self._pages
        surplus: list[SglangRequest] = []
        ending = False
        if in_flight is not None:
            for request in in_flight.finishing:
                if request not in self.requests:
                    continue
                if request.ends_by_length:
                    del self.requests[request]
                    self.ending[request] = None
                    self.full = False
                    ending = True
                else:
                    surplus.append(request)
        if not self.requests:
            return
        if pages.next_step_fits(surplus):
            self.ratio.decay(1)
        elif ending:
            return
        else:
            self._retract(batch, in_flight, to_the_last)
            surplus = [request for request in surplus if request in self.requests]
            if not self.requests:
                return
        batch.decodes = decodes.count + len(surplus)
        batch.context = decodes.context + sum(request.computed for request in surplus)
        pages.allocate(1, surplus)
        if self._names_decodes:
            batch.scheduled = list(self.requests)
        self._advance(1, batch)

    def _advance(self, steps: int, batch: SglangBatch) -> None:
        """Count ``steps`` scheduled steps, ``batch`` the last of them."""
        for request in self._decodes.advance(steps):
            assert isinstance(request, SglangRequest)
            self._pages.leave(request)
            request.phase = LAST
            batch.finishing.append(request)
        batch.orders = range(self._order + 1)

    def _retract(self, batch: SglangBatch, in_flight: SglangBatch | None, to_the_last: bool) -> None:
        """Take requests out of the batch until the others can decode."""
        unknown = set()
        for request in self.requests:
            if request.phase == DECODE:
                self._leave_decodes(request)
            if in_flight is not None and request.order in in_flight.orders:
                unknown.add(request)
                request.generated -= 1
        kept, retracted, aborted = retract(
            list(self.requests), self._priority, self._memory, to_the_last=to_the_last
        )
        self.ratio.retracted(kept)
        self.requests.clear()
        self.full = False
        for request in kept:
            request.generated += request in unknown
            self.enter(request)
        for request in retracted:
            batch.recomputed += request.computed
            request.is_prefilled = False
            request.computed = 0
            request.phase = WAITING
        batch.retracted, batch.aborted = retracted, aborted
        if aborted is not None:
            aborted.phase = GONE

    # -- runs of steps -----------------------------------------------------------------------------

    def repeats(self, computing: SglangBatch, ahead: SglangBatch | None) -> int:
        """How many more steps like ``computing`` may follow it before anything has to be decided.

        Up to the one with which a request finishes, or before one for which pages are short. With overlap
        ``ahead`` is decided already, and must be like ``computing`` too.
        """
        if computing.chunks or computing.finishing:
            return 0
        if self._overlap and (
            ahead is None
            or ahead.chunks
            or ahead.finishing
            or ahead.joined
            or ahead.decodes != computing.decodes
        ):
            return 0
        decodes = self._decodes
        return self._pages.steps_that_fit(decodes.next_finish() - decodes.step)

    def repeat(
        self, computing: SglangBatch, ahead: SglangBatch | None, steps: int
    ) -> tuple[SglangBatch | None, int]:
        """``steps`` of the `repeats` have been scheduled since; (the step ahead now, tokens scheduled)."""
        decodes = self._decodes
        count = decodes.count
        self._pages.allocate(steps)
        self.ratio.decay(steps)
        if self._overlap:
            computing = ahead = SglangBatch(count, decodes.context + (steps - 1) * count)
        self._advance(steps, computing)
        return ahead, steps * count

    # -- checks ------------------------------------------------------------------------------------

    def private_pages(self) -> int:
        """Pages that its requests hold and the tree does not have."""
        size, step, pages = self._memory.page_size, self._decodes.step, 0
        for request in self.requests:
            tokens = request.base + step if request.phase == DECODE else request.computed
            pages += -(-tokens // size) - request.kv.owned
        return pages + sum(request.kv.held - request.kv.owned for request in self.ending)

    def check(self) -> None:
        """Assert the invariants of the batch. O(running)."""
        self._decodes.check([request for request in self.requests if request.phase == DECODE])
        assert all(request.phase in (DECODE, LAST) for request in self.requests)
        assert all(request.phase == LAST for request in self.ending)
