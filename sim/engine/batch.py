"""The decodes of a replica, carried as a few numbers instead of one object per step."""

from __future__ import annotations

import heapq

from sim.engine.request import DECODE, PREFILL, Request


class Decodes:
    """All requests in decode: their number, their context, when they finish, when they need blocks.

    ``step`` counts the iterations done. A decode with ``base + step`` tokens in KV needs a new block
    in the next iteration if that number is a multiple of the block size; so the number of blocks that
    an iteration needs is kept per residue of ``step``.
    """

    __slots__ = ("_finish", "_needs", "block_size", "context", "count", "step")

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.step = 0
        self.count = 0
        self.context = 0  # tokens in KV over all decodes
        self._needs = [0] * block_size  # residue of step -> decodes that need a block then
        self._finish: list[tuple[int, int, Request]] = []

    def enter(self, request: Request) -> None:
        """``request`` has its first (or, resumed, its next) token and goes on token by token."""
        request.phase = DECODE
        request.base = request.computed - self.step
        request.finish_step = self.step + request.output_tokens - request.generated
        self.count += 1
        self.context += request.computed
        self._needs[-request.base % self.block_size] += 1
        heapq.heappush(self._finish, (request.finish_step, request.order, request))

    def leave(self, request: Request) -> None:
        """Bring ``request`` up to date and take it out (its last token is scheduled, or it is
        preempted)."""
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

    def next_finish(self) -> int:
        """The step count at which the next decode finishes. Amortised O(log n)."""
        finish = self._finish
        while not _valid(finish[0]):
            heapq.heappop(finish)
        return finish[0][0]

    def may_finish(self, step: int) -> bool:
        """Whether a decode may finish by the time ``step`` steps are counted; False: none does. O(1)."""
        return bool(self._finish) and self._finish[0][0] <= step

    def pass_by(self, steps: int) -> None:
        """Count ``steps`` steps with which no decode finishes."""
        self.step += steps
        self.context += steps * self.count

    def advance(self, steps: int) -> list[Request]:
        """Count ``steps`` steps; those that finish with them, in running order, leave."""
        self.step += steps
        self.context += steps * self.count
        finish = self._finish
        found: list[Request] = []
        while finish and finish[0][0] <= self.step:
            entry = heapq.heappop(finish)
            if _valid(entry):
                self.leave(entry[2])
                found.append(entry[2])
        return found

    def check(self, requests: list[Request]) -> None:
        """Assert that the numbers describe ``requests``, all those in decode."""
        assert self.count == len(requests) == sum(self._needs)
        assert self.context == sum(request.base + self.step for request in requests)
        for request in requests:
            assert self._needs[-request.base % self.block_size] > 0


def _valid(entry: tuple[int, int, Request]) -> bool:
    finish_step, order, request = entry
    return request.phase == DECODE and request.order == order and request.finish_step == finish_step
