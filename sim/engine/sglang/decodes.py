"""Runs of decode steps under SGLang's scheduler: the pages that they take, the gaps that they end."""

from __future__ import annotations

from sim.engine.batch import Decodes
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.request import SglangRequest
from sim.results.records import StepLog


class DecodePages:
    """The pages of all decodes together, given step by step however many steps pass in one event."""

    def __init__(self, memory: SglangMemory, decodes: Decodes) -> None:
        self.allocated = 0
        """Steps of the present run that have their pages."""
        self._memory = memory
        self._decodes = decodes

    def next_step_fits(self) -> bool:
        """Whether there is a page for each decode that needs one, after evicting what can be."""
        needed = self._decodes.needs(self._decodes.step, 1)
        self._memory.make_room(needed)
        return self._memory.free_pages >= needed

    def steps_that_fit(self, most: int) -> int:
        """How many of ``most`` steps fit in what is free or evictable; the first one has its pages."""
        decodes = self._decodes
        return 1 + decodes.steps_within(decodes.step + 1, most - 1, self._memory.free_blocks)

    def allocate(self, steps: int) -> None:
        """Give the first ``steps`` steps of the run their pages.

        Each step evicts until there is a page for every request, needed or not, as far as there is
        something to evict (``alloc_for_decode``); so the steps until free pages run short take theirs
        together.
        """
        decodes, memory = self._decodes, self._memory
        count, left = decodes.count, steps - self.allocated
        while left > 0:
            step = decodes.step + self.allocated
            memory.make_room(count)
            together = left
            if memory.tree.evictable_pages:
                together = min(left, 1 + decodes.steps_within(step, left, memory.free_pages - count))
            memory.take_unnamed(decodes.needs(step, together))
            self.allocated += together
            left -= together

    def leave(self, request: SglangRequest) -> None:
        """``request`` is out of the decodes; its table learns which pages it took there."""
        request.kv.held = -(-request.computed // self._memory.page_size)


class TokenTimes:
    """When the requests in decode had their last token: a gap may span prefills of others."""

    def __init__(self) -> None:
        self._last: dict[float, int] = {}  # time -> how many had their last token then
        self._stepped_s = 0.0  # end of the last decode step

    def enter(self, now: float, count: int) -> None:
        """``count`` requests had a token from a prefill that ends now, and go on."""
        if count:
            self._last[now] = count

    def leave(self, request: SglangRequest) -> None:
        """``request`` leaves between two steps; its ``last_token_s`` is brought up to date."""
        request.last_token_s = max(request.last_token_s, self._stepped_s)
        self._last[request.last_token_s] -= 1

    def step(self, now: float, count: int) -> None:
        """A decode step ends now, after which ``count`` requests go on."""
        self._stepped_s = now
        self._last = {now: count}

    def log(
        self, steps: StepLog, now: float, began: float, first: float, slope: float, iterations: int
    ) -> None:
        """Log a run that ends now; the gaps that its first step ends may have begun before it."""
        last = {last_s: count for last_s, count in self._last.items() if count}
        count = sum(last.values())
        if last != {began: count}:
            first_end = now if iterations == 1 else began + first
            for last_s, decodes in last.items():
                steps.add(first_end, first_end - last_s, 0.0, 1, decodes, 0)
            iterations, first = iterations - 1, first + slope
        if iterations:
            steps.add(now, first, slope, iterations, count, 0)
