"""What the rules say that a recorded call reads and writes, from the calls of its lane before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from sim.doctor.calls import Call, Lane, Tokens
from sim.providers.schema import Rules
from workloads.content import ROOT

LATE_S = 10.0
"""A log has the time of the row that a call answers; the request itself goes out a little later. In 12,369
recorded calls entries of five minutes are found up to 310 s after that time, and none beyond.
"""


@dataclass(slots=True)
class Entry:
    """A stored prefix of a lane, ``tokens`` long."""

    tokens: int
    used_s: float
    """When the request was sent that wrote it or read it last."""
    ttl: int


class Predicted(NamedTuple):
    """What the rules say of one call."""

    tokens: Tokens
    before: Entry | None
    """The longest entry that its prompt begins with, alive or not."""


RulesOf = Callable[[str], Rules]


def predict(lane: Lane, rules_of: RulesOf) -> list[Predicted]:
    """Each call of ``lane`` by the rules of its model.

    What was stored before a log begins is not in it: a lane's first call is taken as billed. Every call
    marks the end of its prompt. Entries are the marked prompts of the calls before, and the prefixes that
    these are billed to have read (a head that other threads wrote too). A prompt finds the longest of them
    that it begins with, as far as whole units show, if it was used within its lifetime. Where the rules
    count in steps of tokens, what is found is rounded down to a step.

    Entries lie at the nodes at which they end, so a call looks at those between the end of its prompt and
    the first one that is alive: usually one. After a pause in which all have expired it looks at one too.
    """
    entries: dict[tuple[str, int], list[Entry]] = {}
    longest_s: dict[str, float] = {}
    until_s: dict[str, float] = {}
    """The longest lifetime asked for so far, and when every entry will have expired by it, by model."""
    found: list[Predicted] = []
    for call in lane.calls:
        rules = rules_of(call.model)
        before: Entry | None = None
        alive: Entry | None = None
        for entry in _on_the_way(lane, call, entries):
            before = before or entry
            if _lives(entry, call, rules):
                alive = entry
                break
            if call.at_s >= until_s[call.model]:
                break
        cached = call.marked >= rules.min_tokens
        read = 0 if alive is None or not cached else readable(alive.tokens, rules)
        tokens = tokens_of(call, read, cached, rules) if found else _as_billed(call)
        found.append(Predicted(tokens, before))
        if alive is not None:
            alive.used_s = call.at_s
        if cached:
            _put(entries.setdefault((call.model, call.prompt), []), call.marked, call)
            if call.early is not None:
                node, length, ttl = call.early
                here = entries.setdefault((call.model, node), [])
                known = next((one for one in here if one.tokens == length and one.ttl == ttl), None)
                if known is not None and _lives(known, call, rules):
                    known.used_s = call.at_s
                else:
                    _put(here, length, replace(call, ttl=ttl))
        if call.billed.read and not call.ping:
            _note_read(entries.setdefault((call.model, call.read_at), []), call, rules)
        ttl = call.ttl if call.early is None else max(call.ttl, call.early[2])
        longest_s[call.model] = max(longest_s.get(call.model, 0.0), _seconds(rules, ttl))
        until_s[call.model] = call.at_s + longest_s[call.model]
    return found


def _on_the_way(lane: Lane, call: Call, entries: dict[tuple[str, int], list[Entry]]) -> Iterator[Entry]:
    """The entries that the prompt begins with, longest first."""
    parent, node = lane.prompts.parent, call.prompt
    while True:
        for entry in entries.get((call.model, node), ()):
            if entry.tokens <= call.marked:
                yield entry
        if node == ROOT:
            return
        node = parent[node]


def _put(here: list[Entry], tokens: int, call: Call) -> None:
    """Write an entry among those that end ``here``, longest first."""
    here[:] = [entry for entry in here if entry.tokens != tokens] + [Entry(tokens, call.at_s, call.ttl)]
    if len(here) > 1:
        here.sort(key=lambda entry: -entry.tokens)


def _note_read(here: list[Entry], call: Call, rules: Rules) -> None:
    """What a call is billed to have read was there, whoever wrote it."""
    for entry in here:
        if entry.tokens == call.billed.read and _lives(entry, call, rules):
            entry.used_s = call.at_s
            return
    _put(here, call.billed.read, call)


def readable(tokens: int, rules: Rules) -> int:
    """How many of so many tokens that were sent before the rules let a request find.

    >>> from sim.providers.rulebook import record
    >>> readable(5000, record("openai", "gpt-5", "automatic", "")), 39 * 128
    (4992, 4992)
    """
    if rules.granularity == 1:
        return tokens
    steps = (tokens - rules.unstored_tokens - rules.first_tokens) // rules.granularity
    found = rules.first_tokens + steps * rules.granularity
    return found if steps >= 0 and found >= rules.min_tokens else 0


def tokens_of(call: Call, read: int, cached: bool, rules: Rules) -> Tokens:
    """The input of ``call`` if it reads ``read`` tokens; what lies behind the last mark is as billed."""
    total = call.billed.total
    written = call.marked - read if cached and rules.lifetimes[call.ttl].write_mult is not None else 0
    return Tokens(total - read - written, _split(by_lifetime(written, call), call, read), read)


def _split(written: tuple[int, ...], call: Call, read: int) -> tuple[int, ...]:
    """What is written up to an earlier mark is written for that mark's lifetime."""
    if call.early is None or not any(written):
        return written
    _, length, ttl = call.early
    early = max(0, length - read)
    return tuple(n - early * (i == call.ttl) + early * (i == ttl) for i, n in enumerate(written))


def by_lifetime(written: int, call: Call) -> tuple[int, ...]:
    """So many tokens written at the lifetime that the call asks for."""
    return tuple(written if i == call.ttl else 0 for i in range(len(call.billed.written)))


def _as_billed(call: Call) -> Tokens:
    """The input as billed, or if the call asks for another lifetime now, with what was written at that."""
    billed, written = call.billed, call.billed.written
    if any(written) and not written[call.ttl]:
        written = by_lifetime(sum(written), call)
    return Tokens(billed.plain, _split(written, call, billed.read), billed.read)


def _lives(entry: Entry, call: Call, rules: Rules) -> bool:
    return call.at_s - entry.used_s < _seconds(rules, entry.ttl)


def _seconds(rules: Rules, ttl: int) -> float:
    """How long after the logged time of a request what it wrote or read can be found."""
    lifetime = rules.lifetimes[ttl]
    return max(lifetime.seconds, lifetime.longest_s or 0.0) + LATE_S
