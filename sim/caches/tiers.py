"""A lower tier of KV memory (host, disk): which blocks it holds, and which go when it is full."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise

Span = tuple[int, int, int]
"""Blocks ``lo .. hi - 1`` of a segment: (segment, lo, hi)."""


class TierStore:
    """Blocks by segment, least recently used segment first, at most ``capacity_blocks`` blocks.

    Recency is kept per segment: using some of a segment's blocks refreshes all of them. A segment loses
    its deepest blocks first. Every operation costs O(intervals of the segment), mostly one.
    """

    def __init__(self, name: str, capacity_blocks: int | None) -> None:
        self.name = name
        self.blocks = 0
        self.evicted_blocks = 0
        self._capacity = capacity_blocks
        self._held: OrderedDict[int, list[tuple[int, int]]] = OrderedDict()

    def upto(self, segment: int, pos: int) -> int:
        """The end of the interval that holds block ``pos`` of ``segment``; ``pos`` if none does."""
        for lo, hi in self._held.get(segment, ()):
            if lo <= pos < hi:
                return hi
        return pos

    def use(self, segment: int) -> None:
        """Make ``segment`` the most recently used one."""
        self._held.move_to_end(segment)

    def put(self, segment: int, lo: int, hi: int) -> None:
        """Store blocks (those already there stay), and make ``segment`` the most recently used one."""
        held = self._held.get(segment, [])
        self.blocks -= sum(b - a for a, b in held)
        merged: list[tuple[int, int]] = []
        for a, b in sorted([*held, (lo, hi)]):
            if merged and a <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
            else:
                merged.append((a, b))
        self._held[segment] = merged
        self._held.move_to_end(segment)
        self.blocks += sum(b - a for a, b in merged)

    def evict(self) -> Iterator[Span]:
        """Evict until the capacity holds, deepest blocks of the oldest segment first; yields them."""
        while self._capacity is not None and self.blocks > self._capacity:
            segment, held = next(iter(self._held.items()))
            lo, hi = held.pop()
            gone = min(hi - lo, self.blocks - self._capacity)
            if gone < hi - lo:
                held.append((lo, hi - gone))
            if not held:
                del self._held[segment]
            self.blocks -= gone
            self.evicted_blocks += gone
            yield segment, hi - gone, hi

    def check(self) -> None:
        """Assert that intervals are apart and in order, and that counts and capacity hold."""
        total = 0
        for held in self._held.values():
            assert held
            assert all(lo < hi for lo, hi in held)
            assert all(a[1] < b[0] for a, b in pairwise(held))
            total += sum(hi - lo for lo, hi in held)
        assert total == self.blocks
        assert self._capacity is None or self.blocks <= self._capacity
