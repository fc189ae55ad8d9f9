"""Decodes under SGLang's scheduler: the pages that they take, the gaps between tokens that they end."""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine.batch import Decodes
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.request import SglangRequest
from sim.results.step_log import StepLog


class DecodePages:
    """The pages of all decodes together, however many steps are scheduled at once.

    ``surplus`` are running requests that are no decodes any more and still take part in one step.
    """

    def __init__(self, memory: SglangMemory, decodes: Decodes) -> None:
        self._memory = memory
        self._decodes = decodes

    def take_step(self, surplus: Sequence[SglangRequest] = ()) -> bool:
        """Give the next step its pages; False: there are too few, even after evicting what can be.

        It evicts until there is a page for every request, needed or not, as far as there is something to
        evict (``alloc_for_decode``).
        """
        decodes, memory = self._decodes, self._memory
        count, needed = decodes.count, decodes.needs(decodes.step, 1)
        if surplus:
            count += len(surplus)
            needed += sum(request.computed % memory.page_size == 0 for request in surplus)
        if memory.free_pages < count:
            memory.make_room(count)
            if memory.free_pages < needed:
                return False
        if needed:
            memory.take_unnamed(needed)
        for request in surplus:
            request.computed += 1
            self.leave(request)
        return True

    def take_steps(self, steps: int) -> None:
        """Give the next ``steps`` steps their pages, which are known to be there.

        Each step evicts as `take_step` does; so the steps until free pages run short take theirs together.
        """
        decodes, memory = self._decodes, self._memory
        count, step = decodes.count, decodes.step
        needed = decodes.needs(step, steps)
        if memory.free_pages >= needed + count:
            memory.take_unnamed(needed)
            return
        while steps:
            if memory.free_pages < count:
                memory.make_room(count)
            together = steps
            if steps > 1 and memory.tree.evictable_pages:
                together = min(steps, 1 + decodes.steps_within(step, steps, memory.free_pages - count))
            memory.take_unnamed(decodes.needs(step, together))
            step += together
            steps -= together

    def steps_that_fit(self, most: int) -> int:
        """How many of ``most`` further steps fit in what is free or evictable.

        One more than all of them if after it each of the decodes can have a page more.
        """
        decodes, free = self._decodes, self._memory.free_blocks
        count, step = decodes.count, decodes.step
        if (
            count * (most // self._memory.page_size + 2) <= free
            or decodes.needs(step, most) + count <= free
        ):
            return most + 1
        return decodes.steps_within(step, most, free)

    def leave(self, request: SglangRequest) -> None:
        """``request`` is out of the decodes; its table learns which pages it took there."""
        request.kv.held = -(-request.computed // self._memory.page_size)


class TokenTimes:
    """When the requests in decode had their last token: a gap may span prefills of others."""

    def __init__(self) -> None:
        self._joined: dict[SglangRequest, None] = {}  # decode from the step on that begins next
        self._new: dict[SglangRequest, None] = {}  # their next token is the first that a decode gives them
        self.stepped: set[SglangRequest] = set()
        """They had their last token with the last decode step."""
        self._stepped_s = 0.0

    def enter(self, request: SglangRequest) -> None:
        """``request`` had a token at its ``last_token_s``, and goes on."""
        self._new[request] = None

    def join(self, request: SglangRequest) -> None:
        """``request`` had a token elsewhere, and is in the step that begins next."""
        self._joined[request] = None

    def begin(self) -> None:
        """The next step begins."""
        if self._joined:
            self._new.update(self._joined)
            self._joined.clear()

    def leave(self, request: SglangRequest) -> None:
        """``request`` gets no further token here, if it got any; its ``last_token_s`` is up to date."""
        if request in self.stepped:
            self.stepped.remove(request)
            request.last_token_s = self._stepped_s
        else:
            self._joined.pop(request, None)
            self._new.pop(request, None)

    def steps(self, log: StepLog, now: float, began: float, first: float, slope: float, steps: int) -> None:
        """All get a token with each of ``steps`` steps that end now; their gaps go to ``log``.

        Those that the first step ends may have begun before it.
        """
        stepped, new = self.stepped, self._new
        if new or not stepped or self._stepped_s != began:
            last: dict[float, int] = {self._stepped_s: len(stepped)} if stepped else {}
            for request in new:
                last[request.last_token_s] = last.get(request.last_token_s, 0) + 1
            stepped.update(new)
            new.clear()
            if last != {began: len(stepped)}:
                first_end = now if steps == 1 else began + first
                for last_s, decodes in last.items():
                    log.add(first_end, first_end - last_s, 0.0, 1, decodes, 0)
                steps, first = steps - 1, first + slope
        self._stepped_s = now
        if steps:
            log.add(now, first, slope, steps, len(stepped), 0)
