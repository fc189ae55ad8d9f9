"""When a cache write pays for itself: closed forms in w and r, multiples of the input price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from sim.providers import rulebook
from sim.providers.prices import price_list
from sim.providers.schema import Mode, Rules

PING_S = 240.0
"""A prompt is sent again every so often to keep a lifetime of five minutes alive."""
PING_SHARE = Fraction(4, 5)
"""The same as a share of any lifetime."""


def share_read(w: Fraction, r: Fraction) -> Fraction:
    """Share of tokens that must be read, the rest being written, for caching to cost no more than none."""
    return max(Fraction(0), (w - 1) / (w - r)) if w > 1 else Fraction(0)


def reads_per_write(w: Fraction, r: Fraction) -> Fraction | None:
    """Reads that pay for one write; None if no number does."""
    if w <= 1:
        return Fraction(0)
    return (w - 1) / (1 - r) if r < 1 else None


def request_that_pays(w: Fraction, r: Fraction) -> int | None:
    """The request with the same prefix, counted from 1, at which the sum is no more than uncached."""
    reads = reads_per_write(w, r)
    return None if reads is None else 1 + math.ceil(reads) if reads else 2


def longer_pays(short: Fraction, longer: Fraction, r: Fraction) -> Fraction:
    """Share of the pauses beyond the short lifetime that must end within the longer one.

    Per such pause the short one writes again (``short``), the longer one reads, or writes (``longer``).
    """
    return (longer - short) / (longer - r)


def keep_warm_s(w: Fraction, r: Fraction, ping_s: float = PING_S) -> Fraction:
    """The longest pause in which a read every ``ping_s`` costs no more than one write afterwards."""
    return Fraction(ping_s) * (w - r) / r


def input_factor(hit_share: Fraction, w: Fraction, r: Fraction) -> Fraction:
    """Input cost as a multiple of the uncached one where ``hit_share`` is read and the rest written."""
    return hit_share * r + (1 - hit_share) * w


def longest_mean_gap_s(w: Fraction, r: Fraction, lifetime_s: float) -> float | None:
    """The longest mean of exponential pauses at which writing pays; None: at any."""
    share = share_read(w, r)
    return None if not share else lifetime_s / -math.log1p(-float(share))


def gap_cost(gap_s: float, w: Fraction, r: Fraction, lifetime_s: float) -> Fraction:
    """Price of a prompt sent every ``gap_s``, x input: read if it lives so long, else written."""
    return r if gap_s < lifetime_s else w


def pinged_cost(gap_s: float, r: Fraction, ping_s: float = PING_S) -> Fraction:
    """The same kept warm: one read for the request and one for each ping within the pause."""
    return r * max(1, math.ceil(gap_s / ping_s))


@dataclass(frozen=True, slots=True)
class Offer:
    """One lifetime of one provider for one model: multiples of the input price, and what follows."""

    provider: str
    model: str
    mode: Mode
    lifetime: str
    seconds: float
    refreshed: bool
    """Whether a read restarts the lifetime, so that pings keep it."""
    write: Fraction
    read: Fraction
    storage_per_hour: Fraction
    """Rent of a stored token for an hour, as a multiple of the input price."""

    @property
    def ping_s(self) -> float:
        """How often a prompt is read to keep it."""
        return float(PING_SHARE * Fraction(self.seconds))

    @property
    def reads_per_hour_for_rent(self) -> Fraction | None:
        """Reads of the whole prefix an hour that pay the rent alone; None where nothing is rented."""
        return self.storage_per_hour / (1 - self.read) if self.storage_per_hour else None


def offers(names: list[str], start: datetime) -> list[Offer]:
    """Every lifetime that the providers sell. ``names``: ``provider`` or ``provider:model``.

    Raises InputError: an unknown provider, model or mode. A provider whose prices are not in the library
    counts by the multiples of its rules.
    """
    found = []
    for name in names:
        provider, _, model = name.partition(":")
        rulebook.require_shipped(provider, "provider")
        shipped = rulebook.provider(provider)
        model = model or shipped.typical_model
        rulebook.require_current(provider, model, start, provider)
        modes: tuple[Mode, ...] = ("automatic", "explicit")
        records = [rulebook.first_record(provider, model, mode) for mode in modes]
        if not any(records):
            rulebook.any_record(provider, model, provider)
        for mode, rules in zip(modes, records, strict=True):
            same = mode == "explicit" and rules is records[0]
            if rules is not None and not same:
                found += _of(provider, model, mode, rules, shipped.library, start)
    return found


def _of(
    provider: str, model: str, mode: Mode, rules: Rules, library: str | None, start: datetime
) -> list[Offer]:
    def offer(number: int, write: Fraction, read: Fraction, storage: Fraction) -> Offer:
        lifetime = rules.lifetimes[number]
        lived = lifetime.name, lifetime.seconds, rules.refresh_on_read
        return Offer(provider, model, mode, *lived, write, read, storage)

    if library is None:
        read = Fraction(str(rules.read_mult))
        writes = [Fraction(str(one.write_mult or 1)) for one in rules.lifetimes]
        return [offer(number, write, read, Fraction(0)) for number, write in enumerate(writes)]
    card = price_list(rules, library, model, "standard", start, None, provider).cards[0]
    return [
        offer(number, write / card.input, card.read / card.input, card.storage / card.input)
        for number, write in enumerate(card.writes)
    ]
