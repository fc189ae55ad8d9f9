"""What a provider charges: rates from the bundled price library, gaps covered, overrides of the user."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sim.providers import rulebook
from sim.providers.schema import Peak, Rules
from workloads.errors import InputError
from workloads.schema import Schema, Usd
from workloads.shown import nearest

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

Tier = Literal["standard", "batch", "flex", "priority", "fast"]
CONTEXTS: dict[str, tuple[dict[str, str], ...]] = {
    "batch": ({"processing": "batch"}, {"service_tier": "batch"}),
    "flex": ({"service_tier": "flex"},),
    "priority": ({"service_tier": "priority"},),
    "fast": ({"speed": "fast"}, {"service_tier": "fast"}),
}
"""How the library names a tier; it ignores a name that it does not know, so each is looked up first."""


class ProviderPrice(Schema):
    """Prices in USD per million tokens that replace those of the price library, or stand in for it.

    ``write_usd_per_1m`` goes by the names of the lifetimes. What neither gives follows from the input
    price by the multiples of the rules. ``multiply`` is for what applies to all tokens (regions), not to
    their storage.
    """

    input_usd_per_1m: Usd | None = None
    """Price of a million input tokens, USD."""
    cached_input_usd_per_1m: Usd | None = None
    """Price of a million input tokens read from the cache, USD."""
    write_usd_per_1m: dict[str, Usd] = Field(default={})
    """Price of a million input tokens written, USD, by lifetime: `{5m: 6.25, 1h: 10}`."""
    output_usd_per_1m: Usd | None = None
    """Price of a million output tokens, USD."""
    storage_usd_per_1m_hour: Usd | None = None
    """Price of keeping a million tokens in a cache object for an hour, USD."""
    multiply: float = Field(default=1.0, gt=0, le=1e6)
    """A factor on all token prices, such as 1.1 for a region."""


REGIONAL, GLOBAL = "regional.", "global."
"""How the library's names of Bedrock's models begin."""
LAST_S = 2e11
"""Times beyond this one have no date (year 8364); prices stay as they are."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Exact prices in USD per million tokens, which is micro-USD per token; storage also per hour."""

    input: Fraction
    read: Fraction
    writes: tuple[Fraction, ...]
    """By lifetime, in the order of the rules."""
    output: Fraction
    storage: Fraction

    def times(self, factor: Fraction) -> Rates:
        """Everything but storage multiplied."""
        writes = tuple(price * factor for price in self.writes)
        return Rates(self.input * factor, self.read * factor, writes, self.output * factor, self.storage)


@dataclass(frozen=True, slots=True)
class PriceList:
    """Rates by size of the request and time of day.

    ``cards`` holds those of every size tier, then the same at peak hours. The rate above a threshold
    holds for all tokens of a request that has more input tokens than that.
    """

    cards: tuple[Rates, ...]
    above_tokens: tuple[int, ...]
    """The thresholds, ascending."""
    peak: Peak | None
    start: datetime
    """UTC time of the trace's second 0."""

    def card(self, input_tokens: int, at_s: float) -> int:
        """The number of the card for a request of ``input_tokens`` that arrives at ``at_s``."""
        tier = bisect_left(self.above_tokens, input_tokens)
        if self.peak is not None and is_peak(self.peak, self.start + timedelta(seconds=min(at_s, LAST_S))):
            return tier + len(self.above_tokens) + 1
        return tier


def is_peak(peak: Peak, at: datetime) -> bool:
    """Whether ``at`` (UTC) lies in peak hours; a window contains its begin and not its end."""
    if at.weekday() not in peak.weekdays or at.date() in peak.holidays:
        return False
    return any(begin <= at.time() < end for begin, end in peak.windows_utc)


def price_list(
    rules: Rules,
    library: str | None,
    model: str,
    tier: Tier,
    start: datetime,
    given: ProviderPrice | None,
    key: str,
) -> PriceList:
    """The rates of ``model`` on the day of ``start``; a change of price during the trace is ignored.

    Raises InputError: model unknown (nearest names), tier not sold, no price known, a lifetime priced
    that the rules do not have.
    """
    given = given or ProviderPrice()
    for name in given.write_usd_per_1m:
        if name not in rules.sold:
            raise InputError(f"{key}.price.write_usd_per_1m.{name}; {nearest(name, list(rules.sold))}")
    listed: Any = None
    if library is not None:
        listed = _listed(library, model, tier, _off_peak(start, rules.peak), given, key)
    elif tier != "standard":
        raise InputError(f"{key}.tier = {tier!r}: not in the price library; allowed: standard")
    if listed is None and given.input_usd_per_1m is None:
        raise InputError(f"{key}.price.input_usd_per_1m is missing: the price library has no {model!r}")
    if given.input_usd_per_1m is None and listed.input_mtok is None:
        raise InputError(
            f"{key}.model = {model!r} has no price of input tokens in the price library; allowed: a model "
            f"that reads text, or give {key}.price.input_usd_per_1m"
        )
    thresholds = sorted({step.start for value in _values(listed) for step in getattr(value, "tiers", ())})
    storage = _storage(rules, model, given, start, key)
    cards = [_rates(rules, listed, above, given, storage, start) for above in (None, *thresholds)]
    if rules.peak is not None:
        cards += [card.times(_exact(rules.peak.mult)) for card in cards]
    return PriceList(tuple(cards), tuple(thresholds), rules.peak, start)


