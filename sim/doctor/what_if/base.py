"""What a what-if gets and gives: a log to replay with one thing changed, and what each session saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sim.doctor.calls import Call, Lane, Tokens
from sim.doctor.examine import Examined
from sim.doctor.outcome import WhatIf
from sim.doctor.predict import predict
from sim.providers.schema import Rules
from sim.results.intervals import CONFIDENCE
from workloads.content import ROOT

RESAMPLES = 1000
SEED = 1


@dataclass(slots=True)
class Change:
    """One thing changed, possibly with a setting that has to be chosen."""

    change: str
    """What is changed; ``{}`` stands for the setting."""
    saved_usd: dict[str, dict[str, float]]
    """By setting, what each session saves; several settings: the one that saves most is told."""
    note: str = ""
    kind: Literal["client", "upper bound", "other answers"] = "client"
    """As in `WhatIf`."""


class Case:
    """A log with its bills by the rules, lane by lane: what every change is compared with."""

    def __init__(self, found: Examined) -> None:
        self.found = found
        self.sessions = list(dict.fromkeys(session_of(lane) for lane in found.lanes))
        self._as_it_is: dict[int, float] = {}

    def as_it_is(self, lane: Lane) -> float:
        """The input of a lane by the rules."""
        known = self._as_it_is.get(id(lane))
        if known is None:
            known = self._as_it_is[id(lane)] = self.usd(lane)
        return known

    def usd(self, lane: Lane) -> float:
        """The input of a lane by the rules, whatever its calls are now."""
        tariff = self.found.tariff(lane)
        prices = {model: tariff.price(model, lane) for model in {call.model for call in lane.calls}}
        bills = zip(lane.calls, predict(lane, tariff.rules), strict=True)
        total = 0.0
        for call, predicted in bills:
            total += prices[call.model].usd(predicted.tokens)
            if call.ping:
                total += prices[call.model].output_usd(call)
        return total

    def rules(self, lane: Lane) -> Rules:
        """The rules of the lane's first model."""
        return self.found.tariff(lane).rules(lane.calls[0].model)

    def saved(self, changed: Callable[[Lane], Iterable[Call]]) -> dict[str, float]:
        """What each session saves if its lanes have the calls that ``changed`` gives."""
        saved = dict.fromkeys(self.sessions, 0.0)
        for lane in self.found.lanes:
            other = replace(lane, calls=list(changed(lane)))
            saved[session_of(lane)] += self.as_it_is(lane) - self.usd(other)
        return saved


def session_of(lane: Lane) -> str:
    """The session that a lane belongs to, unlike those of other logs."""
    return f"{lane.log}\0{lane.session}"


def ping(before: Call, at_s: float) -> Call:
    """A request that repeats the prompt of ``before`` and asks for one token."""
    total = before.billed.total
    nothing = tuple(0 for _ in before.billed.written)
    return replace(
        before, at_s=at_s, ended_s=at_s, ping=True, how="ping", read_at=ROOT,
        billed=Tokens(total, nothing, 0), output_tokens=1,
    )  # fmt: skip


def told(case: Case, change: Change) -> WhatIf:
    """A change as the outcome has it: the best setting, and an interval over resampled sessions.

    Where a setting is chosen it is chosen anew in each resample, so that the interval knows of the choice.
    """
    table = np.array([[one[name] for name in case.sessions] for one in change.saved_usd.values()])
    best = int(table.sum(axis=1).argmax())
    interval: tuple[float, float] | None = None
    n = len(case.sessions)
    if n > 1:
        counts = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        totals = (counts @ table.T).max(axis=1)
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(totals, [tail, 1 - tail])
        interval = (float(low), float(high))
    return {
        "change": change.change.format(list(change.saved_usd)[best]),
        "usd": float(table[best].sum()),
        "interval": interval,
        "kind": change.kind,
        "note": change.note,
    }


WhatIfs = Callable[[Case], Iterator[Change]]
"""Gives the changes of one kind that the log allows."""
