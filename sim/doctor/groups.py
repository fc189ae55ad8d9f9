"""Misses by session, day, project and version of the client."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from math import fsum

from sim.doctor.causes import BEGINNINGS, CAUSES
from sim.doctor.examine import Judged
from sim.doctor.outcome import CauseEntry, GroupEntry, ReasonEntry

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,29}")
"""What a version of a client looks like; anything else is not shown."""


def lost_usd(judged: Judged) -> float:
    """What a call's miss cost, if it is one that something before it could have spared."""
    return 0.0 if judged.cause in BEGINNINGS else judged.missed_usd


def causes(calls: Iterable[Judged]) -> list[CauseEntry]:
    """Every cause with what it cost, most dollars first."""
    by_cause: dict[str, list[Judged]] = defaultdict(list)
    for judged in calls:
        if judged.cause is not None:
            by_cause[judged.cause].append(judged)
    entries: list[CauseEntry] = [
        {
            "cause": name,
            "provider_reason": CAUSES[name].provider,
            "calls": len(by_cause[name]),
            "tokens": sum(one.missed_tokens for one in by_cause[name]),
            "usd": fsum(one.missed_usd for one in by_cause[name]),
        }
        for name in CAUSES
        if name in by_cause
    ]
    return sorted(entries, key=lambda entry: -entry["usd"])


def reasons(calls: Sequence[Judged], found: Sequence[CauseEntry]) -> list[ReasonEntry]:
    """The same in the provider's words, and how often the log has these from the provider itself."""
    said: dict[str, int] = defaultdict(int)
    for judged in calls:
        if judged.call.said:
            said[judged.call.said] += 1
    words = dict.fromkeys([entry["provider_reason"] for entry in found if entry["provider_reason"]])
    entries: list[ReasonEntry] = []
    for word in dict.fromkeys([*words, *said]):
        mine = [entry for entry in found if entry["provider_reason"] == word]
        entries.append(
            {
                "reason": word,
                "calls": sum(entry["calls"] for entry in mine),
                "tokens": sum(entry["tokens"] for entry in mine),
                "usd": fsum(entry["usd"] for entry in mine),
                "said": said[word],
            }
        )
    return sorted(entries, key=lambda entry: -entry["usd"])


def grouped(calls: Iterable[Judged], name_of: Callable[[Judged], str]) -> list[GroupEntry]:
    """The misses of each group of calls, in the order in which groups are met."""
    by_name: dict[str, list[Judged]] = defaultdict(list)
    for judged in calls:
        by_name[name_of(judged)].append(judged)
    return [_entry(name, mine) for name, mine in by_name.items()]


def _entry(name: str, calls: Sequence[Judged]) -> GroupEntry:
    billed, lost = fsum(one.billed_usd for one in calls), fsum(map(lost_usd, calls))
    worst: dict[str, float] = defaultdict(float)
    for one in calls:
        if one.cause is not None and lost_usd(one):
            worst[one.cause] += one.missed_usd
    return {
        "name": name,
        "calls": len(calls),
        "billed_usd": billed,
        "lost_usd": lost,
        "lost_share": lost / billed if billed else 0.0,
        "worst": max(worst, key=worst.__getitem__, default=""),
    }


def period(judged: Judged) -> str:
    """The day (UTC) of a call, or the month, or nothing, as far as the log tells."""
    lane = judged.lane
    if not lane.dated:
        return lane.month
    return f"{lane.start + timedelta(seconds=judged.call.at_s):%Y-%m-%d}"


def version(judged: Judged) -> str:
    """The version of the client that sent the call."""
    return judged.call.client if VERSION.fullmatch(judged.call.client) else "unknown"


class Names:
    """What sessions and projects are called: numbers in the order of the log, or with ``real`` their names.

    A name is a person's text (a folder, a title), so it is shown only where the user asks.
    """

    def __init__(self, calls: Iterable[Judged], real: bool) -> None:
        self._real = real
        lanes = list({id(judged.lane): judged.lane for judged in calls}.values())
        self._sessions = {name: i for i, name in enumerate(dict.fromkeys(one.session for one in lanes), 1)}
        self._projects = {name: i for i, name in enumerate(dict.fromkeys(one.project for one in lanes), 1)}

    def session(self, judged: Judged) -> str:
        """That of the session of a call."""
        name = judged.lane.session
        return name if self._real else f"session {self._sessions[name]}"

    def project(self, judged: Judged) -> str:
        """That of the project of a call; empty where the log has none."""
        name = judged.lane.project
        return name if self._real or not name else f"project {self._projects[name]}"
