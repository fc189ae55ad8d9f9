"""The decodes of a replica, carried as a few numbers instead of one object per step."""

from __future__ import annotations

import heapq

from sim.engine.request import DECODE, PREFILL, Request

FEW = 64
"""Entries of requests that are gone, beyond as many as there are others, which a heap may carry."""
NEVER = 1 << 62
"""The step count at which nothing finishes."""


class Decodes:
    """All requests in decode: their number, their context, when they finish, when they need blocks.

    ``step`` counts the iterations done. A decode with ``base + step`` tokens in KV needs a new block
    in the next iteration if that number is a multiple of the block size; so the number of blocks that
    an iteration needs is kept per residue of ``step``.
    """

    __slots__ = ("_finish", "_longest", "_needs", "block_size", "context", "count", "next_finish", "step")

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.step = 0
        self.count = 0
        self.context = 0  # tokens in KV over all decodes
        self.next_finish = NEVER
        """The step count at which the next decode finishes."""
        self._needs = [0] * block_size  # residue of step -> decodes that need a block then
        self._finish: list[tuple[int, int, Request]] = []
        self._longest: list[tuple[int, int, Request]] = []  # by tokens in KV, the most first

    def enter(self, request: Request) -> None:
        """``request`` has its first (or, resumed, its next) token and goes on token by token."""
        request.phase = DECODE
        request.base = request.computed - self.step
        request.finish_step = self.step + request.output_tokens - request.generated
        self.count += 1
        self.context += request.computed
        self._needs[-request.base % self.block_size] += 1
        heapq.heappush(self._finish, (request.finish_step, request.order, request))
        if len(self._longest) > 2 * self.count + FEW:
            self._longest = [entry for entry in self._longest if _decodes(entry)]
            heapq.heapify(self._longest)
        heapq.heappush(self._longest, (-request.base, request.order, request))
        if request.finish_step < self.next_finish:
            self.next_finish = request.finish_step

    def leave(self, request: Request) -> None:
        """``request`` leaves before its last token is scheduled. Amortised O(log n)."""
        self._take_out(request)
        self._look_ahead()

    def _take_out(self, request: Request) -> None:
        """Bring ``request`` up to date; its entry in the heap stays until it is the first one there."""
        request.phase = PREFILL
        request.computed = request.base + self.step
        request.generated = request.output_tokens - (request.finish_step - self.step)
        self.count -= 1
        self.context -= request.computed
        self._needs[-request.base % self.block_size] -= 1

    def needs_block(self, request: Request) -> bool:
        """Whether the next iteration needs a new block for ``request``."""
        return (request.base + self.step) % self.block_size == 0

    def needs(self, first: int, steps: int) -> int:
        """Blocks needed by ``steps`` iterations from step number ``first`` on. O(block size)."""
        needs, size = self._needs, self.block_size
        begin = first % size
        if steps == 1:
            return needs[begin]
        cycles, rest = divmod(steps, size)
        end = begin + rest
        return cycles * self.count + sum(needs[begin:end]) + (sum(needs[: end - size]) if end > size else 0)

    def steps_within(self, first: int, steps: int, blocks: int) -> int:
        """How many of ``steps`` iterations from step ``first`` on ``blocks`` free blocks allow."""
        size = self.block_size
        if self.count * (-(-steps // size)) <= blocks:
            return steps
        cycles, blocks = divmod(blocks, self.count)
        allowed = cycles * size
        while allowed < steps:
            blocks -= self._needs[(first + allowed) % size]
            if blocks < 0:
                return allowed
            allowed += 1
        return steps

    @property
    def longest(self) -> int:
        """Tokens in KV of the decode that has most; 0 of none. Amortised O(log n)."""
        entries = self._longest
        while entries and not _decodes(entries[0]):
            heapq.heappop(entries)
        return self.step - entries[0][0] if entries else 0

    @property
    def uneven(self) -> int:
        """KV tokens by which all of them together fall short of the longest: count x (longest - mean)."""
        return self.count * self.longest - self.context

    def _look_ahead(self) -> None:
        """Which decode finishes next, now that some have left."""
        finish = self._finish
        while finish and not _valid(finish[0]):
            heapq.heappop(finish)
        self.next_finish = finish[0][0] if finish else NEVER

    def advance(self, steps: int) -> list[Request]:
        """Count ``steps`` steps; those that finish with them, in running order, leave."""
        self.step += steps
        self.context += steps * self.count
        found: list[Request] = []
        if self.next_finish > self.step:
            return found
        finish = self._finish
        while finish and finish[0][0] <= self.step:
            entry = heapq.heappop(finish)
            if _valid(entry):
                self._take_out(entry[2])
                found.append(entry[2])
        self._look_ahead()
        return found

    def check(self, requests: list[Request]) -> None:
        """Assert that the numbers describe ``requests``, all those in decode."""
        assert self.count == len(requests) == sum(self._needs)
        assert self.next_finish == min((request.finish_step for request in requests), default=NEVER)
        assert self.context == sum(request.base + self.step for request in requests)
        assert self.longest == max((request.base + self.step for request in requests), default=0)
        for request in requests:
            assert self._needs[-request.base % self.block_size] > 0


def _valid(entry: tuple[int, int, Request]) -> bool:
    finish_step, order, request = entry
    return request.phase == DECODE and request.order == order and request.finish_step == finish_step


def _decodes(entry: tuple[int, int, Request]) -> bool:
    _, order, request = entry
    return request.phase == DECODE and request.order == order
