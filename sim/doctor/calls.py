"""What the doctor knows of a recorded call: sizes, times, places in a tree of prompts, what was billed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from workloads.content import ROOT, ContentTree
from workloads.ranges import RangeTree, Run

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
"""The day whose prices hold for a log without dates."""
USER_AFTER_S = 20.0
"""A call that comes so long after the reply before it answers a person, where the log does not say what it
answers. In 12,369 recorded calls 0.3 % of what was sent earlier and 3.9 % of what was sent later was lost
inside its lifetime: the two kinds of turn are told apart."""
Turn = Literal["user", "tool"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The input of one call: neither read nor written, written by lifetime, read."""

    plain: int
    written: tuple[int, ...]
    """By lifetime, in the order of the provider's rules (Anthropic: five minutes, an hour)."""
    read: int

    @property
    def total(self) -> int:
        """The whole prompt."""
        return self.plain + sum(self.written) + self.read


@dataclass(slots=True)
class Call:
    """One call of a lane."""

    at_s: float
    model: str
    marked: int
    """Tokens up to the last mark, which are cached if anything is."""
    prompt: int
    """The node of the lane's prompts at which its whole units end."""
    read_at: int
    """The node at which what it is billed to have read ends."""
    ttl: int
    """The number of the lifetime asked for."""
    billed: Tokens
    how: str = ""
    """What the client did to the prompt, where the log says so: see `causes.CUTS`."""
    differs: str = ""
    """The role of the first message that is not as in the call before, where messages are known."""
    turn: Turn = "tool"
    client: str = ""
    """The version of the client."""
    effort: str = ""
    ended_s: float | None = None
    """When the reply was complete."""
    output_tokens: int = 0
    said: str = ""
    """The cause of a miss in the provider's own words, where the log has them."""
    positions: int = 0
    """How many places for marks the prompt has, as lookback counts them, where messages are known."""
    moved: int = 0
    """About how many tokens are in the prompt of the call before too, but behind what changed."""
    opening: tuple[tuple[bytes, float], ...] = ()
    """Of a lane's first call with known messages: what names each message, and about how long it is."""
    early: tuple[int, int, int] | None = None
    """A mark before the last one with a lifetime of its own, as (node, tokens, number of the lifetime)."""
    ping: bool = False
    """Sent only to keep the entry alive: not one of the log."""

    @property
    def took_s(self) -> float:
        """Until the reply was complete; 0 where that is not known."""
        return 0.0 if self.ended_s is None else self.ended_s - self.at_s


@dataclass(slots=True)
class Lane:
    """The calls of one thread (a session, or one sub-agent of it) in order of time."""

    id: str
    calls: list[Call]
    session: str
    project: str = ""
    agent: bool = False
    """Whether it is a sub-agent's."""
    start: datetime = FEBRUARY
    """UTC time of second 0."""
    dated: bool = False
    """Whether that is known: lanes then have a common clock, and otherwise each its own."""
    month: str = ""
    log: str = ""
    """The path of the log that it is in."""
    prompts: Prompts = field(default_factory=lambda: Prompts())
    """The tree that `Call.prompt` and `Call.read_at` are nodes of; lanes may share one."""


def started_together(lanes: Iterable[Lane]) -> Iterator[list[Lane]]:
    """Groups of several lanes, all but the first of which started before that one had its first reply."""
    group: list[Lane] = []
    for lane in sorted(lanes, key=lambda lane: lane.start):
        if group and (lane.start - group[0].start).total_seconds() <= group[0].calls[0].took_s:
            group.append(lane)
            continue
        if len(group) > 1:
            yield group
        group = [lane]
    if len(group) > 1:
        yield group


class Prompts:
    """The prompts of a log as paths in a tree whose units are whole blocks, or messages."""

    def __init__(self, unit_tokens: int | None = None) -> None:
        """``unit_tokens``: of a block; None where units are messages, whose lengths are estimates."""
        self.unit_tokens = unit_tokens
        self._tree = RangeTree(ContentTree(), 1)
        self.parent = self._tree.content.parent
        self.end = self._tree.content.end
        """Units from the beginning of the prompt to the end of the node."""

    def add(self, lane: str, runs: Sequence[Run], before: Sequence[Run] = (), node: int = ROOT) -> int:
        """The node of a prompt; ``before`` is the prompt that ends at ``node``, if this one goes on there.

        Ids mean something only within ``lane``. Cost: O(runs + what is new).
        """
        shared = shared_units(runs, before) if node != ROOT else 0
        if node != ROOT and shared == self.end[node]:
            return self._tree.insert(lane, first_units(runs, None, shared), node)
        return self._tree.insert(lane, runs)

    def at(self, lane: str, runs: Sequence[Run], prompt: int, units: int) -> int:
        """The node at which the first ``units`` units of the prompt end."""
        node = prompt
        while self.end[node] > units:
            node = self.parent[node]
        if self.end[node] == min(units, self.end[prompt]):
            return node
        return self._tree.insert(lane, first_units(runs, units - self.end[node], self.end[node]), node)

    def new(self, parent: int, units: int) -> int:
        """A node of ``units`` units behind ``parent`` that no other prompt shares."""
        return self._tree.content.append(parent, units)

    def shared(self, one: int, other: int) -> int:
        """How many units two prompts begin with alike."""
        return self.end[self._tree.content.shared(one, other)]

    def begins(self, prompt: int, node: int) -> bool:
        """Whether the prompt begins with what ends at ``node``."""
        while self.end[prompt] > self.end[node]:
            prompt = self.parent[prompt]
        return prompt == node


def shared_units(one: Sequence[Run], other: Sequence[Run]) -> int:
    """How many leading units two prompts share.

    >>> shared_units(((1, 5), (20, 3)), ((1, 5), (20, 2), (90, 4)))
    7
    """
    shared = 0
    mine, theirs = iter(one), iter(other)
    (a, left), (b, rest) = next(mine, (0, 0)), next(theirs, (0, 0))
    while left and rest and a == b:
        common = min(left, rest)
        shared += common
        a, left = (a + common, left - common) if left > common else next(mine, (0, 0))
        b, rest = (b + common, rest - common) if rest > common else next(theirs, (0, 0))
    return shared


def first_units(runs: Sequence[Run], units: int | None, skip: int = 0) -> list[Run]:
    """The runs of ``units`` units (None: all) behind the first ``skip``.

    >>> first_units([(1, 5), (20, 3)], 4, skip=2)
    [(3, 3), (20, 1)]
    """
    found: list[Run] = []
    for first, count in runs:
        passed = min(skip, count)
        skip -= passed
        first, count = first + passed, count - passed
        if units is not None:
            count = min(count, units)
            units -= count
        if count:
            found.append((first, count))
    return found


def turn_of(before: Call | None, at_s: float) -> Turn:
    """The kind of turn of a call sent at ``at_s``, by the pause since the reply to the one before it."""
    if before is None:
        return "user"
    since_s = before.at_s if before.ended_s is None else before.ended_s
    return "user" if at_s - since_s > USER_AFTER_S else "tool"
