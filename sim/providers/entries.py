"""What a provider keeps of a prompt, for how long, and what all kinds of rules share in that."""

from __future__ import annotations

from typing import Protocol

from sim.providers.marks import Marks
from sim.providers.schema import UNLIMITED, Rules
from workloads.seeds import stream
from workloads.trace import Trace


class Draws(Protocol):
    """A number from 0 to 1 for each request, from a random source of its own."""

    def __getitem__(self, request: int) -> float: ...


def luck(seed: int, requests: int) -> list[float]:
    """Draws that decide how long entries live, for the first ``requests`` requests."""
    draws: list[float] = stream(seed, "provider-luck").random(requests).tolist()
    return draws


def losses(seed: int, requests: int) -> list[float]:
    """Draws that decide whether a lookup fails although the entry is there."""
    draws: list[float] = stream(seed, "provider-losses").random(requests).tolist()
    return draws


class Entry:
    """A stored prefix: readable from ``visible_s`` until ``expires_s``."""

    __slots__ = ("expires_s", "first_s", "lifetime", "reach", "visible_s")

    def __init__(self, visible_s: float, expires_s: float, first_s: float, lifetime: int) -> None:
        self.visible_s = visible_s
        self.expires_s = expires_s
        self.first_s = first_s
        """When it was first written."""
        self.lifetime = lifetime
        self.reach = UNLIMITED
        """Tokens up to which it is stored, where that may be less than its whole segment."""


Machine = dict[int, Entry]
"""The entries of one machine by the segment at whose end they end."""


class Moment:
    """Times of the request at hand, s: arrival, when its writes are readable, when lifetimes start."""

    __slots__ = ("at_s", "clock_s", "visible_s")

    def __init__(self, at_s: float, visible_s: float, clock_s: float) -> None:
        self.at_s, self.visible_s, self.clock_s = at_s, visible_s, clock_s


class Found:
    """What the requests read, wrote and rented: filled in by a store, one entry per request."""

    def __init__(self, requests: int, lifetimes: int) -> None:
        self.read_tokens = [0] * requests
        self.written_tokens = [[0] * requests for _ in range(lifetimes)]
        self.created_tokens = [0] * requests
        self.storage_s = [0.0] * requests

    def grow(self) -> None:
        """The trace has one more request."""
        for tokens in (self.read_tokens, self.created_tokens, *self.written_tokens):
            tokens.append(0)
        self.storage_s.append(0.0)

    def clear(self, request: int) -> None:
        """``request`` is sent again: what its last call found and wrote is noted elsewhere."""
        self.read_tokens[request] = self.created_tokens[request] = 0
        self.storage_s[request] = 0.0
        for written in self.written_tokens:
            written[request] = 0


class Store:
    """The base of the kinds: when an entry of these rules is found, and how long it stays.

    ``luck`` decides how long entries live, ``chance`` whether a lookup fails although the entry is there.
    """

    def __init__(
        self, trace: Trace, rules: Rules, marks: Marks, luck: Draws, found: Found, chance: Draws
    ) -> None:
        self.trace, self.rules, self.marks, self.found, self.luck = trace, rules, marks, found, luck
        self.end, self.parent = trace.content.end, trace.content.parent
        self._hit_at_ttl = rules.at_ttl == "hit"
        self._chance = chance
        self._user, self._tool = rules.hit_chances
        self.sure = self._user == self._tool == 1
        """Whether no lookup fails; asked before `fails`, since lookups are many."""

    def fails(self, request: int) -> bool:
        """Whether the lookup of ``request`` finds nothing although something may be there."""
        tool = request in self.trace.tool_turns
        return self._chance[request] >= (self._tool if tool else self._user)

    def lookup(self, request: int, at_s: float, machine: Machine) -> int:
        """Tokens of ``request`` that are found at ``at_s``; noted as read."""
        raise NotImplementedError

    def store(self, request: int, moment: Moment, machine: Machine) -> None:
        """Keep what the rules keep of ``request``, and refresh what it read; called after `lookup`."""
        raise NotImplementedError

    def grow(self, request: int) -> None:
        """The trace has grown by ``request``, the newest."""

    def split(self, upper: int, lower: int, machine: Machine) -> None:
        """A segment of a tree that grows was cut: an entry that ends where it did is that of ``lower``."""

    def alive(self, entry: Entry | None, at_s: float) -> bool:
        """Whether a lookup at ``at_s`` finds ``entry``."""
        return entry is not None and entry.visible_s <= at_s and self._lives(entry, at_s)

    def put(self, node: int, lifetime: int, request: int, moment: Moment, machine: Machine) -> None:
        """Write an entry; one that is there is refreshed, one still being written is shared."""
        at_s, entry = moment.at_s, machine.get(node)
        if entry is None or not self._lives(entry, at_s):
            expires_s = self._until(lifetime, request, at_s, moment.clock_s)
            machine[node] = Entry(moment.visible_s, expires_s, at_s, lifetime)
        elif entry.visible_s > at_s:
            entry.visible_s = min(entry.visible_s, moment.visible_s)
            expires_s = self._until(lifetime, request, entry.first_s, moment.clock_s)
            entry.expires_s = max(entry.expires_s, expires_s)
        else:
            self.refresh(entry, request, moment)

    def refresh(self, entry: Entry, request: int, moment: Moment) -> None:
        """Restart the lifetime of an entry that was used, where the rules say so."""
        if self.rules.refresh_on_read:
            entry.expires_s = self._until(entry.lifetime, request, entry.first_s, moment.clock_s)

    def _lives(self, entry: Entry, at_s: float) -> bool:
        return at_s < entry.expires_s or (self._hit_at_ttl and at_s == entry.expires_s)

    def _until(self, number: int, request: int, first_s: float, clock_s: float) -> float:
        until_s, cap_s = clock_s + self._seconds(number, request), self.rules.lifetimes[number].cap_s
        return until_s if cap_s is None else min(until_s, first_s + cap_s)

    def _seconds(self, number: int, request: int) -> float:
        """How long an entry lives that ``request`` writes or reads, as drawn."""
        lifetime = self.rules.lifetimes[number]
        if lifetime.longest_s is None:
            return lifetime.seconds
        return lifetime.seconds + self.luck[request] * (lifetime.longest_s - lifetime.seconds)
