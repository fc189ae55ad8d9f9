"""All calls of a log held against their bills: how many are met, what was missed, and why, in dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sim.doctor.calls import Call, Lane
from sim.doctor.causes import cause, excess_tokens, parallel_starts
from sim.doctor.find import Log, read
from sim.doctor.predict import Predicted, predict
from sim.doctor.tariff import Tariff, known

WITHIN = 0.01
"""Share of a prompt's tokens by which a read may be off and still count as near."""


@dataclass(slots=True)
class Judged:
    """One call with what the rules say of it, and why it missed what it missed."""

    lane: Lane
    call: Call
    before: Call | None
    predicted: Predicted
    billed_usd: float
    predicted_usd: float
    cause: str | None
    missed_tokens: int
    missed_usd: float
    """What writing the missed tokens cost above reading them."""
    stake_usd: float
    """What the call would cost more if it found nothing of what it finds by the rules."""
    uncached_usd: float
    """The whole prompt at the price of plain input."""

    @property
    def exact(self) -> bool:
        """Whether read, write and plain input all equal the bill."""
        return self.predicted.tokens == self.call.billed

    @property
    def near(self) -> bool:
        """Whether the read is off by at most 1 % of the prompt's tokens."""
        billed = self.call.billed
        return abs(self.predicted.tokens.read - billed.read) <= WITHIN * billed.total


@dataclass(slots=True)
class Examined:
    """A log, or several, call by call."""

    logs: list[Log]
    lanes: list[Lane]
    calls: list[Judged]
    tariffs: dict[str, Tariff]
    """By the id of the log's path."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Calls of models without known prices, by model."""

    def tariff(self, lane: Lane) -> Tariff:
        """The rules and prices that hold for a lane."""
        return self.tariffs[lane.log]


def examine(
    path: Path | None,
    format: str | None = None,
    provider: str | None = None,
    skip: int = 0,
    model: str = "",
) -> Examined:
    """Read the billed calls of ``path`` but for ``skip`` bad lines; predict each from those before it.

    ``model`` is that of calls whose log names none. Raises InputError: a log that cannot be read, or a
    model without rules or prices.
    """
    logs = read(path, format, skip, model)
    found = Examined(logs, [], [], {})
    for log in logs:
        where = str(log.path)
        tariff = Tariff(where, provider or ("codex" if log.format == "codex" else None))
        lanes, left_out = known(log.lanes, tariff)
        found.tariffs[where] = tariff
        found.left_out += left_out
        together = parallel_starts(lanes)
        for lane in lanes:
            lane.log = where
            found.calls += judged(lane, tariff, together)
        found.lanes += lanes
    return found


def judged(lane: Lane, tariff: Tariff, together: set[str]) -> Iterator[Judged]:
    """Every call of a lane."""
    before: Call | None = None
    for call, predicted in zip(lane.calls, predict(lane, tariff.rules), strict=True):
        rules, price = tariff.rules(call.model), tariff.price(call.model, lane)
        why = cause(call, before, predicted, rules, lane, together)
        missed = excess_tokens(call, before) if why is not None else 0
        yield Judged(
            lane=lane,
            call=call,
            before=before,
            predicted=predicted,
            billed_usd=price.usd(call.billed),
            predicted_usd=price.usd(predicted.tokens),
            cause=why,
            missed_tokens=missed,
            missed_usd=price.excess_usd(call, missed),
            stake_usd=price.excess_usd(call, predicted.tokens.read),
            uncached_usd=price.uncached_usd(call.billed.total),
        )
        before = call
