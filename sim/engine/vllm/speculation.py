"""Speculative decoding as vLLM's scheduler sees it: how many drafts, how many of them are accepted.

Each step a request that writes its reply computes its newest token and ``num_speculative_tokens`` guesses
of those that follow. Of the guesses the first few are accepted, then one more token is sampled: with 3
drafts of which 2 are accepted a step gives 3 tokens, and what was computed for the third draft is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.engine.latency import IterationTime
from sim.engine.vllm.batch import Batch
from workloads.seeds import stream


@dataclass(frozen=True, slots=True)
class Speculation:
    """What the scheduler has to know (vLLM 0.33.0, ``v1/core/sched/scheduler.py``, ``config/vllm.py``)."""

    num_speculative_tokens: int
    lookahead_tokens: int = 0
    """KV slots of a request beyond the tokens that it computes: drafts with a KV cache of their own write
    there."""
    draft_slots: int = 0
    """Tokens of the budget of a step that each request takes besides its own."""
    hash_lookahead_tokens: int = 0
    """Tokens after a block that its hash covers: it can be found once they are known."""
    max_model_len: int | None = None
    acceptance_rates: tuple[float, ...] = ()
    """Of the i-th draft and all before it together, as vLLM logs them; they do not rise."""
    seed: int = 0
    numbers: Sequence[int] | None = None
    """The number of each request in the whole trace, where what is served is a part of it."""

    def accepted(self, index: int, output_tokens: int) -> list[int]:
        """Drafts accepted by each verification of request ``index``, in order: as many as it can need.

        The stream is the request's own, so the n-th verification accepts the same in every system and
        with and without a cache.
        """
        number = index if self.numbers is None else self.numbers[index]
        draws = stream(self.seed, f"accepted drafts of request {number}").random(output_tokens)
        rising = 1.0 - np.array(self.acceptance_rates)
        # The i-th draft is accepted if 1 - draw > 1 - rate: so many rates lie above the draw.
        found: list[int] = np.searchsorted(rising, 1.0 - draws, side="left").tolist()
        return found

    @property
    def least_tokens(self) -> int:
        """What one request takes of the budget with all of its drafts: with less it may never run."""
        return 1 + self.num_speculative_tokens + self.draft_slots

    def slots(self, tokens: int) -> int:
        """Tokens that a request has room for in KV once it has computed ``tokens``."""
        slots = tokens + self.lookahead_tokens
        return slots if self.max_model_len is None else min(slots, self.max_model_len)

    def at_most(self, computed: int) -> int:
        """Tokens that a request with ``computed`` ones may compute, one more being sampled."""
        tokens = 1 + self.num_speculative_tokens
        return tokens if self.max_model_len is None else min(tokens, self.max_model_len - computed - 1)


@dataclass(frozen=True, slots=True)
class Drafter:
    """The time that making drafts takes: one pass of the draft over all tokens of the step, which brings
    its KV up to date and gives the first drafts, then one per further draft over one token of each request
    (``v1/spec_decode/llm_base_proposer.py``)."""

    latency: IterationTime
    passes: int
    """Drafts of each request."""

    def step_s(self, batch: Batch, drafted: int) -> float:
        """What making drafts after ``batch`` takes, which computed ``drafted`` ones, s."""
        requests = batch.decodes + len(batch.completed)
        seconds = verification_s(self.latency, batch, drafted)
        if requests and self.passes > 1:
            context = batch.context + drafted + sum(before + new for _, before, new in batch.chunks)
            seconds += (self.passes - 1) * self.latency.decodes_s(requests, context)
        return seconds


def verification_s(latency: IterationTime, batch: Batch, drafted: int) -> float:
    """How long a step takes in which decodes compute ``drafted`` drafts too, s.

    The output head gives logits for each of their tokens.
    """
    prompt_tokens = batch.tokens - batch.decodes - drafted
    seconds = latency.verify_s(batch.decodes, batch.context, drafted, batch.uneven, prompt_tokens)
    for _, before, new in batch.chunks:
        seconds += latency.prefill_s(before, new)
    return seconds + latency.fixed_s(batch.tokens, batch.decodes + drafted + len(batch.chunks))


def geometric(rate: float, drafts: int) -> list[float]:
    """Rates where each draft is accepted with ``rate`` if all before it are.

    >>> geometric(0.5, 3)
    [0.5, 0.25, 0.125]
    """
    return [rate**i for i in range(1, drafts + 1)]


def of_length(length: float, drafts: int) -> list[float]:
    """Rates that give ``length`` tokens per step on average and as little spread as can be (vLLM's
    ``synthetic_acceptance_length``).

    >>> of_length(2.5, 3), of_length(4, 3)
    ([1.0, 0.5, 0.0], [1.0, 1.0, 1.0])
    """
    return [min(1.0, max(0.0, length - i)) for i in range(1, drafts + 1)]


def tokens_per_step(rates: Sequence[float]) -> float:
    """Mean tokens that a step gives a request: the sampled one, and each draft as often as it is accepted.

    >>> tokens_per_step(geometric(0.5, 3))
    1.875
    """
    return 1.0 + sum(rates)
