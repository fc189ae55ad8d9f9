"""``engine.speculative``: speculative decoding; names and meanings of vLLM's ``speculative_config``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from sim.engine.vllm.speculation import Speculation, geometric, of_length
from sim.hardware.by_hand import ModelName
from workloads.schema import Schema

Method = Literal["ngram", "draft_model", "eagle", "eagle3", "mtp"]


class Speculative(Schema):
    """Who drafts, how many tokens at a time, and how many of them are accepted.

    ``draft_model``, ``eagle`` and ``eagle3`` have a ``model`` of their own, ``mtp`` a layer like the
    model's last one, ``ngram`` looks up earlier text and needs neither memory nor time of the GPU.

    One of three says what is accepted, as it depends on model and text: ``acceptance_rate``, of each draft
    if all before it are; ``synthetic_acceptance_rates``, of each draft and all before it together, as vLLM
    logs them ("Per-position acceptance rate") and so any distribution of accepted tokens: [0.8, 0.5] is
    none in 20 % of the steps, one in 30 %, two in 50 %; ``synthetic_acceptance_length``, mean tokens per
    step with the one that is sampled.

    EAGLE and MTP drafts depend on the token after a block, which vLLM's hashes of blocks therefore cover.
    With ``disable_lookahead_block_hashes``, and where KV travels, a hit loses its last block instead;
    with ``disable_eagle_block_drop`` neither is done.
    """

    method: Method
    """Who drafts: ngram, draft_model, eagle, eagle3 or mtp."""
    num_speculative_tokens: PositiveInt = Field(le=64)
    """Draft tokens of a step."""
    model: ModelName | None = None
    """The draft model; for draft_model, eagle and eagle3."""
    acceptance_rate: float | None = Field(default=None, ge=0, le=1)
    """Probability that a draft token is accepted if all before it are."""
    synthetic_acceptance_rates: list[float] | None = None
    """Probability that each draft token and all before it are accepted, descending."""
    synthetic_acceptance_length: float | None = Field(default=None, ge=1)
    """Mean tokens of a step, the sampled one included."""
    disable_lookahead_block_hashes: bool = False
    """Whether a hit loses its last block instead of hashes that cover the next token."""
    disable_eagle_block_drop: bool = False
    """Whether neither is done."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Speculative:
        needs = self.method in ("draft_model", "eagle", "eagle3")
        if needs != (self.model is not None):
            allowed = "the draft model" if needs else f"none: {self.method} has no model of its own"
            raise ValueError(f"model with method {self.method}; allowed: {allowed}")
        drafts = self.num_speculative_tokens
        given = (
            self.acceptance_rate,
            self.synthetic_acceptance_rates,
            self.synthetic_acceptance_length,
        )
        if sum(value is not None for value in given) != 1:
            raise ValueError(
                "how many drafts are accepted depends on model and text; allowed: exactly one of "
                "acceptance_rate, synthetic_acceptance_rates and synthetic_acceptance_length"
            )
        length = self.synthetic_acceptance_length
        if length is not None and length > drafts + 1:
            raise ValueError(f"synthetic_acceptance_length ({length:g}) allowed: from 1 to {drafts + 1}")
        rates = self.rates
        falling = all(0 <= b <= a <= 1 for a, b in zip([1.0, *rates], rates, strict=False))
        if len(rates) != drafts or not falling:
            raise ValueError(
                f"synthetic_acceptance_rates ({rates}) allowed: {drafts} values from 1 to 0, none larger "
                "than the one before it"
            )
        return self

    @property
    def rates(self) -> list[float]:
        """How likely the first draft, the first two, ... are accepted."""
        if self.synthetic_acceptance_rates is not None:
            return self.synthetic_acceptance_rates
        if self.synthetic_acceptance_length is not None:
            return of_length(self.synthetic_acceptance_length, self.num_speculative_tokens)
        assert self.acceptance_rate is not None
        return geometric(self.acceptance_rate, self.num_speculative_tokens)

    @property
    def needs_next_token(self) -> bool:
        """Whether the draft's KV at a token depends on the next one (``needs_eagle_block_drop``)."""
        return self.method in ("eagle", "eagle3", "mtp") and not self.disable_eagle_block_drop

    def most_slots(self, total: int, max_model_len: int | None) -> int:
        """KV slots that a request of ``total`` tokens takes at most: drafts of the step that computes, of
        the one decided ahead, and look-ahead slots."""
        most = total + 2 * (1 + self.num_speculative_tokens) + self.num_speculative_tokens
        return most if max_model_len is None else min(most, max(total, max_model_len))

    def speculation(self, max_model_len: int | None, hash_lookahead_tokens: int, seed: int) -> Speculation:
        """What the scheduler has to know."""
        drafts = self.num_speculative_tokens
        return Speculation(
            drafts,
            lookahead_tokens=0 if self.method == "ngram" else drafts,
            draft_slots=int(self.method == "draft_model"),
            hash_lookahead_tokens=hash_lookahead_tokens,
            max_model_len=max_model_len,
            acceptance_rates=tuple(self.rates),
            seed=seed,
        )
