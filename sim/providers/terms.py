"""The terms of a provider under a configuration: rules and prices of each of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from sim.providers import rulebook
from sim.providers.prices import PriceList, ProviderPrice, Tier, deprecated, price_list, priced_as
from sim.providers.schema import Rules
from workloads.errors import InputError
from workloads.in_words import first_problem

RECORDED = "recorded"
"""The ``model`` that stands for those that the trace names; its rules are those of a typical one."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Rules and prices of ``provider`` at ``start``, some of them replaced by the configuration's."""

    provider: str
    mode: str
    """The client's: automatic, explicit or off."""
    given: Mapping[str, Any]
    """Values that replace those of the rules; all of them of a provider that does not ship."""
    tier: Tier
    start: datetime
    price: ProviderPrice | None

    def rules(self, model: str, key: str) -> Rules:
        """The record for ``model``; InputError if there is none, or if a value given does not go there."""
        rulebook.require_known(self.provider, f"{key}.provider")
        if model == RECORDED and not self.is_custom:
            model = rulebook.provider(self.provider).typical_model
        base: dict[str, Any] = {}
        if self.is_custom:
            base = {"match": ".*", "modes": ["automatic", "explicit"]}
        elif self.mode == "off":
            base = rulebook.any_record(self.provider, model, key).model_dump()
        else:
            base = rulebook.record(self.provider, model, self.mode, key).model_dump()
        values = {**base, **self.given}
        try:
            rules = Rules.model_validate(values)
        except ValidationError as error:
            raise InputError(first_problem(error, values, f"{key}.rules")) from None
        for name in self.given:
            if name not in rules.used:
                raise InputError(
                    f"{key}.rules.{name}: rules of kind {rules.kind} do not use it; allowed: "
                    f"{', '.join(rules.used)}"
                )
        return rules

    def prices(self, model: str, key: str) -> PriceList:
        """The exact prices of ``model``."""
        library = None if self.is_custom else rulebook.provider(self.provider).library
        return price_list(self.rules(model, key), library, model, self.tier, self.start, self.price, key)

    def price_notes(self, model: str) -> list[str]:
        """Where the price library knows the model by another name, at another price perhaps, or as old."""
        given = self.price is not None and self.price.input_usd_per_1m is not None
        if self.is_custom or given:
            return []
        library = rulebook.provider(self.provider).library
        return [note for note in (priced_as(library, model), deprecated(library, model)) if note]

    def require_current(self, model: str, key: str) -> None:
        """InputError if ``model`` is no longer sold."""
        if not self.is_custom:
            rulebook.require_current(self.provider, model, self.start, key)

    @property
    def is_custom(self) -> bool:
        """Whether all rules are in the configuration."""
        return self.provider == rulebook.CUSTOM
