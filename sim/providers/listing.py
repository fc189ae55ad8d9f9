"""The providers that ship, as a list: what they cache, for how long, and at which prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from sim.providers import rulebook
from sim.providers.prices import price_list
from sim.providers.schema import Mode, Rules


@dataclass(frozen=True, slots=True)
class Listed:
    """A caching mode of a provider for the model that stands for it; prices in USD per million tokens."""

    provider: str
    model: str
    modes: tuple[Mode, ...]
    """Both, where they are the same."""
    kind: str
    min_tokens: int
    lifetimes: tuple[str, ...]
    input_usd_per_1m: float | None
    cached_input_usd_per_1m: float | None
    write_usd_per_1m: tuple[float, ...]
    """By lifetime."""
    output_usd_per_1m: float | None


def listed(start: datetime) -> Iterator[Listed]:
    """Every provider with rules, in each of its modes, at the prices of the day ``start``."""
    for name in rulebook.names():
        model = rulebook.provider(name).typical_model
        found: dict[Listed, tuple[Mode, ...]] = {}
        choices: tuple[Mode, ...] = ("automatic", "explicit")
        for mode in choices:
            if (rules := rulebook.first_record(name, model, mode)) is not None:
                one = _of(name, model, rules, start)
                found[one] = (*found.get(one, ()), mode)
        yield from (replace(one, modes=modes) for one, modes in found.items())


def _of(name: str, model: str, rules: Rules, start: datetime) -> Listed:
    """The provider's entry, in a mode that is still to be told."""
    library = rulebook.provider(name).library
    lifetimes = tuple(lifetime.name for lifetime in rules.lifetimes)
    about = name, model, (), rules.kind, rules.min_tokens, lifetimes
    if library is None:
        return Listed(*about, None, None, (), None)
    card = price_list(rules, library, model, "standard", start, None, name).cards[0]
    writes = tuple(float(price) for price in card.writes)
    return Listed(*about, float(card.input), float(card.read), writes, float(card.output))
