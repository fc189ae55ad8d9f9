"""What the rules say that a recorded call reads and writes, from the calls of its lane before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sim.doctor.billed import BLOCK_TOKENS, Call, Lane, Tokens, shared_blocks
from sim.providers.schema import Rules

LATE_S = 10.0
"""A log has the time of the row that a call answers; the request itself goes out a little later. In 12,369
recorded calls entries of five minutes are found up to 310 s after that time, and none beyond.
"""


@dataclass(slots=True)
class Entry:
    """A stored prefix of a lane: ``tokens`` long, the beginning of a prompt with ``call``'s blocks."""

    tokens: int
    call: Call
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
    that it begins with, as far as whole blocks show, if it was used within its lifetime.
    """
    entries: dict[tuple[str, int], Entry] = {}
    found: list[Predicted] = []
    for call in lane.calls:
        rules = rules_of(call.model)
        mine = [
            entry
            for (model, tokens), entry in entries.items()
            if model == call.model and tokens <= call.marked and _begins_with(call, entry)
        ]
        before = max(mine, key=lambda entry: entry.tokens, default=None)
        alive = [entry for entry in mine if _lives(entry, call, rules)]
        read = max((entry.tokens for entry in alive), default=0)
        cached = call.marked >= rules.min_tokens
        tokens = _tokens(call, read if cached else 0, cached) if found else call.billed
        found.append(Predicted(tokens, before))
        for entry in alive:
            if entry.tokens == read:
                entry.used_s = call.at_s
        if cached:
            entries[call.model, call.marked] = Entry(call.marked, call, call.at_s, call.ttl)
        known = entries.get((call.model, call.billed.read))
        if call.billed.read and (known is None or known not in mine or not _lives(known, call, rules)):
            entries[call.model, call.billed.read] = Entry(call.billed.read, call, call.at_s, call.ttl)
        elif known is not None and known in mine:
            known.used_s = call.at_s
    return found


def _tokens(call: Call, read: int, cached: bool) -> Tokens:
    """The input of ``call`` if it reads ``read`` tokens; what lies behind the last mark is as billed."""
    total = call.billed.total
    written = call.marked - read if cached else 0
    plain = total - read - written
    return Tokens(plain, (written, 0) if call.ttl == 0 else (0, written), read)


def _begins_with(call: Call, entry: Entry) -> bool:
    """Whether the prompt of ``call`` begins with the entry, as far as its whole blocks show."""
    return shared_blocks(call.blocks, entry.call.blocks) >= entry.tokens // BLOCK_TOKENS


def _lives(entry: Entry, call: Call, rules: Rules) -> bool:
    return call.at_s - entry.used_s < rules.lifetimes[entry.ttl].seconds + LATE_S
