"""Claims about savings beside what the trace gives, and what would have to be true for them to hold."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from pydantic import Field

from sim.results import claims_hosted as hosted
from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.summary import WeighedClaim
from workloads.schema import Schema


class Claim(Schema):
    """Somebody's figure: ``saved`` (0 to 1) of a ``quantity`` by the cache of a ``system``.

    ``computed_tokens`` are prompt tokens; ``prefill_time`` is taken as proportional to them;
    ``input_cost`` is the bill for prompts at the system's token prices, ``cost`` a provider's whole bill;
    ``ttft`` is the mean time to first token.
    """

    system: str
    """The name of the system whose cache is meant."""
    quantity: Literal["computed_tokens", "prefill_time", "input_cost", "cost", "ttft"]
    """What is said to be saved: `computed_tokens`, `prefill_time`, `input_cost`, `cost` or `ttft`."""
    saved: float = Field(gt=0, lt=1)
    """The share that is said to be saved, between 0 and 1."""
    source: str
    """Who says so, and where."""


def weigh(claim: Claim, records: Records, twin: Records, price: Price | None) -> WeighedClaim:
    """The claim, the figure derived from ``records`` and their ``twin``, and when the claim would hold."""
    claimed = claim.saved
    derived: float | None
    conditions: list[str] = []
    tokens = int(records.input_tokens.sum())
    share = int(records.cache_read_input_tokens.sum()) / tokens if tokens else 0.0
    if not len(records) or not len(twin):
        derived, conditions = None, ["no request completed"]
    elif claim.quantity == "ttft":
        derived, conditions = hosted.ttft(claimed, records, twin)
    elif claim.quantity == "cost" or (claim.quantity == "input_cost" and records.hosted is not None):
        derived, conditions = hosted.cost(claimed, records, twin, claim.quantity == "cost")
    elif claim.quantity == "input_cost":
        derived, conditions = _input_cost(claimed, share, records, price)
    else:
        derived = share
        needed = turns_needed(claimed)
        conditions.append(
            f"equal turns: n of them save 1 - 2/(n + 1) of the tokens, {claimed:.1%} from {needed} turns on"
        )
        if claim.quantity == "prefill_time":
            conditions.append(_attention(claimed, share, records))
    return {
        "system": claim.system,
        "quantity": claim.quantity,
        "source": claim.source,
        "claimed_saved": claimed,
        "derived_saved": derived,
        "holds": None if derived is None else derived >= claimed,
        "conditions": conditions,
    }


def turns_needed(saved: float, cached_price_ratio: float = 0.0) -> int | None:
    """Turns of equal length from which a conversation saves ``saved`` of its input bill.

    n turns resend n (n + 1) / 2 lengths and compute n, so the cached share is 1 - 2 / (n + 1), and
    each cached token saves 1 - ``cached_price_ratio`` of its price. None if no number is enough.
    """
    claimed, ratio = Fraction(str(saved)), Fraction(str(cached_price_ratio))
    if claimed >= 1 - ratio:
        return None
    return max(1, math.ceil(2 / (1 - claimed / (1 - ratio)) - 1))


def _input_cost(
    claimed: float, share: float, records: Records, price: Price | None
) -> tuple[float | None, list[str]]:
    if price is None or not price.input_usd_per_1m:
        return None, ["the system has no input price per token"]
    bill, _ = price.token_bill_usd(
        records.input_tokens, records.cache_read_input_tokens, records.output_tokens
    )
    full = int(records.input_tokens.sum()) * price.input_usd_per_1m * 1e-6
    cached_price = price.cached_input_usd_per_1m
    ratio = 1.0 if cached_price is None else round(cached_price / price.input_usd_per_1m, 9)
    conditions = []
    if claimed > share:
        conditions.append(
            f"price: cached tokens are {share:.1%} of this trace's input; even if they were free the bill "
            f"would fall by {share:.1%} only"
        )
    else:
        conditions.append(
            f"price: a cached token may cost at most {1 - claimed / share:.3f} of a computed one"
        )
    needed = turns_needed(claimed, ratio)
    if needed is None:
        conditions.append(
            f"equal turns: at a price ratio of {ratio:g} the saving stays below {1 - ratio:.1%}, however "
            "many turns"
        )
    else:
        conditions.append(
            f"equal turns: at a price ratio of {ratio:g} it takes {needed} turns to save {claimed:.1%}"
        )
    return 1 - float(bill.sum()) / full, conditions


def _attention(claimed: float, share: float, records: Records) -> str:
    """Attention costs one unit per (new, earlier) token pair, everything else one per token."""
    new = records.computed_tokens.astype(float)
    cached = records.cache_read_input_tokens
    prompt = records.input_tokens.astype(float)
    pairs = float((new * (cached + (new + 1) / 2)).sum())
    all_pairs = float((prompt * (prompt + 1) / 2).sum())
    quadratic = 1 - pairs / all_pairs
    low, high = sorted((quadratic, share))
    where = (
        "no share of attention in the time gives the claim"
        if claimed > high
        else "the claim holds whatever the share of attention"
        if claimed <= low
        else f"the claim needs attention to take {(claimed - share) / (quadratic - share):.0%} of the time"
    )
    return (
        f"attention: the saving is {share:.1%} if time goes with tokens and {quadratic:.1%} if it goes "
        f"with token pairs; {where}"
    )
