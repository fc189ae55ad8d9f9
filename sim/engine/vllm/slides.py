"""What decodes give back while they go on: blocks that left a window, where a cache has groups of
layers."""

from __future__ import annotations

from sim.caches.groups.cache import GroupedCache
from sim.engine.batch import Decodes
from sim.engine.request import Request

Slide = tuple[int, int, Request, int]
"""(step, the request's place in the running list, request, its tokens that are not in flight in that
step)."""


class Slides:
    """The decodes of a replica by the steps in which blocks of theirs leave a window.

    A decode gives a block of a window of 128 back whenever the number of its tokens is 127 more than a
    multiple of the block size: its *phase*. Requests are kept by the remainder of their tokens, so that a
    step looks only at those that are due in it. ``lag`` steps are in flight while one is scheduled
    (asynchronous: 1), and their tokens still look at what they look at.
    """

    def __init__(self, memory: GroupedCache, lag: int) -> None:
        self._memory = memory
        self._size = memory.block_size
        self._lag = lag
        self._phases = sorted({max(0, group.kind.behind) % self._size for group in memory.sliding})
        self._steady: list[dict[Request, int]] = [{} for _ in range(self._size)]
        """By remainder: requests, and the step from which on only their phase counts."""
        self._first: list[Slide] = []
        """Requests in their first steps of decode, in which what their prompts left behind goes."""

    def enter(self, request: Request, before: int, step: int) -> None:
        """``request`` decodes from step number ``step`` on; its last piece of prompt began at
        ``before``."""
        if self._lag:
            self._first.append((step, request.order, request, before))
        settled = step + self._lag
        self._first.append((settled, request.order, request, request.computed))
        self._steady[request.base % self._size][request] = settled + 1

    def leave(self, request: Request) -> None:
        """``request`` decodes no more."""
        del self._steady[request.base % self._size][request]
        if self._first:
            self._first = [slide for slide in self._first if slide[2] is not request]

    def due(self, first: int, upto: int) -> list[Slide]:
        """What is given back in the steps from number ``first`` up to ``upto``, in the engine's order.

        O(blocks that are given back), and once the phases for each of up to ``block_size`` steps.
        """
        due: list[Slide] = []
        if self._first:
            due = [slide for slide in self._first if slide[0] < upto]
            self._first = [slide for slide in self._first if slide[0] >= upto]
        size, lag, steady = self._size, self._lag, self._steady
        for early in range(first, min(upto, first + size)):
            for phase in self._phases:
                for request, start in steady[(phase + lag - early) % size].items():
                    for step in range(early, upto, size):
                        if step >= start:
                            due.append((step, request.order, request, request.base + step - lag))
        if len(due) > 1:
            due.sort(key=_order)
        return due

    def happen(self, first: int, upto: int, decodes: Decodes) -> None:
        """Give back what is `due`; ``decodes`` have the blocks of these steps already.

        What is held is highest right before something is given back: the memory keeps how much that is.
        Where each window gives back one block every ``block_size`` steps, no less is taken, so that is in
        the last of these steps: those before them pass together.
        """
        at, size = first, self._size
        if upto - first > 2 * size:
            for point in [*self._points(first, upto), upto - 1]:
                if point - at > 2 * size:
                    self._pass(at, point + 1 - size)
                    at = point + 1 - size
                self._singly(at, point + 1, upto, decodes)
                at = point + 1
        else:
            self._singly(first, upto, upto, decodes)

    def _points(self, first: int, upto: int) -> list[int]:
        """The steps in which a request leaves behind more than one block of a window: what its prompt had,
        or a chunk."""
        points = {slide[0] for slide in self._first if slide[0] < upto}
        if self._memory.has_chunks:
            for requests in self._steady:
                for request in requests:
                    settled = request.base - self._lag  # in step 0
                    leaps = self._memory.leaps_within(settled + first - 1, settled + upto - 1)
                    points.update([tokens - settled for tokens in leaps])
        return sorted(points)

    def _pass(self, first: int, upto: int) -> None:
        """Let the steps from number ``first`` up to ``upto``, more than ``block_size``, pass in one go."""
        leaving = []
        for requests in self._steady:
            for request, start in requests.items():
                if start < upto:
                    shift = self._lag - request.base
                    leaving.append((request.table, upto - 1 - shift, shift, request.order))
        self._memory.leave_in_turns(leaving)

    def _singly(self, first: int, upto: int, taken: int, decodes: Decodes) -> None:
        """Give back what is due block by block; ``decodes`` have the blocks up to step ``taken``."""
        memory, last = self._memory, -1
        for step, _, request, settled in self.due(first, upto):
            if step > last:
                last = step
                later = memory.width * decodes.needs(step, taken - step)
                memory.peak_blocks = max(
                    memory.peak_blocks, memory.capacity_blocks - memory.free_blocks - later
                )
            memory.slide(request.table, settled)


def _order(slide: Slide) -> tuple[int, int]:
    return slide[0], slide[1]
