"""Claims about time to first token and a provider's bill, and when they would hold."""

from __future__ import annotations

import numpy as np

from sim.providers import bills
from sim.providers.latency import HostedLatency
from sim.results.records import Records

Weighed = tuple[float | None, list[str]]
"""(derived saving, conditions under which the claim holds)."""


def ttft(claimed: float, records: Records, twin: Records) -> Weighed:
    """The mean time to first token with and without caching."""
    with_cache, without = (float(np.mean(r.first_token_s - r.arrival_s)) for r in (records, twin))
    if np.isnan(without):
        given = " unless its latency is given" if records.hosted is not None else ""
        return None, [f"the system has no times{given}"]
    if not without:
        return None, ["the first token takes no time here"]
    conditions = []
    if records.hosted is not None:
        conditions.append(_prompt_needed(claimed, records.hosted.latency))
        reads = records.cache_read_input_tokens > 0
        if reads.any():
            one, other = ((r.first_token_s - r.arrival_s)[reads].mean() for r in (records, twin))
            saved = f"what they save is {1 - one / other:.1%}" if other else "they take no time"
            conditions.append(f"requests that read: {reads.mean():.1%}; {saved}")
        mean = records.input_tokens.mean()
        conditions.append(f"the prompts of this trace have {mean:,.0f} tokens in the mean")
    return 1 - with_cache / without, conditions


def _prompt_needed(claimed: float, line: HostedLatency) -> str:
    """From which length on a wholly cached prompt saves the claim on ``line``."""
    left = 1 - claimed
    slope = left * line.per_uncached_token_s - line.per_cached_token_s
    if slope <= 0:
        most = 1 - line.per_cached_token_s / line.per_uncached_token_s if line.per_uncached_token_s else 0.0
        return f"length: on this line no prompt saves more than {most:.1%}"
    tokens = (line.base_s + line.hit_base_s - left * line.base_s) / slope
    needed = f"{max(0.0, tokens):,.0f}"
    return f"length: on this latency line {claimed:.0%} needs a cached prompt of {needed} tokens"


def cost(claimed: float, records: Records, twin: Records, output: bool) -> Weighed:
    """A provider's bill with and without caching, with ``output`` or for input alone."""
    if records.hosted is None:
        return None, ["the system has no provider's bill"]
    with_cache, without = bills.exact(records), bills.exact(twin)
    paid, full = (bill.total_usd if output else bill.input_usd for bill in (with_cache, without))
    rates = records.hosted.cards[0]
    if not full or not rates.input:
        return None, ["prompts cost nothing here"]
    write, read = rates.writes[records.hosted.lifetime] / rates.input, rates.read / rates.input
    hits = int(records.cache_read_input_tokens.sum()) / int(records.input_tokens.sum())
    share = float(without.input_usd / full)  # of the bill, that caching can touch
    conditions = []
    if output:
        conditions.append(
            f"output: {1 - share:.1%} of the bill without caching, which no cache makes cheaper"
        )
    most = (1 - float(read)) * share
    if claimed >= most:
        conditions.append(
            f"price: a read costs {float(read):g} of the input price; with every input token read the bill "
            f"would fall by {most:.1%}, never by more"
        )
    else:
        needed = (float(write) - (1 - claimed / share)) / (float(write) - float(read))
        conditions.append(
            f"hits: with the rest written at {float(write):g} of the input price, {needed:.1%} of "
            f"the input tokens must be read; here {hits:.1%} are"
        )
    return float(1 - paid / full), conditions
