"""Replicas in order of a measure that is taken again only where something has changed."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica

Measure = TypeVar("Measure", bound=Any)
"""Anything that can be compared and is a key of a dictionary."""
FEW = 4
"""So many replicas are compared one by one; more are found bucket by bucket."""


class Order(Generic[Measure]):
    """Replicas in buckets of equal measure, the smallest first.

    Sets of replicas are integers whose bit n stands for replica n: with 1,000 replicas the members of a
    bucket that are in another set too, or the lowest of them, are found in a few machine words.

    A replica is measured when something changes there, and not at any other time. A measure that also
    grows by itself, as blocks held do while replies grow, is therefore a lower bound of the present one.
    """

    def __init__(self, measure: Callable[[AnyReplica], Measure]) -> None:
        self.everyone = 0
        """The set of all replicas alive."""
        self.measures: list[Measure] = []
        """The measures that occur, ascending."""
        self.replica: dict[int, AnyReplica] = {}
        """The replicas alive by number."""
        self._measure = measure
        self._measured: dict[int, Measure] = {}
        self._members: dict[Measure, int] = {}
        self._replicas: Sequence[AnyReplica] = ()
        self._changed: set[int] = set()

    def update(self, replicas: Sequence[AnyReplica]) -> None:
        """Measure what has changed; all of ``replicas`` if they are not the same object as last time."""
        if replicas is not self._replicas:
            self._replicas = replicas
            self._fill()
            return
        changed = list(self._changed)
        self._changed.clear()
        for number in changed:
            replica = self.replica.get(number)
            if replica is not None:
                self._put(number, self._measure(replica))

    def look_again(self, number: int) -> None:
        """Measure replica ``number`` at the next update."""
        self._changed.add(number)

    def measure_of(self, number: int) -> Measure:
        """The measure of replica ``number`` as it is filed."""
        return self._measured[number]

    def lowest(self) -> int:
        """The replica with the smallest measure; of equals the lowest number."""
        return lowest(self._members[self.measures[0]])

    def ascending(self, among: int) -> Iterator[tuple[Measure, int]]:
        """Measures, the smallest first, each with all its replicas that are in the set ``among``.

        Few replicas come one by one, in order of measure and number.
        """
        if among.bit_count() <= FEW:
            for measure, number in sorted((self._measured[number], number) for number in members(among)):
                yield measure, 1 << number
            return
        for measure in self.measures:
            found = self._members[measure] & among
            if found:
                yield measure, found
                among ^= found
                if not among:
                    return

    def _fill(self) -> None:
        self.replica = {replica.number: replica for replica in self._replicas}
        self.everyone = sum(1 << number for number in self.replica)
        self.measures, self._measured, self._members = [], {}, {}
        self._changed.clear()
        for number, replica in self.replica.items():
            replica.watch(self._changed.add)
            self._put(number, self._measure(replica))

    def _put(self, number: int, measure: Measure) -> None:
        """File replica ``number`` under ``measure``. O(measures), a few words moved each."""
        bit, old = 1 << number, self._measured.get(number)
        if old == measure:
            return
        if old is not None:
            self._members[old] ^= bit
            if not self._members[old]:
                del self._members[old]
                del self.measures[bisect_left(self.measures, old)]
        if measure not in self._members:
            self._members[measure] = 0
            insort(self.measures, measure)
        self._members[measure] |= bit
        self._measured[number] = measure

    def check(self) -> None:
        """Assert that every replica is in the bucket of its measure, and no bucket is empty."""
        assert self.measures == sorted(self._members)
        assert sum(self._members.values()) == self.everyone
        for number, measure in self._measured.items():
            assert self._members[measure] & 1 << number


def lowest(replicas: int) -> int:
    """The lowest number in a set that is not empty."""
    return (replicas & -replicas).bit_length() - 1


def members(replicas: int) -> Iterator[int]:
    """The numbers in a set, ascending."""
    while replicas:
        yield lowest(replicas)
        replicas &= replicas - 1
