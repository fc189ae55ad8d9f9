"""What vLLM's scheduler does about drafts: it gives them tokens, and takes back those that are rejected.

A decode computes its drafts too (``v1/core/sched/scheduler.py``). The scheduler counts them all as computed
until the results are there: `Drafts.verify` then takes back those that were rejected. A step that was
decided before counts as if all were accepted.
"""

from __future__ import annotations

from sim.caches.groups.cache import EngineMemory, GroupedCache
from sim.engine.request import GONE, WAITING, Request
from sim.engine.vllm.batch import Batch, Shares
from sim.engine.vllm.speculation import Speculation
from sim.results.records import EngineTotals

NO_DRAFTS = Speculation(0)


class Drafts:
    """The drafts of the requests of one scheduler; without a ``speculation`` there are none."""

    def __init__(self, speculation: Speculation | None, memory: EngineMemory) -> None:
        self.any = speculation is not None
        """Whether there are drafts at all."""
        self.speculation = speculation or NO_DRAFTS
        self.wide = 1 + self.speculation.num_speculative_tokens
        """Tokens of a decode with all of its drafts."""
        self.extra_tokens = self.speculation.draft_slots
        """Tokens of the budget of a step that each request takes besides its own."""
        self._hash_lookahead = self.speculation.hash_lookahead_tokens
        self._memory = memory
        self._has_groups = isinstance(memory, GroupedCache)

    def decode_tokens(self, request: Request, most: int) -> int:
        """Tokens of a decode in this step, its drafts among them, of ``most``; 0: it is left out."""
        in_flight = request.computed >= request.known_tokens
        if in_flight and request.generated + 1 >= request.output_tokens:
            return 0  # asynchronous: the step in flight ends it even if that rejects all drafts
        return max(0, min(self.speculation.at_most(request.computed), most))

    def padded(self, cached: int, budget: int) -> int:
        """Tokens of a request of whose prompt the last token is left: placeholders make it as wide as the
        decodes beside it, whose graph then serves all; they are rejected. 0: the step has no room for it.
        """
        longest = self.speculation.max_model_len
        if longest is not None and cached + self.wide + 1 > longest:
            return 1
        return self.wide if self.wide <= budget else 0

    def decided(self, shares: Shares, request: Request, drafts: int) -> None:
        """``request`` decodes with so many drafts."""
        assert shares.sampled is not None
        shares.drafted += drafts
        shares.sampled[request] = drafts, min(drafts, self._accepts(request).pop()) if drafts else 0

    def _accepts(self, request: Request) -> list[int]:
        """Drafts that the verifications of ``request`` accept, the next one last."""
        if request.accepts is None:
            accepted = self.speculation.accepted(request.index, request.output_tokens)
            request.accepts = accepted[::-1]
        return request.accepts

    def publish(self, request: Request, computed: int) -> None:
        """Let blocks of ``computed`` tokens be found that are full of known ones.

        What is in flight is not known yet; with hashes that look ahead the tokens after a block have to be.
        """
        table, known = request.table, request.prompt_tokens + request.generated - self._hash_lookahead
        written = computed if computed < known else known
        if self._has_groups or written // self._memory.block_size > table.published:
            self._memory.publish(table, written)

    def verify(self, batch: Batch, ahead: Batch | None, totals: EngineTotals) -> None:
        """The results of ``batch`` are there: each request gets its tokens, and rejected drafts are gone.

        ``ahead`` was decided as if there were none.
        """
        shares = batch.shares
        assert shares is not None and shares.sampled is not None
        given: dict[Request, int] = {}
        later: dict[Request, tuple[int, int]] = {}
        if ahead is not None and ahead.shares is not None:
            later = ahead.shares.sampled or later
        for request, (drafts, accepted) in shares.sampled.items():
            left = request.output_tokens - request.generated
            if request.phase == GONE or not left:
                continue  # asynchronous: it ended with the step before
            given[request] = min(1 + accepted, left)
            request.generated += given[request]
            if drafts:
                totals.spec_decode_num_drafts += 1
                totals.spec_decode_num_draft_tokens += drafts
                totals.spec_decode_num_accepted_tokens += accepted
            if request.phase != WAITING:  # else it was preempted, and none of it has KV any more
                request.computed -= drafts - accepted
                totals.surplus_tokens += drafts - accepted
                if ahead is not None and request in later:
                    ahead.context -= drafts - accepted
                if given[request] == left:
                    totals.surplus_tokens += request.computed - request.final_tokens
                    request.computed = request.final_tokens
                self.publish(request, request.prompt_tokens + request.generated - 1)
            if given[request] == left:
                batch.finishing.append(request)
        shares.given = given
