"""A lower tier of KV memory (host, disk): which blocks it holds, and which go when it is full."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

Span = tuple[int, int, int]
"""Blocks ``lo .. hi - 1`` of a segment: (segment, lo, hi)."""


class Held:
    """What a store has of one segment, between the neighbours in its order of use."""

    __slots__ = ("newer", "older", "read", "segment", "spans")

    def __init__(self, segment: int) -> None:
        self.segment = segment
        self.spans: list[tuple[int, int]] = []
        self.read = False
        """Whether it was found last, not written: of a path, the first segment is found first, and the last
        one is written first."""
        self.older = self.newer = self


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
        self._held: dict[int, Held] = {}
        self._ends = Held(-1)  # before the least recently used one, and behind the most recently used one

    def upto(self, segment: int, pos: int) -> int:
        """The end of the interval that holds block ``pos`` of ``segment``; ``pos`` if none does."""
        held = self._held.get(segment)
        for lo, hi in () if held is None else held.spans:
            if lo <= pos < hi:
                return hi
        return pos

    def use(self, segment: int) -> None:
        """Make ``segment`` the most recently used one."""
        held = self._held[segment]
        held.read = True
        _take_out(held)
        _put_before(held, self._ends)

    def put(self, segment: int, lo: int, hi: int) -> None:
        """Store blocks (those already there stay), and make ``segment`` the most recently used one."""
        held = self._held.get(segment)
        if held is None:
            held = self._held[segment] = Held(segment)
        self.blocks -= sum(b - a for a, b in held.spans)
        merged: list[tuple[int, int]] = []
        for a, b in sorted([*held.spans, (lo, hi)]):
            if merged and a <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
            else:
                merged.append((a, b))
        held.spans = merged
        held.read = False
        _take_out(held)
        _put_before(held, self._ends)
        self.blocks += sum(b - a for a, b in merged)

    def evict(self) -> Iterator[Span]:
        """Evict until the capacity holds, deepest blocks of the oldest segment first; yields them."""
        while self._capacity is not None and self.blocks > self._capacity:
            oldest = self._ends.newer
            segment, spans = oldest.segment, oldest.spans
            lo, hi = spans.pop()
            gone = min(hi - lo, self.blocks - self._capacity)
            if gone < hi - lo:
                spans.append((lo, hi - gone))
            if not spans:
                _take_out(oldest)
                del self._held[segment]
            self.blocks -= gone
            self.evicted_blocks += gone
            yield segment, hi - gone, hi

    def split(self, upper: int, lower: int, at: int) -> None:
        """A segment was cut before block ``at``: each part has its blocks, and both were used together."""
        held = self._held.get(lower)
        if held is None:
            return
        above = Held(upper)
        above.read = held.read
        above.spans = [(lo, min(hi, at)) for lo, hi in held.spans if lo < at]
        held.spans = [(max(lo, at), hi) for lo, hi in held.spans if hi > at]
        if above.spans:
            self._held[upper] = above
            _put_before(above, held if held.read else held.newer)
        if not held.spans:
            _take_out(held)
            del self._held[lower]

    def check(self) -> None:
        """Assert that intervals are apart and in order, and that counts and capacity hold."""
        total, listed = 0, self._ends.newer
        for _ in self._held:
            assert self._held[listed.segment] is listed and listed.newer.older is listed
            listed = listed.newer
        assert listed is self._ends
        for held in self._held.values():
            assert held.spans
            assert all(lo < hi for lo, hi in held.spans)
            assert all(a[1] < b[0] for a, b in pairwise(held.spans))
            total += sum(hi - lo for lo, hi in held.spans)
        assert total == self.blocks
        assert self._capacity is None or self.blocks <= self._capacity


def _take_out(held: Held) -> None:
    held.older.newer, held.newer.older = held.newer, held.older
    held.older = held.newer = held


def _put_before(held: Held, newer: Held) -> None:
    older = newer.older
    held.older, held.newer = older, newer
    older.newer = newer.older = held