def _rates(
    rules: Rules, listed: Any, above: int | None, given: ProviderPrice, storage: float, start: datetime
) -> Rates:
    def of(name: str, own: float | None) -> Fraction | None:
        if own is not None:
            return _exact(own)
        return _at(getattr(listed, name, None), above)

    base = of("input_mtok", given.input_usd_per_1m)
    assert base is not None
    read = of("cache_read_mtok", given.cached_input_usd_per_1m)
    earlier = next((one.mult for one in rules.read_mult_until if start.date() < one.until), None)
    if earlier is not None and given.cached_input_usd_per_1m is None:
        read = _exact(earlier) * base
    output = of("output_mtok", given.output_usd_per_1m)
    writes = []
    for lifetime in rules.lifetimes:
        price = of(lifetime.list_price or "", given.write_usd_per_1m.get(lifetime.name))
        mult = 1.0 if lifetime.write_mult is None else lifetime.write_mult
        writes.append(_exact(mult) * base if price is None else price)
    return Rates(
        input=base,
        read=_exact(rules.read_mult) * base if read is None else read,
        writes=tuple(writes),
        output=Fraction(0) if output is None else output,
        storage=_exact(storage),
    ).times(_exact(given.multiply))


def _storage(rules: Rules, model: str, given: ProviderPrice, start: datetime, key: str) -> float:
    if given.storage_usd_per_1m_hour is not None:
        return given.storage_usd_per_1m_hour
    for price in rules.storage_usd_per_mtok_hour:
        if re.fullmatch(price.match, model) and (price.until is None or start.date() < price.until):
            return price.usd
    if rules.kind == "object":
        raise InputError(
            f"{key}.price.storage_usd_per_1m_hour is missing: no storage price of {model!r} is known"
        )
    return 0.0


def _exact(number: float) -> Fraction:
    """The decimal number as it is written: 0.1 is a tenth."""
    return Fraction(str(number))


def _at(value: Any, above: int | None) -> Fraction | None:
    """The price in the tier that begins above so many tokens (None: the first one)."""
    if value is None or not hasattr(value, "tiers"):
        return None if value is None else Fraction(value)
    price = value.base
    for step in value.tiers:
        if above is not None and step.start <= above:
            price = step.price
    return Fraction(price)


def _values(listed: Any) -> list[Any]:
    names = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "output_mtok")
    return [getattr(listed, name, None) for name in names]


def _off_peak(start: datetime, peak: Peak | None) -> datetime:
    """A time on the day of ``start`` outside peak hours: the windows are the rules' to apply."""
    if peak is None:
        return start
    midnight = datetime.combine(start.date(), time(), UTC)
    hours = (midnight + timedelta(hours=hour) for hour in range(24))
    free = (at for at in hours if not any(b <= at.time() < e for b, e in peak.windows_utc))
    return next(free, midnight)


def priced_as(library: str | None, model: str) -> str | None:
    """A note where the price library has ``model`` under another name that says where it runs.

    Bedrock sells a model for one region or for all of them, at prices of their own.
    """
    known = None if library is None else _find(library, model)
    if known is None or known.id == model or not known.id.startswith(REGIONAL):
        return None
    everywhere = _find(str(library), known.id.replace(REGIONAL, GLOBAL, 1))
    costs_more = everywhere is not None and everywhere.id.startswith(GLOBAL)
    other = f" (+10 %); {everywhere.id} names the price across regions" if costs_more else ""
    return f"priced as {known.id}: {model} is taken for an endpoint of one region{other}"


def deprecated(library: str | None, model: str) -> str | None:
    """A note where the price library calls the model deprecated."""
    known = None if library is None else _find(library, model)
    if known is None or not known.deprecated:
        return None
    return f"the price library calls {model} deprecated: it may be sold no longer, and its prices be old"


def is_priced(library: str, model: str) -> bool:
    """Whether the price library has ``model`` among those of one of its providers."""
    return _find(library, model) is not None


def models(library: str) -> list[ModelInfo]:
    """The models that the price library has of one of its providers."""
    return list(_provider(library).models)


def _provider(library: str) -> Any:
    from genai_prices.data_snapshot import get_snapshot

    return next(provider for provider in get_snapshot().providers if provider.id == library)


def _find(library: str, model: str) -> Any:
    """The library's entry of ``model``, by its own name for it or any other; or None."""
    from genai_prices.data_snapshot import get_snapshot

    found = _provider(library).find_model(model, all_providers=get_snapshot().providers)
    return found or next((info for info in models(library) if info.id == model), None)


def _listed(library: str, model: str, tier: Tier, at: datetime, given: ProviderPrice, key: str) -> Any:
    """The library's prices at ``at``; None where it lacks the model and the user gives the input price."""
    known = _find(library, model)
    if known is None:
        if given.input_usd_per_1m is not None:
            return None
        ids = [info.id for info in models(library)]
        hint = rulebook.near(model, ids, n=3)
        raise InputError(
            f"{key}.model = {model!r}: no price is known{hint}; allowed: a model of {library} in the "
            f"price library, or give {key}.price"
        )
    if tier == "standard":
        return known.get_prices(at)
    sold = {
        name: when
        for name, contexts in CONTEXTS.items()
        for when in contexts
        for variant in known.price_variants or ()
        if variant.when == when and (variant.constraint is None or variant.constraint.active(at))
    }
    if tier not in sold:
        allowed = ", ".join(["standard", *sold])
        raise InputError(
            f"{key}.tier = {tier!r}: no such price of {model} on {at:%Y-%m-%d}; allowed: {allowed}"
        )
    return known.get_prices(at, sold[tier])
