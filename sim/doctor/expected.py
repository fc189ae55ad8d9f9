"""Losses inside the lifetime: how often, by version of the client, and the bill with them expected.

No log foretells which calls lose a prefix that is there by the rules, nor which find a head that threads
outside the log had written. How much both come to can be counted in one half of the lanes and held against
the bill of the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum

from sim.doctor.causes import LOST
from sim.doctor.examine import Judged
from sim.doctor.groups import version
from sim.doctor.outcome import AliveEntry, Expected

FEWEST_LANES = 20
"""Lanes that a half of the log needs, so that its losses say something about the other half."""
PRIOR_CALLS = 100.0
"""A version's frequency is drawn towards that of its kind of turn as if it had so many calls of these: some
versions have a handful of calls."""


@dataclass(slots=True)
class Counted:
    """Calls, what they would cost more if they found nothing, and what they cost more than by the rules."""

    calls: int = 0
    stake_usd: float = 0.0
    more_usd: float = 0.0


def by_version(calls: Iterable[Judged]) -> list[AliveEntry]:
    """Losses inside the lifetime by version of the client and kind of turn, all versions first."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for judged in calls:
        before = judged.before
        if before is not None and 0 < before.marked <= judged.predicted.tokens.read:
            usd = judged.missed_usd if judged.cause in LOST else 0.0
            for client in ("all", version(judged)):
                found[client, judged.call.turn].append(usd)
    ordered = sorted(found.items(), key=lambda one: (one[0][0] != "all", -fsum(one[1]), one[0]))
    return [
        {
            "client": client,
            "turn": turn,
            "calls": len(usd),
            "lost": (lost := sum(one > 0 for one in usd)),
            "share": lost / len(usd),
            "usd": fsum(usd),
        }
        for (client, turn), usd in ordered
    ]


class Frequencies:
    """What calls cost beyond the rules per dollar at stake, by kind of turn and version of the client.

    The kind of turn is what a call answers (a user, a tool) and the lifetime that it asks for.
    """

    def __init__(self, calls: Iterable[Judged]) -> None:
        self._turns: dict[tuple[str, int], Counted] = defaultdict(Counted)
        self._versions: dict[tuple[str, int, str], Counted] = defaultdict(Counted)
        for judged in calls:
            if judged.before is not None:
                for one in self._of(judged):
                    one.calls += 1
                    one.stake_usd += judged.stake_usd
                    one.more_usd += judged.billed_usd - judged.predicted_usd

    def expected_usd(self, judged: Judged) -> float:
        """What the call is expected to cost above its price by the rules."""
        turn, version = self._of(judged)
        if judged.before is None or not turn.stake_usd:
            return 0.0
        prior_usd = PRIOR_CALLS * turn.stake_usd / turn.calls
        more_usd = version.more_usd + prior_usd * turn.more_usd / turn.stake_usd
        return judged.stake_usd * more_usd / (version.stake_usd + prior_usd)

    def _of(self, judged: Judged) -> tuple[Counted, Counted]:
        call = judged.call
        return self._turns[call.turn, call.ttl], self._versions[call.turn, call.ttl, call.client]


def halves(calls: Sequence[Judged]) -> list[Expected]:
    """Every other lane by the losses of the rest, and the other way round; empty for too few lanes."""
    lanes = list(dict.fromkeys(id(judged.lane) for judged in calls))
    if len(lanes) < 2 * FEWEST_LANES:
        return []
    first = set(lanes[::2])
    parts = [[j for j in calls if (id(j.lane) in first) is wanted] for wanted in (True, False)]
    return [_held(fitted, rest) for fitted, rest in (parts, reversed(parts))]


def _held(fitted: Sequence[Judged], rest: Sequence[Judged]) -> Expected:
    frequencies = Frequencies(fitted)
    billed = fsum(judged.billed_usd for judged in rest)
    predicted = fsum(judged.predicted_usd for judged in rest)
    expected = predicted + fsum(map(frequencies.expected_usd, rest))
    return {
        "lanes": len({id(judged.lane) for judged in rest}),
        "billed_usd": billed,
        "predicted_usd": predicted,
        "expected_usd": expected,
        "rules_error": predicted / billed - 1 if billed else 0.0,
        "expected_error": expected / billed - 1 if billed else 0.0,
    }
