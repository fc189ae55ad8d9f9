"""Bills of a run: exact totals by what they pay for, and dollars per request, turn, session and tenant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim.providers.latency import HostedLatency
from sim.providers.prices import PriceList
from sim.providers.usage import HOUR_S, Bill, Usage, charge

if TYPE_CHECKING:
    from sim.results.records import Floats, Ints, Records
    from sim.results.summary_cost import BillSplit, CostFigures, Spread

LAST_TURN = 12
"""Turns beyond this one are told as one."""
PER_MILLION = 1e-6


@dataclass(slots=True)
class Hosted:
    """What the bills of a provider's run need beside the request table; one entry per request."""

    prices: PriceList
    latency: HostedLatency
    card: Ints
    """The card of ``prices`` that holds for the request."""
    written: dict[str, Ints]
    """Tokens written, by lifetime."""
    created_tokens: Ints
    """Tokens of cache objects made beside the request, and how long they are rented."""
    storage_s: Floats
    lifetime: int
    """The number of the lifetime asked for the system message, at which objects are made."""
    usage_style: Literal["inclusive", "exclusive"]
    """How the provider counts input tokens in its replies."""
    overflows: int
    """Requests that did not go to the first machine of their prefix."""

    def only(self, chosen: NDArray[np.bool_]) -> Hosted:
        """The same for the ``chosen`` requests alone."""
        return replace(
            self,
            card=self.card[chosen],
            written={lifetime: tokens[chosen] for lifetime, tokens in self.written.items()},
            created_tokens=self.created_tokens[chosen],
            storage_s=self.storage_s[chosen],
        )

    @property
    def written_tokens(self) -> Ints:
        """Tokens written for any lifetime, part of the request's input."""
        total = sum(self.written.values(), np.zeros(len(self.card), dtype=np.int64))
        return np.asarray(total, dtype=np.int64)


def exact(records: Records, chosen: Any = slice(None)) -> Bill:
    """The bill of the ``chosen`` requests (an index array or mask), exact to the last digit.

    Tokens are added up as integers for each card and priced once.
    """
    hosted = records.hosted
    assert hosted is not None
    cards = hosted.card[chosen]
    bills = []
    for number in np.unique(cards).tolist():
        mine = cards == number
        rates = hosted.prices.cards[number]
        bills.append(charge(_usage(records, chosen, mine), rates))
        objects = np.flatnonzero(mine & (hosted.created_tokens[chosen] > 0))
        for tokens, seconds in zip(
            hosted.created_tokens[chosen][objects].tolist(),
            hosted.storage_s[chosen][objects].tolist(),
            strict=True,
        ):
            rented = Usage(0, created_tokens=tokens, storage_s=seconds)
            bills.append(charge(rented, rates, hosted.lifetime))
    return reduce(add, bills)


def _usage(records: Records, chosen: Any = slice(None), mine: Any = slice(None)) -> Usage:
    """Tokens of ``mine`` among the ``chosen`` requests, added up."""

    def total(tokens: Ints) -> int:
        return int(tokens[chosen][mine].sum())

    assert records.hosted is not None
    return Usage(
        input_tokens=total(records.input_tokens),
        output_tokens=total(records.output_tokens),
        read_tokens=total(records.cache_read_input_tokens),
        written_tokens=tuple(total(tokens) for tokens in records.hosted.written.values()),
    )


def parts_usd(records: Records) -> dict[str, Floats]:
    """Dollars of each request by what they pay for; the keys are those of the summary's ``bill``."""
    hosted = records.hosted
    assert hosted is not None
    cards = hosted.prices.cards

    def price(values: list[Any]) -> Floats:
        return np.array([float(value) for value in values])[hosted.card] * PER_MILLION

    read, written = records.cache_read_input_tokens, hosted.written_tokens
    parts = {
        "uncached_input_usd": (records.input_tokens - read - written) * price([c.input for c in cards])
    }
    for number, (name, tokens) in enumerate(hosted.written.items()):
        paid = tokens + hosted.created_tokens * (number == hosted.lifetime)
        parts[f"cache_write_{name}_usd"] = paid * price([c.writes[number] for c in cards])
    parts["cache_read_usd"] = read * price([c.read for c in cards])
    rented = hosted.created_tokens * hosted.storage_s / HOUR_S
    parts["storage_usd"] = rented * price([c.storage for c in cards])
    parts["output_usd"] = records.output_tokens * price([c.output for c in cards])
    return parts


