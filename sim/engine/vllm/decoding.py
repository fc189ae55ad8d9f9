"""The decodes of a replica of vLLM: the replies they write, the blocks they take, runs of their steps.

Between two changes of the batch the steps differ only by one more KV token per request: `repeats` says how
many may follow, and they pass without being decided one by one.

Asynchronous scheduling is ``lag`` = 1: a reply's tokens can be found one step later, and a request whose
last token is scheduled stays, without work, until that token is there.
"""

from __future__ import annotations

from sim.caches.groups.cache import EngineMemory, GroupedCache
from sim.engine.batch import Decodes
from sim.engine.request import DECODE, LAST, Request
from sim.engine.vllm.batch import NONE, Batch
from sim.engine.vllm.slides import Slides
from sim.engine.writers import Writers
from workloads.content import Route


class Decoding:
    """All requests that go on token by token, as numbers.

    *Blocks are taken late.* The blocks that decodes need are taken when something else happens to the
    memory, all steps since then together: what an eviction order without a clock evicts is the same then.
    With blocks of 16, two decodes with 30 and 40 tokens in KV need 2 and 1 blocks over 20 steps; if nothing
    else happens the 3 are taken in one go. Where a cache has groups of layers, blocks that left a window
    are given back with them (`Slides`).
    """

    __slots__ = (
        "_has_clock", "_lag", "_memory", "_slides", "_taken", "contested", "decodes",
        "width", "writers",
    )  # fmt: skip

    def __init__(self, memory: EngineMemory, *, asynchronous: bool, knows_longest: bool) -> None:
        self.decodes = Decodes(memory.block_size, knows_longest=knows_longest)
        self._memory = memory
        self._has_clock = memory.has_clock
        self._lag = 1 if asynchronous else 0
        self._taken = 0  # scheduled steps whose decodes have their blocks
        self.writers = Writers()
        """Which replies are being written."""
        self.contested = self.writers.contested
        """Nodes in which two replies have content in common."""
        groups = memory if isinstance(memory, GroupedCache) else None
        self.width = 1 if groups is None else groups.width
        """Blocks that ``block_size`` tokens take."""
        self._slides = None if groups is None else Slides(groups, self._lag)

    def enter(self, request: Request, before: int) -> None:
        """``request`` goes on token by token from the next step on; its last piece of prompt began at
        ``before``."""
        if self._taken < self.decodes.step:  # before the numbers change
            self._take(self.decodes.step)
        self.decodes.enter(request)
        self.writers.add(request)
        if self._slides is not None:
            self._slides.enter(request, before, self.decodes.step)

    def leave(self, request: Request) -> None:
        """``request`` is taken out before it has its last token."""
        if request.phase == DECODE:
            self.decodes.leave(request)
            if self._slides is not None:
                self._slides.leave(request)
        self.writers.discard(request)

    def advance(self, steps: int) -> list[Request]:
        """Count ``steps`` scheduled steps; those that get their last token with the last of them."""
        decodes = self.decodes
        step = decodes.step + steps
        if step < decodes.next_finish:
            decodes.step = step
            decodes.context += steps * decodes.count
            return NONE
        if self._taken < step:  # before the numbers change
            self._take(step)
        finishing = decodes.advance(steps)
        for request in finishing:
            request.phase = LAST
            if self._slides is not None:
                self._slides.leave(request)
        return finishing

    # -- blocks ------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Take the blocks of all steps scheduled so far."""
        if self._taken < self.decodes.step:
            self._take(self.decodes.step)

    def _take(self, upto: int) -> None:
        """Give the decodes the blocks of all scheduled steps before number ``upto``."""
        taken = self._taken
        if upto > taken:
            needed = self.decodes.needs(taken, upto - taken)
            if needed:
                self._memory.take(needed * self.width)
            if self._slides is not None:
                self._slides.happen(taken, upto, self.decodes)
            self._taken = upto

    def next_step_fits(self, at_once: bool) -> bool:
        """Whether there are blocks for a step of all decodes; ``at_once`` they are taken."""
        decodes, first = self.decodes, self._taken
        after = decodes.step + 1
        if self._slides is not None:
            self.settle()  # what left a window in the steps before is free
            if decodes.needs(self._taken, 1) * self.width > self._memory.free_blocks:
                return False
            if at_once:
                self._take(after)
            return True
        if not (at_once or self._has_clock):
            free = self._memory.free_blocks
            if decodes.count * -((first - after) // decodes.block_size) <= free:  # nearly always
                return True
            return decodes.needs(first, after - first) <= free or self._is_short()
        needed = decodes.needs(first, after - first)
        if needed:
            if needed > self._memory.free_blocks:
                return self._is_short()
            self._memory.take(needed)
        self._taken = after
        return True

    def _is_short(self) -> bool:
        """The next step does not fit; those before it have their blocks from now on."""
        self.settle()
        return False

    def due(self) -> dict[Request, int]:
        """Whose blocks leave a window in the next step, each with its tokens that are not in flight."""
        if self._slides is None:
            return {}
        step = self.decodes.step
        return {request: settled for _, _, request, settled in self._slides.due(step, step + 1)}

    def taken_singly(self) -> None:
        """Each decode has been given its block for the next step."""
        self._taken = self.decodes.step + 1

    # -- replies -----------------------------------------------------------------------------------

    def written(self, request: Request) -> int:
        """Tokens of a running request whose KV is computed and whose text is known, as scheduled."""
        if request.phase == DECODE:
            return request.base + self.decodes.step - self._lag
        if request.phase == LAST:
            return request.computed - self._lag
        return request.computed

    def publish(self, route: Route) -> None:
        """Publish what is written by now of the replies on ``route``."""
        writers = self.writers
        if not writers.nodes.isdisjoint(route.nodes):
            for request in writers.of(route):
                self._memory.publish(request.table, self.written(request))

    def publish_contested(self) -> None:
        """Publish what is written by now of the replies that have content in common."""
        self.settle()
        for request in self.writers.of_contested():
            self._memory.publish(request.table, self.written(request))

    # -- runs of steps -----------------------------------------------------------------------------

    def repeats(self, last: Batch, head: Request | None, others: bool) -> int:
        """How many steps of decodes alone may follow ``last``, the step scheduled last.

        Synchronous: up to the step with which a request finishes, or before the one that lacks blocks.
        Asynchronous: the same, and if requests finish with the run, the step after it is scheduled while
        they compute their last token: this too is foreseen, if no request waits. None if two requests
        write one reply, or if the ``head`` of the queue, which is blocked, reads one being written.
        ``others``: a step that is scheduled now may take blocks for prompts.
        """
        if self.contested or (head is not None and self.writers.write(head.table.route)):
            return 0
        decodes, first = self.decodes, self._taken
        count, step = decodes.count, decodes.step
        steps = 0 if last.finishing else decodes.next_finish - step
        one_more = 1 if self._lag and not others else 0
        most = steps + step - first  # those too whose blocks are still to be taken
        free = self._memory.free_blocks // self.width
        if count * (1 - (-most // decodes.block_size)) <= free:
            return steps + one_more
        within = decodes.steps_within(first, most, free) - (step - first)
        if not one_more or within < steps:
            return within
        # The step without those that finish: all others may need a block each.
        return steps + 1 if decodes.needs(first, most) + count <= free else steps

    def repeat(self, computing: Batch, ahead: Batch | None, steps: int) -> tuple[Batch | None, int]:
        """``steps`` of the `repeats` have been scheduled since; (the step ahead now, tokens scheduled)."""
        decodes, same = self.decodes, steps
        count = decodes.count
        if not self._lag:
            computing.finishing = self.advance(steps)
            return None, steps * count
        assert ahead is not None
        if ahead.finishing:
            same = 0
        elif decodes.step + steps > decodes.next_finish:
            same = decodes.next_finish - decodes.step
        if steps == same:
            tokens = same * count
            ahead = ahead.followed_by(count, decodes.context + tokens - count, decodes.uneven)
            ahead.finishing = self.advance(same)
            return ahead, tokens
        # The last of them gives some their last token while the others are scheduled once more.
        assert steps == same + 1
        computing.finishing = self.advance(same) if same else ahead.finishing
        tokens, count = same * count, decodes.count
        if not count:
            return None, tokens
        ahead = ahead.followed_by(count, decodes.context, decodes.uneven)
        ahead.finishing = self.advance(1)
        return ahead, tokens + count

    # -- checks ------------------------------------------------------------------------------------

    def check(self, running: list[Request]) -> None:
        """Assert that the numbers describe those of the ``running`` requests that are in decode."""
        self.decodes.check([request for request in running if request.phase == DECODE])
