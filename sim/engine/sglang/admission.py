"""Which requests get into a prefill batch: SGLang's budgets of one pass, and its guess at the length of
replies.

As read from SGLang 0.5.23 (``managers/schedule_policy.py:PrefillAdder``, ``mem_cache/prefill_budget.py``,
``managers/scheduler_components/new_token_ratio_tracker.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self.steps = 0
        """Decode steps since it was set; the batch counts them here."""

    @property
    def value(self) -> float:
        """The ratio now; it falls step by step, as the engine rounds."""
        values, steps = self._values, self.steps
        while len(values) <= steps and values[-1] != self._least:
            values.append(max(values[-1] - self._decay, self._least))
        return values[min(steps, len(values) - 1)]

    def retracted(self, remaining: Sequence[SglangRequest]) -> None:
        """A request was retracted; ``remaining`` go on, ``generated`` up to date."""
        generated = sum(request.generated for request in remaining)
        allowed = sum(request.max_new_tokens for request in remaining)
        value = min(1.0, (generated + RETRACT_DECODE_STEPS * len(remaining)) / (allowed + 1))
        self._values, self.steps = [value], 0

    def reset(self) -> None:
        """The engine is idle."""
        self._values, self.steps = self._from_start, 0


class Verdict(Enum):
    """Whether a pass goes on after a candidate, and why not."""

    GO_ON = auto()
    NO_TOKEN = auto()
    """Memory is short."""
    OTHER = auto()
    """A limit of the pass is reached."""


class PrefillPass:
    """One pass: what may still be computed and reserved, and which requests are admitted so far.

    An admission reserves pages for what it computes, one page more, and, unless it is cut, its whole reply.
    With a ``source`` it may begin with a load: the same pages are then taken at once, and nothing is
    computed in this pass.

    What the ``running`` requests are expected to need yet, a sum over all of them, is only asked for
    (``reserved``) if memory would be short if each of them needed as much as can be reserved for one.
    """

    def __init__(
        self,
        engine: SglangEngine,
        memory: SglangMemory,
        running: int,
        reserved: Callable[[], float],
        source: Source | None,
    ) -> None:
        chunk = engine.chunked_prefill_size
        assert chunk is not None, "resolved() first"
        self.chunks: list[tuple[SglangRequest, int, int]] = []
        """What is computed, as in a batch."""
        self.admitted: list[tuple[SglangRequest, int, int]] = []
        """(request, its known tokens, those of them that were found) of those that begin with it."""
        self.tokens = 0
        """To compute, all together."""
        self.cut: SglangRequest | None = None
        """Whose prompt is begun and not completed by this pass."""
        self.loads: list[tuple[SglangRequest, Found]] = []
        """Whose KV is brought in first."""
        self.joined: list[SglangRequest] = []
        """Prefilled elsewhere, and the whole prompt is in the tree: nothing to compute or to bring in."""
        self._memory = memory
        self._source = source
        self._reserved = float(running * CLIP_MAX_NEW_TOKENS)
        self._reserved_by: Callable[[], float] | None = reserved  # None: `_reserved` has been made exact
        self._charged: list[int] = []  # by this pass, in order
        self._paged = 0  # tokens to compute, in whole pages
        self._max_paged = engine.max_prefill_tokens
        self._chunked = chunk != UNCHUNKED
        self._chunk = chunk

    def has(self, tokens: int) -> bool:
        """Whether memory has more than ``tokens`` left beyond what is reserved."""
        memory = self._memory
        free = (memory.free_pages + memory.tree.evictable_pages) * memory.page_size
        if free - self._reserved > tokens:
            return True
        if self._reserved_by is None:
            return False
        reserved, self._reserved_by = self._reserved_by(), None
        for charge in self._charged:  # one by one, as the engine rounds
            reserved += charge
        self._reserved = reserved
        return free - reserved > tokens

    @property
    def spent(self) -> bool:
        """Whether no more may be computed."""
        paged = self._paged
        return paged >= self._max_paged or (self._chunked and paged >= self._chunk)

    def resume(self, request: SglangRequest) -> None:
        """The begun prompt goes first, and goes on even if memory is short: it holds what is missing."""
        assert self._chunked
        known, before, memory = request.known_tokens, request.computed, self._memory
        tokens = min(known - before, self._chunk - self._paged)
        if not self.has(tokens):
            left = int(memory.free_blocks * memory.page_size - self._reserved)
            if left > 0:
                tokens = left
        self._charge(request, known, before, tokens)

    def admit_loaded(self, request: SglangRequest) -> bool:
        """Compute what of ``request`` was not loaded, if the budgets allow; it holds its pages already."""
        memory, kv, size = self._memory, request.kv, self._memory.page_size
        if self.cut is not None or self.spent:
            return False
        known, before = request.known_tokens, request.computed
        tokens = self._part(known - before)
        if not tokens:
            return False
        memory.give_back(kv, -(-before // size))
        self.admitted.append((request, known, before))
        self._charge(request, known, before, tokens)
        return True

    def admit(self, request: SglangRequest) -> Verdict:
        """Look the candidate up and admit it if it fits; the tree remembers the lookup either way."""
        memory, kv = self._memory, request.kv
        known, size = request.known_tokens, memory.page_size
        memory.lock(kv, memory.match(kv, known))  # what it finds cannot be evicted for it
        before = kv.held * size
        tokens = known - before
        to_come = min(max(request.max_new_tokens - request.generated, 0), CLIP_MAX_NEW_TOKENS)
        refused = None
        if not self.has(tokens + to_come + size):
            refused = Verdict.NO_TOKEN
        else:
            found = NOTHING if self._source is None else self._source.find(request, kv.held)
            if found.tokens or request.is_prefilled:
                self._load(request, known, found, to_come)
                return self._verdict()
            tokens = self._part(tokens)
            if not tokens:
                refused = Verdict.OTHER
        if refused is not None:
            memory.release(kv)
            return refused
        self.admitted.append((request, known, before))
        self._charge(request, known, before, tokens)
        return self._verdict()

    def _verdict(self) -> Verdict:
        """What the budgets say about going on."""
        if not self.has(0):
            return Verdict.NO_TOKEN
        return Verdict.OTHER if self.spent else Verdict.GO_ON

    def _part(self, tokens: int) -> int:
        """How many of ``tokens`` this pass computes: all, or what is left of its chunk; 0: none."""
        size = self._memory.page_size
        paged = -(-tokens // size) * size
        if not self._chunked:
            return 0 if self.chunks and paged >= self._max_paged - self._paged else tokens
        left = self._chunk - self._paged
        return tokens if paged <= left else left // size * size

    def _load(self, request: SglangRequest, known: int, found: Found, to_come: int) -> None:
        memory, kv, size = self._memory, request.kv, self._memory.page_size
        request.computed = kv.held * size + found.tokens
        pages = -(-known // size) - kv.held
        memory.make_room(pages)
        memory.take(kv, pages)
        self._reserved += size + to_come
        self._charged.append(size + to_come)
        if found.tokens:
            self.loads.append((request, found))
        else:
            self.joined.append(request)

    def _charge(self, request: SglangRequest, known: int, before: int, tokens: int) -> None:
        size = self._memory.page_size
        paged = -(-tokens // size) * size
        charge = paged + size
        if before + tokens < known:
            self.cut = request
        else:
            charge += min(request.max_new_tokens, CLIP_MAX_NEW_TOKENS)
        self._reserved += charge
        self._charged.append(charge)
        self._paged += paged
        self.tokens += tokens
        self.chunks.append((request, before, tokens))