def request_usd(records: Records) -> Floats:
    """Dollars of each request."""
    total: Floats = sum(parts_usd(records).values(), np.zeros(len(records)))
    return total


def cost_figures(records: Records, sessions: Records) -> CostFigures:
    """The ``cost`` object of a provider's run; ``saved_usd_by_cache`` is left to who has the twin.

    ``sessions``: the requests of the sessions that start in the time of ``records``, which may go on later.
    """
    bill = exact(records)
    inputs, outputs = int(records.input_tokens.sum()), int(records.output_tokens.sum())
    return {
        "pricing": "provider",
        "cost_usd_total": float(bill.total_usd),
        "cost_usd_per_request": float(bill.total_usd / len(records)),
        "cost_usd_per_1m_input_tokens": float(bill.input_usd / inputs * 10**6),
        "cost_usd_per_1m_output_tokens": float(bill.output_usd / outputs * 10**6),
        "saved_usd_by_cache": None,
        "gpu_seconds": None,
        "cost_usd_busy": None,
        "bill": _split(records, sessions, bill),
    }


def _split(records: Records, started: Records, bill: Bill) -> BillSplit:
    hosted = records.hosted
    assert hosted is not None
    usd = request_usd(records)
    _, session = np.unique(started.session, return_inverse=True)
    sessions: Floats = np.bincount(session, request_usd(started)).astype(float)
    turns = np.minimum(records.turn, LAST_TURN + 1)
    writes = dict(zip(hosted.written, map(float, bill.writes_usd), strict=True))
    return {
        "uncached_input_usd": float(bill.uncached_usd),
        "cache_write_usd": writes,
        "cache_read_usd": float(bill.read_usd),
        "storage_usd": float(bill.storage_usd),
        "output_usd": float(bill.output_usd),
        "total_micro_usd": _text(bill),
        "usd_per_1000_sessions": float(bill.total_usd / len(sessions) * 1000),
        "usd_per_request": _spread(usd),
        "usd_per_session": _spread(sessions),
        "mean_usd_by_turn": {
            str(turn) if turn <= LAST_TURN else f">{LAST_TURN}": float(usd[turns == turn].mean())
            for turn in np.unique(turns).tolist()
        },
        "usd_by_tenant": _by(records.tenant, usd),
        "cache_write_tokens": {name: int(tokens.sum()) for name, tokens in hosted.written.items()},
        "usage_style": hosted.usage_style,
        "reported_input_tokens": _usage(records).input_field(hosted.usage_style),
        "cache_object_tokens": int(hosted.created_tokens.sum()),
        "overflowed_requests": hosted.overflows,
    }


def _by(group: Ints, usd: Floats) -> dict[str, float]:
    """Dollars added up by group."""
    names, where = np.unique(group, return_inverse=True)
    return dict(zip(map(str, names.tolist()), np.bincount(where, usd).tolist(), strict=True))


def _text(bill: Bill) -> str:
    """Micro-dollars in full where they end, as a fraction where they do not."""
    micro = bill.total_usd * 10**6
    denominator = micro.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    if denominator != 1:
        return str(micro)
    digits = 0
    while (micro * 10**digits).denominator != 1:
        digits += 1
    whole = str(int(micro * 10**digits)).rjust(digits + 1, "0")
    return f"{whole[: len(whole) - digits]}.{whole[len(whole) - digits :]}" if digits else whole


def _spread(usd: Floats) -> Spread:
    p50, p90, p99 = np.percentile(usd, (50, 90, 99)).tolist()
    return {"mean": float(usd.mean()), "p50": p50, "p90": p90, "p99": p99, "max": float(usd.max())}
