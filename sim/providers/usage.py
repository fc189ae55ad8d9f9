"""Token usage of one request in the providers' two styles, and its bill, exact."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from sim.providers.prices import Rates
from workloads.errors import InputError

MICRO = Fraction(1, 1_000_000)
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request: ``input_tokens`` is the whole prompt, read and written tokens included.

    ``written_tokens`` goes by lifetime, in the order of the rules. ``created_tokens`` are those of a
    cache object made beside the request, not part of its input; it is rented for ``storage_s``.
    """

    input_tokens: int
    output_tokens: int = 0
    read_tokens: int = 0
    written_tokens: tuple[int, ...] = ()
    created_tokens: int = 0
    storage_s: float = 0.0

    def __post_init__(self) -> None:
        counts = (self.input_tokens, self.output_tokens, self.read_tokens, *self.written_tokens)
        if min(counts) < 0 or self.uncached_tokens < 0:
            raise InputError(
                f"usage: {self.read_tokens} tokens read and {sum(self.written_tokens)} written of "
                f"{self.input_tokens}; allowed: together at most the input (an exclusive input count "
                "was taken for an inclusive one?)"
            )

    @classmethod
    def reported(
        cls,
        style: Literal["inclusive", "exclusive"],
        input_tokens: int,
        output_tokens: int = 0,
        read_tokens: int = 0,
        written_tokens: tuple[int, ...] = (),
    ) -> Usage:
        """From the fields of a reply: an ``exclusive`` input count leaves out what was read and written."""
        if style == "exclusive":
            input_tokens += read_tokens + sum(written_tokens)
        return cls(input_tokens, output_tokens, read_tokens, written_tokens)

    def input_field(self, style: Literal["inclusive", "exclusive"]) -> int:
        """What a reply in ``style`` gives as its input tokens."""
        return self.input_tokens if style == "inclusive" else self.uncached_tokens

    @property
    def uncached_tokens(self) -> int:
        """Input that was neither read nor written."""
        return self.input_tokens - self.read_tokens - sum(self.written_tokens)


@dataclass(frozen=True, slots=True)
class Bill:
    """Exact dollars by what they pay for; ``writes`` by lifetime, in the order of the rules."""

    uncached_usd: Fraction
    writes_usd: tuple[Fraction, ...]
    read_usd: Fraction
    storage_usd: Fraction
    output_usd: Fraction

    @property
    def input_usd(self) -> Fraction:
        """Everything but output."""
        return self.uncached_usd + sum(self.writes_usd) + self.read_usd + self.storage_usd

    @property
    def total_usd(self) -> Fraction:
        return self.input_usd + self.output_usd

    def __add__(self, other: Bill) -> Bill:
        writes = tuple(a + b for a, b in zip(self.writes_usd, other.writes_usd, strict=True))
        return Bill(
            self.uncached_usd + other.uncached_usd,
            writes,
            self.read_usd + other.read_usd,
            self.storage_usd + other.storage_usd,
            self.output_usd + other.output_usd,
        )


def charge(usage: Usage, rates: Rates, created_lifetime: int = 0) -> Bill:
    """What ``usage`` costs at ``rates``; a created object is paid at the write price of its lifetime."""
    written = usage.written_tokens or (0,) * len(rates.writes)
    writes = [tokens * price for tokens, price in zip(written, rates.writes, strict=True)]
    writes[created_lifetime] += usage.created_tokens * rates.writes[created_lifetime]
    hours = Fraction(usage.storage_s) / HOUR_S
    return Bill(
        uncached_usd=usage.uncached_tokens * rates.input * MICRO,
        writes_usd=tuple(price * MICRO for price in writes),
        read_usd=usage.read_tokens * rates.read * MICRO,
        storage_usd=usage.created_tokens * hours * rates.storage * MICRO,
        output_usd=usage.output_tokens * rates.output * MICRO,
    )
