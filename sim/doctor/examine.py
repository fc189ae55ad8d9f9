"""All calls of a log held against their bills: how many are met, what was missed, and why, in dollars."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, TypedDict

from sim.doctor.billed import Call, Tokens, lanes
from sim.doctor.causes import CAUSES, cause, excess_tokens
from sim.doctor.predict import predict
from sim.providers import rulebook
from sim.providers.prices import Rates, price_list
from sim.providers.schema import Rules
from sim.results.about import About
from workloads.errors import InputError

PROVIDER = "anthropic"
WITHIN = 0.01
"""Share of a prompt's tokens by which a read may be off and still count as near."""
MICRO = 1e-6


class CauseEntry(TypedDict):
    """What one cause of misses cost."""

    cause: Annotated[str, About("", "Its name; `docs/doctor.md` says what each means.")]
    calls: Annotated[int, About("calls", "Calls that it explains.")]
    tokens: Annotated[int, About("tokens", "Tokens that the call before had left and that were not read.")]
    usd: Annotated[float, About("USD", "What writing them cost above reading them.")]


class Diagnosis(TypedDict):
    """The outcome; dollars are those of the input."""

    calls: Annotated[int, About("calls", "Billed calls in the log.")]
    given: Annotated[int, About("calls", "First calls of a lane, taken as billed.")]
    exact: Annotated[int, About("calls", "Calls whose read, write and plain input all equal the bill.")]
    within_1_percent: Annotated[
        int, About("calls", "Calls whose read is off by at most 1 % of the prompt's tokens.")
    ]
    billed_usd: Annotated[float, About("USD", "What was billed.")]
    predicted_usd: Annotated[float, About("USD", "The same by the rules.")]
    absolute_error_usd: Annotated[float, About("USD", "The difference of each call, added up unsigned.")]
    causes: Annotated[list[CauseEntry], About("", "Why less was read than there was, most dollars first.")]


@dataclass(slots=True)
class _Sum:
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0


@dataclass(slots=True)
class _Sums:
    calls: int = 0
    given: int = 0
    exact: int = 0
    near: int = 0
    billed_usd: float = 0.0
    predicted_usd: float = 0.0
    error_usd: float = 0.0
    causes: dict[str, _Sum] = field(default_factory=dict)


def examine(path: Path, start: datetime = datetime(2026, 2, 1, tzinfo=UTC)) -> Diagnosis:
    """Read the billed calls of ``path`` and predict each from those before it, at the prices of ``start``.

    Raises InputError: a call that is not as `sim.doctor.billed` says, or a model without rules or prices.
    """

    @cache
    def rules_of(model: str) -> Rules:
        return rulebook.record(PROVIDER, model, "automatic", str(path))

    @cache
    def rates_of(model: str) -> Rates:
        library = rulebook.provider(PROVIDER).library
        return price_list(rules_of(model), library, model, "standard", start, None, str(path)).cards[0]

    sums = _Sums()
    for lane in lanes(path):
        before: Call | None = None
        for call, predicted in zip(lane.calls, predict(lane, rules_of), strict=True):
            rules, rates = rules_of(call.model), rates_of(call.model)
            billed_usd, predicted_usd = _usd(call.billed, rates), _usd(predicted.tokens, rates)
            sums.calls += 1
            sums.given += before is None
            sums.exact += predicted.tokens == call.billed
            sums.near += abs(predicted.tokens.read - call.billed.read) <= WITHIN * call.billed.total
            sums.billed_usd += billed_usd
            sums.predicted_usd += predicted_usd
            sums.error_usd += abs(predicted_usd - billed_usd)
            why = cause(call, before, predicted, rules)
            if why is not None:
                one = sums.causes.setdefault(why, _Sum())
                missed = excess_tokens(call, before)
                one.calls += 1
                one.tokens += missed
                one.usd += missed * float(rates.writes[call.ttl] - rates.read) * MICRO
            before = call
    if not sums.calls:
        raise InputError(f"{path}: no calls; allowed: one lane with its requests a line")
    named = [(name, sums.causes[name]) for name in CAUSES if name in sums.causes]
    return {
        "calls": sums.calls,
        "given": sums.given,
        "exact": sums.exact,
        "within_1_percent": sums.near,
        "billed_usd": sums.billed_usd,
        "predicted_usd": sums.predicted_usd,
        "absolute_error_usd": sums.error_usd,
        "causes": [
            {"cause": name, "calls": one.calls, "tokens": one.tokens, "usd": one.usd}
            for name, one in sorted(named, key=lambda item: -item[1].usd)
        ],
    }


def _usd(tokens: Tokens, rates: Rates) -> float:
    """The bill of one call's input."""
    writes = sum(written * price for written, price in zip(tokens.written, rates.writes, strict=True))
    return float(tokens.plain * rates.input + writes + tokens.read * rates.read) * MICRO
