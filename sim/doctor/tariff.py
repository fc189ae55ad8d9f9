"""The rules and prices of the models that a log names."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import cache

from sim.doctor.calls import Call, Lane, Tokens
from sim.providers import rulebook
from sim.providers.prices import PriceList, is_priced, price_list
from sim.providers.schema import Rules
from workloads.errors import InputError

MICRO = 1e-6
NO_API = ("codex",)
"""Rule files of a product whose models others sell too."""
FIRST = ("anthropic", "openai", "gemini")
"""Who is asked first: those who make the models that others sell too."""


class Price:
    """Dollars per token of one model on one day, by size of the prompt."""

    def __init__(self, prices: PriceList) -> None:
        self._above = prices.above_tokens
        self._cards = [
            (float(c.input), tuple(map(float, c.writes)), float(c.read), float(c.output))
            for c in prices.cards
        ]

    def card(self, prompt_tokens: int) -> tuple[float, tuple[float, ...], float, float]:
        """Dollars per million tokens of a prompt so long: (input, writes by lifetime, read, output)."""
        if not self._above or prompt_tokens <= self._above[0]:
            return self._cards[0]
        return self._cards[sum(prompt_tokens > above for above in self._above)]

    def usd(self, tokens: Tokens) -> float:
        """What the input of one call costs."""
        plain, writes, read, _ = self.card(tokens.total)
        written = sum(count * price for count, price in zip(tokens.written, writes, strict=False))
        return (tokens.plain * plain + written + tokens.read * read) * MICRO

    def uncached_usd(self, tokens: int) -> float:
        """What a prompt of ``tokens`` costs if nothing is cached."""
        return tokens * self.card(tokens)[0] * MICRO

    def output_usd(self, call: Call) -> float:
        """What the reply of a call costs, as far as the log has it."""
        return call.output_tokens * self.card(call.billed.total)[3] * MICRO

    def write_usd(self, call: Call, tokens: int) -> float:
        """What it costs to write so many tokens of a prompt, at the lifetime that the call asks for."""
        return tokens * self.card(call.billed.total)[1][call.ttl] * MICRO

    def excess_usd(self, call: Call, missed: int) -> float:
        """What ``missed`` tokens of a call cost above reading them."""
        plain, writes, read, _ = self.card(call.billed.total)
        wrote = any(call.billed.written) or call.billed.total == call.billed.read
        return missed * ((writes[call.ttl] if wrote else plain) - read) * MICRO


class Tariff:
    """Rules by model, prices by model and day. ``provider`` is the one of all models, if one is named."""

    def __init__(self, where: str, provider: str | None = None) -> None:
        if provider is not None:
            rulebook.require_shipped(provider, "--provider")
        self.where, self.provider = where, provider
        self.rules = cache(self._rules)
        self._price = cache(self._price_on)

    def provider_of(self, model: str) -> str:
        """Who sells ``model``: the first whose rules name it and whose prices are known."""
        if self.provider is not None:
            return self.provider
        for name in (*FIRST, *(name for name in rulebook.names() if name not in (*FIRST, *NO_API))):
            library = rulebook.provider(name).library
            rules = rulebook.first_record(name, model, "automatic")
            if rules is not None and library is not None and is_priced(library, model):
                return name
        return FIRST[0]

    def price(self, model: str, lane: Lane) -> Price:
        """The prices of ``model`` on the day that ``lane`` starts. InputError: none is known."""
        day = lane.start
        return self._price(model, datetime(day.year, day.month, day.day, tzinfo=UTC))

    def require(self, model: str, lane: Lane) -> None:
        """InputError unless rules and prices of ``model`` are known."""
        self.rules(model)
        self.price(model, lane)

    def _rules(self, model: str) -> Rules:
        return rulebook.record(self.provider_of(model), model, "automatic", self.where)

    def _price_on(self, model: str, day: datetime) -> Price:
        library = rulebook.provider(self.provider_of(model)).library
        return Price(price_list(self._rules(model), library, model, "standard", day, None, self.where))


def known(lanes: list[Lane], tariff: Tariff) -> tuple[list[Lane], Counter[str]]:
    """The lanes without calls of models that have no rules or prices, and how many those were by model.

    InputError if none is left.
    """
    left_out: Counter[str] = Counter()
    error: InputError | None = None
    kept = []
    for lane in lanes:
        for model in dict.fromkeys(call.model for call in lane.calls):
            try:
                tariff.require(model, lane)
            except InputError as unknown:
                error = error or _unknown(tariff, model, unknown)
                kept_calls = [call for call in lane.calls if call.model != model]
                left_out[model] += len(lane.calls) - len(kept_calls)
                lane.calls = kept_calls
        if lane.calls:
            kept.append(lane)
    if not kept and error is not None:
        raise error
    return kept, left_out


def _unknown(tariff: Tariff, model: str, error: InputError) -> InputError:
    if model:
        return error
    return InputError(f"{tariff.where}: no call names its model; allowed: --model M, the name of one")
