"""Bills of a run: exact totals by what they pay for, and dollars per request, turn, session and tenant."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim.providers.latency import HostedLatency
from sim.providers.prices import Rates
from sim.providers.usage import HOUR_S, Bill, Usage, charge

if TYPE_CHECKING:
    from sim.results.records import Floats, Ints, Records
    from sim.results.summary_cost import BillSplit, CostFigures, Spread

LAST_TURN = 12
"""Turns beyond this one are told as one."""
PER_MILLION = 1e-6


@dataclass(slots=True)
class Calls:
    """What is billed: one entry per call. A request whose client hung up and tried again is several."""

    request: Ints
    """The request, by its number in the trace."""
    session: Ints
    turn: Ints
    tenant: Ints
    card: Ints
    """The number of the prices that hold for the call."""
    input_tokens: Ints
    output_tokens: Ints
    """Of a call that was given up, what was generated until then."""
    read_tokens: Ints
    written: dict[str, Ints]
    """Tokens written, by lifetime."""
    created_tokens: Ints
    """Tokens of cache objects made beside the request, and how long they are rented."""
    storage_s: Floats
    given_up: NDArray[np.bool_]
    """Whether the client hung up before the reply was complete."""

    def __len__(self) -> int:
        return len(self.request)

    def only(self, chosen: Any) -> Calls:
        """The ``chosen`` ones (an index array or mask)."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        written = {name: tokens[chosen] for name, tokens in columns.pop("written").items()}
        return Calls(**{name: column[chosen] for name, column in columns.items()}, written=written)

    @property
    def written_tokens(self) -> Ints:
        """Tokens written for any lifetime, part of the call's input."""
        return np.asarray(sum(self.written.values(), np.zeros(len(self), np.int64)), dtype=np.int64)

    def check(self) -> None:
        """Assert that no call read and wrote more than it sent."""
        assert (self.read_tokens >= 0).all() and (self.output_tokens >= 0).all()
        assert (self.read_tokens + self.written_tokens <= self.input_tokens).all()


@dataclass(slots=True)
class Hosted:
    """What the bills of a provider's run need beside the request table."""

    cards: tuple[Rates, ...]
    """The prices; ``Calls.card`` says which of them hold."""
    latency: HostedLatency
    calls: Calls
    written_tokens: Ints
    """Tokens that the last call of each request wrote, by row of the request table."""
    lifetime: int
    """The number of the lifetime asked for the system message, at which objects are made."""
    usage_style: Literal["inclusive", "exclusive"]
    """How the provider counts input tokens in its replies."""
    overflows: int
    """Requests that did not go to the first machine of their prefix."""

    def only(self, chosen: NDArray[np.bool_], billed: NDArray[np.bool_]) -> Hosted:
        """The same for the rows that are ``chosen`` and the calls that are ``billed``."""
        return replace(self, calls=self.calls.only(billed), written_tokens=self.written_tokens[chosen])


def exact(records: Records, chosen: Any = None) -> Bill:
    """The bill of all calls, or of the ``chosen`` ones (an index array or mask), exact to the last digit.

    Tokens are added up as integers for each card and priced once.
    """
    hosted = records.hosted
    assert hosted is not None
    calls = hosted.calls if chosen is None else hosted.calls.only(chosen)
    bills = []
    for number in np.unique(calls.card).tolist():
        mine = calls.card == number
        rates = hosted.cards[number]
        bills.append(charge(_usage(calls, mine), rates))
        objects = np.flatnonzero(mine & (calls.created_tokens > 0))
        for tokens, seconds in zip(
            calls.created_tokens[objects].tolist(), calls.storage_s[objects].tolist(), strict=True
        ):
            rented = Usage(0, created_tokens=tokens, storage_s=seconds)
            bills.append(charge(rented, rates, hosted.lifetime))
    return reduce(add, bills) if bills else charge(_usage(calls), hosted.cards[0])


def _usage(calls: Calls, mine: Any = slice(None)) -> Usage:
    """Tokens of those calls that are ``mine``, added up."""

    def total(tokens: Ints) -> int:
        return int(tokens[mine].sum())

    return Usage(
        input_tokens=total(calls.input_tokens),
        output_tokens=total(calls.output_tokens),
        read_tokens=total(calls.read_tokens),
        written_tokens=tuple(total(tokens) for tokens in calls.written.values()),
    )


