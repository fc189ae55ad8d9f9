"""All runs of one node of the tree, and which of them a lookup finds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import attrgetter

from sim.caches.runs import Run

_lo = attrgetter("lo")


class NodeRuns:
    """The runs of one node: which of them a lookup finds.

    ``found`` have no block in common and are sorted; ``copies`` had a block in common with another run when
    they were published, and stand in that order. So what two runs share is found in the one in ``found``,
    or in the copy that comes first: always the earliest published. Nearly always ``found`` is one run and
    there is no copy.
    """

    __slots__ = ("copies", "found")

    def __init__(self, run: Run) -> None:
        self.found = [run]
        self.copies: list[Run] | None = None

    def __iter__(self) -> Iterator[Run]:
        yield from self.found
        yield from self.copies or ()

    def at(self, pos: int) -> tuple[Run, int] | None:
        """The earliest published run with block ``pos``, and up to where it is the earliest."""
        found = self.found
        i = bisect_right(found, pos, key=_lo)
        if i and pos < found[i - 1].hi:
            return found[i - 1], found[i - 1].hi
        upto = found[i].lo if i < len(found) else -1
        for copy in self.copies or ():
            if copy.lo <= pos < copy.hi:
                return copy, copy.hi if upto < 0 or copy.hi < upto else upto
            if pos < copy.lo and (upto < 0 or copy.lo < upto):
                upto = copy.lo
        return None

    def reaching(self, pos: int) -> Run | None:
        """The last run of those found that begins before block ``pos``."""
        found = self.found
        if len(found) > 1:
            i = bisect_left(found, pos, key=_lo)
            return found[i - 1] if i else None
        return found[0] if found and found[0].lo < pos else None

    def below(self, pos: int) -> tuple[int, int, Run | None] | None:
        """The highest blocks before ``pos`` that a run has, as far as one run goes: (first, end, run).

        No run is named if there are copies, which may have some of these blocks too.
        """
        found, best = self.found, None
        i = bisect_left(found, pos, key=_lo)
        if i:
            run = found[i - 1]
            best = (run.lo, run.hi if run.hi < pos else pos, run if self.copies is None else None)
        for copy in self.copies or ():
            if copy.lo < pos:
                hi = min(copy.hi, pos)
                if best is None or hi > best[1] or (hi == best[1] and copy.lo < best[0]):
                    best = (copy.lo, hi, None)
        return best

    def vacant(self, lo: int, hi: int) -> bool:
        """Whether no run has any of the blocks ``lo .. hi - 1``."""
        i = bisect_left(self.found, hi, key=_lo)
        return not (i and self.found[i - 1].hi > lo) and all(
            copy.hi <= lo or hi <= copy.lo for copy in self.copies or ()
        )

    def add(self, run: Run) -> None:
        """``run`` is published."""
        self._stop_growing()
        if self.vacant(run.lo, run.hi):
            self.found.insert(bisect_left(self.found, run.lo, key=_lo), run)
        elif self.copies is None:
            self.copies = [run]
        else:
            self.copies.append(run)

    def add_new(self, runs: list[Run]) -> None:
        """``runs``, in order, are published, none of whose blocks any other run has."""
        self._stop_growing()
        i = bisect_left(self.found, runs[0].lo, key=_lo)
        self.found[i:i] = runs

    def _stop_growing(self) -> None:
        """The deepest run is no longer alone."""
        if self.found:
            self.found[-1].grows = False

    def split(self, run: Run, deep: Run) -> None:
        """``deep`` was cut off ``run``."""
        i = bisect_left(self.found, run.lo, key=_lo)
        if i < len(self.found) and self.found[i] is run:
            self.found.insert(i + 1, deep)
        else:
            assert self.copies is not None
            self.copies.insert(self.copies.index(run) + 1, deep)

    def joins(self, run: Run, deep: Run) -> bool:
        """Whether ``run`` may take in ``deep``, which begins where it ends; ``deep`` is then taken out.

        Not if one of them is a copy: a third run may have been published between the two.
        """
        i = bisect_left(self.found, run.lo, key=_lo)
        if i + 1 < len(self.found) and self.found[i] is run and self.found[i + 1] is deep:
            del self.found[i + 1]
            return True
        return False

    def remove(self, run: Run) -> bool:
        """``run`` is gone; whether any is left."""
        found = self.found
        if len(found) == 1 and self.copies is None:
            return False  # it was the only one, and this goes with it
        i = 0 if found and found[0] is run else bisect_left(found, run.lo, key=_lo)
        if i < len(found) and found[i] is run:
            del found[i]
        else:
            assert self.copies is not None
            self.copies.remove(run)
        return bool(found or self.copies)

    def check(self) -> None:
        """Assert that what is found is sorted and apart."""
        assert self.found or self.copies
        end = 0
        for run in self.found:
            assert end <= run.lo < run.hi
            end = run.hi
        assert all(run.lo < run.hi for run in self.copies or ())
