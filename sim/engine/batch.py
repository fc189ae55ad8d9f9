"""The decodes of a replica, carried as a few numbers instead of one object per step."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

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

    Which decode is the longest is only known if ``knows_longest``: few latency models ask for it.
    """

    __slots__ = (
        "_finish", "_longest", "_needs", "block_size", "context", "count", "knows_longest", "next_finish",
        "step", "uneven",
    )  # fmt: skip

    def __init__(self, block_size: int, *, knows_longest: bool = True) -> None:
        self.block_size = block_size
        self.step = 0
        self.count = 0
        self.context = 0  # tokens in KV over all decodes
        self.next_finish = NEVER
        """The step count at which the next decode finishes."""
        self._needs = [0] * block_size  # residue of step -> decodes that need a block then
        self._finish: list[tuple[int, int, Request]] = []
        self.knows_longest = knows_longest
        self.uneven = 0
        """KV tokens by which all of them together fall short of the longest: count x (longest - mean).

        The same from step to step; 0 if that is not known.
        """
        self._longest: list[tuple[int, int, Request]] = []  # by tokens in KV, the most first

    def enter(self, request: Request) -> None:
        """``request`` has its first (or, resumed, its next) token and goes on token by token."""
        request.phase = DECODE
        step, computed = self.step, request.computed
        request.base = base = computed - step
        request.finish_step = finish_step = step + request.output_tokens - request.generated
        self.count += 1
        self.context += computed
        self._needs[-base % self.block_size] += 1
        heappush(self._finish, (finish_step, request.order, request))
        if finish_step < self.next_finish:
            self.next_finish = finish_step
        if self.knows_longest:
            if len(self._longest) > 2 * self.count + FEW:
                self._longest = [entry for entry in self._longest if _decodes(entry)]
                heapify(self._longest)
            heappush(self._longest, (-base, request.order, request))
            self.uneven = self.count * self.longest - self.context

    def leave(self, request: Request) -> None:
        """``request`` leaves before its last token is scheduled. Amortised O(log n)."""
        self._take_out(request)
        if request.finish_step == self.next_finish:
            self._take_finished()

    def _take_out(self, request: Request) -> None:
        """Bring ``request`` up to date; its entry in the heap stays until it is the first one there."""
        request.phase = PREFILL
        step, base = self.step, request.base
        request.computed = computed = base + step
        request.generated = request.output_tokens - (request.finish_step - step)
        self.count -= 1
        self.context -= computed
        self._needs[-base % self.block_size] -= 1
        if self.knows_longest:
            self.uneven = self.count * self.longest - self.context

    def needs_block(self, request: Request) -> bool:
        """Whether the next iteration needs a new block for ``request``."""
        return (request.base + self.step) % self.block_size == 0

    def needs(self, first: int, steps: int) -> int:
        """Blocks needed by ``steps`` iterations from step number ``first`` on. O(block size)."""
        needs, size = self._needs, self.block_size
        begin = first % size
        if steps == 1:
            return needs[begin]
        end = begin + steps % size
        needed = sum(needs[begin:end])
        if end > size:
            needed += sum(needs[: end - size])
        return needed + steps // size * self.count if steps >= size else needed

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
        """Tokens in KV of the decode that has most; 0 of none, or if that is not known.

        Amortised O(log n).
        """
        entries = self._longest
        while entries and not _decodes(entries[0]):
            heappop(entries)
        return self.step - entries[0][0] if entries else 0

    def advance(self, steps: int) -> list[Request]:
        """Count ``steps`` steps; those that finish with them, in running order, leave."""
        self.step += steps
        self.context += steps * self.count
        return self._take_finished() if self.next_finish <= self.step else []

    def _take_finished(self) -> list[Request]:
        """Take out those that have finished, in running order, and note which one finishes next."""
        finish = self._finish
        found: list[Request] = []
        while finish:
            finish_step, order, request = finish[0]
            if request.phase == DECODE and request.order == order and request.finish_step == finish_step:
                if finish_step > self.step:
                    self.next_finish = finish_step
                    return found
                self._take_out(request)
                found.append(request)
            heappop(finish)  # finished, or it has left before and may be back since
        self.next_finish = NEVER
        return found

    def check(self, requests: list[Request]) -> None:
        """Assert that the numbers describe ``requests``, all those in decode."""
        assert self.count == len(requests) == sum(self._needs)
        assert self.next_finish == min((request.finish_step for request in requests), default=NEVER)
        assert self.context == sum(request.base + self.step for request in requests)
        if self.knows_longest:
            assert self.longest == max((request.base + self.step for request in requests), default=0)
            assert self.uneven == self.count * self.longest - self.context
        for request in requests:
            assert self._needs[-request.base % self.block_size] > 0


def _decodes(entry: tuple[int, int, Request]) -> bool:
    _, order, request = entry
    return request.phase == DECODE and request.order == order