def parts_usd(records: Records) -> dict[str, Floats]:
    """Dollars of each call by what they pay for; the keys are those of the summary's ``bill``."""
    hosted = records.hosted
    assert hosted is not None
    calls, cards = hosted.calls, hosted.cards

    def price(values: list[Any]) -> Floats:
        return np.array([float(value) for value in values])[calls.card] * PER_MILLION

    uncached = calls.input_tokens - calls.read_tokens - calls.written_tokens
    parts = {"uncached_input_usd": uncached * price([c.input for c in cards])}
    for number, (name, tokens) in enumerate(calls.written.items()):
        paid = tokens + calls.created_tokens * (number == hosted.lifetime)
        parts[f"cache_write_{name}_usd"] = paid * price([c.writes[number] for c in cards])
    parts["cache_read_usd"] = calls.read_tokens * price([c.read for c in cards])
    rented = calls.created_tokens * calls.storage_s / HOUR_S
    parts["storage_usd"] = rented * price([c.storage for c in cards])
    parts["output_usd"] = calls.output_tokens * price([c.output for c in cards])
    return parts


def call_usd(records: Records) -> Floats:
    """Dollars of each call."""
    assert records.hosted is not None
    total: Floats = sum(parts_usd(records).values(), np.zeros(len(records.hosted.calls)))
    return total


def request_usd(records: Records) -> Floats:
    """Dollars of each request of a whole run, all its calls together."""
    assert records.hosted is not None
    calls = records.hosted.calls
    return np.bincount(calls.request, call_usd(records), len(records)).astype(float)


def cost_figures(records: Records, sessions: Records) -> CostFigures:
    """The ``cost`` object of a provider's run; ``saved_usd_by_cache`` is left to who has the twin.

    The bill is that of all calls, also of those without an answer; per request and per token it goes by
    what was completed. ``sessions``: the requests of the sessions that start in the time of ``records``,
    which may go on later.
    """
    bill = exact(records)
    done, inputs, outputs = len(records), int(records.input_tokens.sum()), int(records.output_tokens.sum())
    return {
        "pricing": "provider",
        "cost_usd_total": float(bill.total_usd),
        "cost_usd_per_request": float(bill.total_usd / done) if done else None,
        "cost_usd_per_1m_input_tokens": float(bill.input_usd / inputs * 10**6) if done else None,
        "cost_usd_per_1m_output_tokens": float(bill.output_usd / outputs * 10**6) if done else None,
        "saved_usd_by_cache": None,
        "gpu_seconds": None,
        "cost_usd_busy": None,
        "bill": _split(records, sessions, bill),
    }


def _split(records: Records, started: Records, bill: Bill) -> BillSplit:
    hosted = records.hosted
    assert hosted is not None
    assert started.hosted is not None
    calls, usd = hosted.calls, call_usd(records)
    requests, sessions = (
        _totals(calls.request, usd),
        _totals(started.hosted.calls.session, call_usd(started)),
    )
    turns = np.minimum(calls.turn, LAST_TURN + 1)
    writes = dict(zip(calls.written, map(float, bill.writes_usd), strict=True))
    return {
        "uncached_input_usd": float(bill.uncached_usd),
        "cache_write_usd": writes,
        "cache_read_usd": float(bill.read_usd),
        "storage_usd": float(bill.storage_usd),
        "output_usd": float(bill.output_usd),
        "total_micro_usd": _text(bill),
        "usd_per_1000_sessions": float(bill.total_usd / len(sessions) * 1000) if len(sessions) else 0.0,
        "usd_per_request": _spread(requests),
        "usd_per_session": _spread(sessions),
        "mean_usd_by_turn": {
            str(turn) if turn <= LAST_TURN else f">{LAST_TURN}": float(
                _totals(calls.request[at], usd[at]).mean()
            )
            for turn in np.unique(turns).tolist()
            if (at := turns == turn).any()
        },
        "usd_by_tenant": _by(calls.tenant, usd),
        "cache_write_tokens": {name: int(tokens.sum()) for name, tokens in calls.written.items()},
        "usage_style": hosted.usage_style,
        "reported_input_tokens": _usage(calls).input_field(hosted.usage_style),
        "cache_object_tokens": int(calls.created_tokens.sum()),
        "overflowed_requests": hosted.overflows,
        "calls": len(calls),
        "given_up_calls": int(calls.given_up.sum()),
        "given_up_usd": float(usd[calls.given_up].sum()),
    }


def _totals(group: Ints, usd: Floats) -> Floats:
    """Dollars added up by group, in the order of the groups' numbers."""
    return np.bincount(np.unique(group, return_inverse=True)[1], usd).astype(float)


def _by(group: Ints, usd: Floats) -> dict[str, float]:
    """Dollars added up by group."""
    return dict(zip(map(str, np.unique(group).tolist()), _totals(group, usd).tolist(), strict=True))


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
    if not len(usd):
        return {"mean": 0.0, "p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}
    p50, p90, p99 = np.percentile(usd, (50, 90, 99)).tolist()
    return {"mean": float(usd.mean()), "p50": p50, "p90": p90, "p99": p99, "max": float(usd.max())}
