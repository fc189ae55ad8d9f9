"""Evicted content that a policy still remembers."""

from __future__ import annotations

from collections import OrderedDict


class Ghosts:
    """How many blocks of which segment were evicted, longest ago first.

    Content returns under its segment, whatever run it comes in; so what several runs of a segment
    lose, one block at a time, is one entry, as old as the last loss.
    """

    def __init__(self) -> None:
        self.blocks = 0
        self._evicted: OrderedDict[int, int] = OrderedDict()

    def add(self, segment: int, blocks: int) -> None:
        """``blocks`` blocks of ``segment`` were evicted."""
        self.blocks += blocks
        self._evicted[segment] = self._evicted.get(segment, 0) + blocks
        self._evicted.move_to_end(segment)

    def pop(self, segment: int) -> int:
        """Forget ``segment``; the blocks that were remembered."""
        blocks = self._evicted.pop(segment, 0)
        self.blocks -= blocks
        return blocks

    def shrink(self, blocks: int) -> None:
        """Forget what was evicted longest ago until at most ``blocks`` blocks are left."""
        while self.blocks > blocks:
            segment, oldest = next(iter(self._evicted.items()))
            excess = self.blocks - blocks
            if oldest > excess:
                self._evicted[segment] = oldest - excess
                self.blocks -= excess
            else:
                self.pop(segment)

    def check(self) -> None:
        """Assert that the count is right."""
        assert sum(self._evicted.values()) == self.blocks
        assert all(blocks > 0 for blocks in self._evicted.values())
