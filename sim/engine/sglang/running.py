"""SGLang's running batch: which requests get a token by the next decode step, which make room for it.

As read from SGLang 0.5.23 (``update_running_batch`` in ``managers/scheduler.py``, ``retract_decode`` in
``managers/schedule_batch.py``).

With overlap a step is decided while the one before computes, so before it is known what that one gives. A
request that gets its last token from it is known beforehand if its reply then is as long as it may be; one
that ends with a stop token takes part in one step more, a surplus. A request that is retracted loses the
token that is being computed for it.
"""

from __future__ import annotations

from sim.engine.batch import Decodes
from sim.engine.request import DECODE, GONE, LAST, WAITING, Request
from sim.engine.sglang.admission import CLIP_MAX_NEW_TOKENS, NewTokenRatio
from sim.engine.sglang.batch import NONE, SglangBatch
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.decodes import DecodePages
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.request import SglangRequest
from sim.engine.sglang.retraction import retract


class RunningBatch:
    """Requests in decode, in SGLang's order, among them those whose last token is being computed."""

    def __init__(
        self,
        memory: SglangMemory,
        engine: SglangEngine,
        priority: list[int],
        *,
        names_decodes: bool,
        knows_longest: bool,
    ) -> None:
        self.requests: dict[SglangRequest, None] = {}
        self.ending: dict[SglangRequest, None] = {}
        """No longer in the batch: their last token is being computed."""
        self.full = False
        """No request is admitted until one leaves the batch (SGLang's ``batch_is_full``)."""
        self.ratio = NewTokenRatio(engine.schedule_conservativeness)
        self._memory = memory
        self._overlap = not engine.disable_overlap_schedule
        self._ignore_eos = engine.ignore_eos
        self._priority = priority if engine.retraction_policy == "priority" else None
        self._names_decodes = names_decodes
        self._all_end_by_length = engine.max_new_tokens is None
        self._decodes = Decodes(memory.page_size, knows_longest=knows_longest)
        self._pages = DecodePages(memory, self._decodes)
        self._order = 0

    # -- its requests ------------------------------------------------------------------------------

    def enter(self, request: SglangRequest) -> None:
        """``request`` goes on token by token, last in the batch."""
        self._order += 1
        request.order = self._order
        self.requests[request] = None
        if request.phase != LAST:
            self._decodes.enter(request)
        else:
            request.finish_step = self._decodes.step

    def join(self, requests: list[SglangRequest], in_flight: SglangBatch | None) -> None:
        """Those that the last prefill completed, ``in_flight`` or over, enter."""
        first = self._order + 1
        for request in requests:
            if request.phase != GONE:
                self.enter(request)
        if in_flight is not None and in_flight.chunks:
            in_flight.first_order, in_flight.last_order = first, self._order

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
        """What the running requests are expected to need yet, added up in their order.

        Each of them the longest that its reply may still grow, as far as the engine knows.
        """
        ratio = 1.0 if self._ignore_eos else self.ratio.value
        first, last = (0, -1) if in_flight is None else (in_flight.first_order, in_flight.last_order)
        step = self._decodes.step
        reserved, most = 0.0, CLIP_MAX_NEW_TOKENS
        for request in self.requests:
            tokens = request.may_exceed + request.finish_step - step + (first <= request.order <= last)
            reserved += (tokens if tokens < most else most) * ratio  # no call: this is hot
        return reserved

    # -- one step ----------------------------------------------------------------------------------

    def plan(self, batch: SglangBatch, in_flight: SglangBatch | None, *, to_the_last: bool) -> None:
        """Put a token for each request into ``batch``, retracting those that do not fit.

        Nothing is put there if no request is left, or if room is known to come with the step ``in_flight``.
        """
        decodes, pages = self._decodes, self._pages
        surplus = NONE
        ending = False
        if in_flight is not None and in_flight.finishing:
            present = [request for request in in_flight.finishing if request in self.requests]
            surplus = [request for request in present if not request.ends_by_length]
            ending = len(surplus) < len(present)
            self._let_end([request for request in present if request.ends_by_length])
        if not self.requests:
            return
        if pages.take_step(surplus):
            self.ratio.steps += 1
        elif ending:
            return
        else:
            self._retract(batch, in_flight, to_the_last)
            surplus = [request for request in surplus if request in self.requests]
            if not self.requests:
                return
            fits = pages.take_step(surplus)
            assert fits
        batch.decodes = batch.tokens = decodes.count
        batch.context = decodes.context
        if surplus:
            batch.decodes = batch.tokens = decodes.count + len(surplus)
            batch.context += sum(request.computed - 1 for request in surplus)
        if decodes.knows_longest:
            longest = max([decodes.longest, *[request.computed - 1 for request in surplus]])
            batch.uneven = batch.decodes * longest - batch.context
        if self._names_decodes:
            batch.scheduled = list(self.requests)
        batch.last_order = self._order
        finishing = decodes.advance(1)
        if finishing:
            self._schedule_last(finishing, batch)

    def _let_end(self, requests: list[SglangRequest]) -> None:
        """``requests`` are sure to end with the step that computes: the batch goes on without them."""
        for request in requests:
            del self.requests[request]
            self.ending[request] = None
            self.full = False

    def _schedule_last(self, finishing: list[Request], batch: SglangBatch) -> None:
        """``batch`` gives ``finishing``, no decodes any more, their last token."""
        batch.finishing = [*batch.finishing]
        for request in finishing:
            assert isinstance(request, SglangRequest)
            self._pages.leave(request)
            request.phase = LAST
            batch.finishing.append(request)

    def _retract(self, batch: SglangBatch, in_flight: SglangBatch | None, to_the_last: bool) -> None:
        """Take requests out of the batch until the others can decode."""
        unknown = set()
        for request in self.requests:
            if request.phase == DECODE:
                self._leave_decodes(request)
            if in_flight is not None and in_flight.first_order <= request.order <= in_flight.last_order:
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
        ``ahead`` is decided already, and must be like ``computing`` too. If requests finish with the run,
        the step after it is decided while they compute their last token: this too is foreseen.
        """
        if computing.chunks or computing.finishing:
            return 0
        if self._overlap and (
            ahead is None or ahead.chunks or ahead.joined or ahead.decodes != computing.decodes
        ):
            return 0
        decodes, steps = self._decodes, 0
        if ahead is None or not ahead.finishing:
            steps = decodes.next_finish - decodes.step
        within = self._pages.steps_that_fit(steps)
        if ahead is None or not self._all_end_by_length:  # the step without those that finish is unknown
            return min(within, steps)
        return within

    def repeat(
        self, computing: SglangBatch, ahead: SglangBatch | None, steps: int
    ) -> tuple[SglangBatch | None, int]:
        """``steps`` of the `repeats` have been scheduled since; (the step ahead now, tokens scheduled)."""
        if ahead is None:
            tokens = steps * self._decodes.count
            self._repeat(steps, computing)
            return None, tokens
        decodes, tokens = self._decodes, 0
        same = 0 if ahead.finishing else min(steps, decodes.next_finish - decodes.step)
        if same:
            tokens = same * decodes.count
            ahead.context = decodes.context + tokens - decodes.count
            self._repeat(same, ahead)
        if steps > same:
            # What was ahead computes and gives its last tokens; the others are decided once more.
            assert steps == same + 1
            computing.finishing = ahead.finishing
            self._let_end(ahead.finishing)
            tokens += decodes.count
            ahead = ahead.followed_by(decodes.count, decodes.context, decodes.uneven)
            if decodes.count:
                self._repeat(1, ahead)
        return (ahead if ahead.decodes else None), tokens

    def _repeat(self, steps: int, last: SglangBatch) -> None:
        """Schedule ``steps`` steps of the present decodes, ``last`` the last of them."""
        self._pages.take_steps(steps)
        self.ratio.steps += steps
        finishing = self._decodes.advance(steps)
        if finishing:
            self._schedule_last(finishing, last)

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
