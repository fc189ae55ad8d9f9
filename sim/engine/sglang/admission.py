"""Which requests get into a prefill batch: SGLang's budgets of one pass, and its guess at the length of
replies.

As read from SGLang 0.5.23 (``managers/schedule_policy.py:PrefillAdder``, ``mem_cache/prefill_budget.py``,
``managers/scheduler_components/new_token_ratio_tracker.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from sim.engine.loads import NOTHING, Found, Source
from sim.engine.sglang.config import UNCHUNKED, SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.request import SglangRequest
from sim.engine.sglang.retraction import RETRACT_DECODE_STEPS

CLIP_MAX_NEW_TOKENS = 4096
"""No reply is taken to be longer when memory is reserved for it."""


class NewTokenRatio:
    """The part of their remaining tokens that running requests are expected to use.

    Starts at 0.7 x conservativeness, falls linearly over 600 decode steps to 0.14 of that; a retraction
    sets it to what the remaining requests have used; an idle engine starts again.
    """

    def __init__(self, conservativeness: float) -> None:
        start = min(0.7 * conservativeness, 1.0)
        self._least = min(start * 0.14, 1.0)
        self._decay = (start - self._least) / 600
        self._from_start = [start]
        self._values = self._from_start  # after 0, 1, 2, ... steps, as far as they were asked for
        self._steps = 0

    @property
    def value(self) -> float:
        """The ratio now; it falls step by step, as the engine rounds."""
        values, steps = self._values, self._steps
        while len(values) <= steps and values[-1] != self._least:
            values.append(max(values[-1] - self._decay, self._least))
        return values[min(steps, len(values) - 1)]

    def decay(self, steps: int) -> None:
        """Count ``steps`` decode steps."""
        self._steps += steps

    def retracted(self, remaining: Sequence[SglangRequest]) -> None:
        """A request was retracted; ``remaining`` go on, ``generated`` up to date."""
        generated = sum(request.generated for request in remaining)
        allowed = sum(request.max_new_tokens for request in remaining)
        value = min(1.0, (generated + RETRACT_DECODE_STEPS * len(remaining)) / (allowed + 1))
        self._values, self._steps = [value], 0

    def reset(self) -> None:
        """The engine is idle."""
        self._values, self._steps = self._from_start, 0


class Verdict(Enum):
    """Whether a pass goes on after a candidate, and why not."""

    GO_ON = auto()
    NO_TOKEN = auto()
    """Memory is short."""
    OTHER = auto()
    """A limit of the pass is reached."""


class PrefillPass:
    """One pass: what may still be computed and reserved, and which requests are admitted so far.

    ``reserved`` is what running requests are expected to need yet. An admission reserves pages for what it
    computes, one page more, and, unless it is cut, its whole reply. With a ``source`` it may begin with a
    load: the same pages are then taken at once, and nothing is computed in this pass.
    """

    def __init__(
        self, engine: SglangEngine, memory: SglangMemory, reserved: float, source: Source | None
    ) -> None:
        assert engine.chunked_prefill_size is not None, "resolved() first"
        chunk = engine.chunked_prefill_size
        self.admitted: list[tuple[SglangRequest, int]] = []
        """(request, tokens to compute), in the order of the batch."""
        self.tokens = 0
        """To compute, all together."""
        self.cut: SglangRequest | None = None
        """Whose prompt is begun and not completed by this pass."""
        self.loads: list[tuple[SglangRequest, Found]] = []
        """Whose KV is brought in first."""
        self.joined: list[SglangRequest] = []
        """Prefilled elsewhere, and the whole prompt is in the tree: nothing to compute or to bring in."""
        self._memory = memory
        self._reserved = reserved
        self._source = source
        self._input_left = engine.max_prefill_tokens
        self._chunk_left = None if chunk == UNCHUNKED else chunk

    @property
    def _memory_left(self) -> float:
        memory = self._memory
        return memory.free_blocks * memory.page_size - self._reserved

    @property
    def _spent(self) -> bool:
        return self._input_left <= 0 or (self._chunk_left is not None and self._chunk_left <= 0)

    @property
    def verdict(self) -> Verdict:
        """What the budgets say about going on."""
        if self._memory_left <= 0:
            return Verdict.NO_TOKEN
        return Verdict.OTHER if self._spent else Verdict.GO_ON

    def resume(self, request: SglangRequest) -> None:
        """The begun prompt goes first, and goes on even if memory is short: it holds what is missing."""
        assert self._chunk_left is not None
        limit = min(self._chunk_left, int(self._memory_left))
        tokens = min(request.known_tokens - request.computed, limit if limit > 0 else self._chunk_left)
        self._charge(request, tokens)

    def admit_loaded(self, request: SglangRequest) -> bool:
        """Compute what of ``request`` was not loaded, if the budgets allow; it holds its pages already."""
        memory, kv, size = self._memory, request.kv, self._memory.page_size
        if self.cut is not None or self._spent:
            return False
        tokens = self._part(request.known_tokens - request.computed)
        if not tokens:
            return False
        memory.give_back(kv, -(-request.computed // size))
        self._charge(request, tokens)
        return True

    def admit(self, request: SglangRequest) -> Verdict:
        """Look the candidate up and admit it if it fits; the tree remembers the lookup either way."""
        memory, kv, size = self._memory, request.kv, self._memory.page_size
        known = request.known_tokens
        memory.lock(kv, memory.match(kv, known))  # what it finds cannot be evicted for it
        tokens = known - kv.held * size
        to_come = min(max(request.max_new_tokens - request.generated, 0), CLIP_MAX_NEW_TOKENS)
        refused = None
        if tokens + to_come + size >= self._memory_left:
            refused = Verdict.NO_TOKEN
        else:
            found = NOTHING if self._source is None else self._source.find(request, kv.held)
            if found.tokens or request.is_prefilled:
                self._load(request, found, to_come)
                return self.verdict
            tokens = self._part(tokens)
            if not tokens:
                refused = Verdict.OTHER
        if refused is not None:
            memory.release(kv)
            return refused
        request.computed = kv.held * size
        self._charge(request, tokens)
        return self.verdict

    def _part(self, tokens: int) -> int:
        """How many of ``tokens`` this pass computes: all, or what is left of its chunk; 0: none."""
        size = self._memory.page_size
        paged = -(-tokens // size) * size
        if self._chunk_left is None:
            return 0 if self.admitted and paged >= self._input_left else tokens
        return tokens if paged <= self._chunk_left else self._chunk_left // size * size

    def _load(self, request: SglangRequest, found: Found, to_come: int) -> None:
        memory, kv, size = self._memory, request.kv, self._memory.page_size
        request.computed = kv.held * size + found.tokens
        pages = -(-request.known_tokens // size) - kv.held
        memory.make_room(pages)
        memory.take(kv, pages)
        self._reserved += size + to_come
        if found.tokens:
            self.loads.append((request, found))
        else:
            self.joined.append(request)

    def _charge(self, request: SglangRequest, tokens: int) -> None:
        size = self._memory.page_size
        paged = -(-tokens // size) * size
        if request.computed + tokens < request.known_tokens:
            self.cut, reply = request, 0
        else:
            reply = min(request.max_new_tokens, CLIP_MAX_NEW_TOKENS)
        self._reserved += paged + size + reply
        self._input_left -= paged
        if self._chunk_left is not None:
            self._chunk_left -= paged
        self.tokens += tokens
        self.admitted.append((request, tokens))
