"""Which machine of a provider serves a request: a hash of the prompt's head, a key, and overflow."""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeVar

from sim.providers.entries import Machine
from sim.providers.schema import Routing
from workloads.content import ROOT
from workloads.trace import Trace

MINUTE_S = 60.0
T = TypeVar("T")


class OneMachine:
    """No routing: every request finds what any other one stored."""

    def __init__(self) -> None:
        self._machine: Machine = {}
        self.overflows = 0

    def machine(self, request: int, at_s: float) -> Machine:
        """The only machine."""
        return self._machine

    def split(self, upper: int, lower: int) -> list[Machine]:
        """A segment of a tree that grows was cut; all machines."""
        return [self._machine]


class HashRouting:
    """Prompts with the same first tokens and the same key go to one machine until it has had enough.

    A machine takes ``rpm`` requests within a minute. A further request goes to the next machine, which
    knows nothing at first; machines are tried in the same order each time.
    """

    def __init__(
        self, trace: Trace, routing: Routing, key: Literal["none", "session", "tenant", "request"]
    ):
        self._trace, self._routing = trace, routing
        keys = {"session": trace.session, "tenant": trace.tenant, "request": range(len(trace))}
        self._key = keys.get(key)
        self._machines: dict[tuple[int, int, int], Machine] = {}
        self._minute: dict[tuple[int, int, int], deque[float]] = {}
        self._heads: dict[int, int] = {}
        self.overflows = 0

    def machine(self, request: int, at_s: float) -> Machine:
        """The machine that serves ``request``, which arrives at ``at_s``."""
        head = self._head(self._trace.prompt[request])
        key = -1 if self._key is None else self._key[request]
        budget = head if self._routing.budget == "prefix_key" else ROOT
        number = 0
        while not self._takes((budget, key, number), at_s):
            number += 1
        self.overflows += number > 0
        return self._machines.setdefault((head, key, number), {})

    def split(self, upper: int, lower: int) -> list[Machine]:
        """A segment of a tree that grows was cut; all machines.

        If the hashed tokens now end in its upper part, that is the head of all prompts below.
        """
        end, before = self._trace.content.end, self._trace.content.parent[upper]
        if end[before] < self._routing.prefix_tokens <= end[upper]:
            self._heads.clear()
            _rename(self._machines, lower, upper)
            _rename(self._minute, lower, upper)
        return list(self._machines.values())

    def _takes(self, machine: tuple[int, int, int], at_s: float) -> bool:
        times = self._minute.get(machine)
        if times is None:
            times = self._minute[machine] = deque()
        while times and times[0] <= at_s - MINUTE_S:
            times.popleft()
        if len(times) >= self._routing.rpm:
            return False
        times.append(at_s)
        return True

    def _head(self, node: int) -> int:
        """The segment in which the hashed first tokens end (that of the last token of a shorter prompt)."""
        content, heads, enough = self._trace.content, self._heads, self._routing.prefix_tokens
        below = []
        while node not in heads and content.end[content.parent[node]] >= enough:
            below.append(node)
            node = content.parent[node]
        head = heads.get(node, node)
        for other in (node, *below):
            heads[other] = head
        return head


def _rename(table: dict[tuple[int, int, int], T], head: int, new: int) -> None:
    """What is known of the prompts with ``head`` is that of those with ``new``."""
    for place in [place for place in table if place[0] == head]:
        table[new, place[1], place[2]] = table.pop(place)
