"""Runs of blocks, and ordered lists of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Run:
    """Consecutive cached blocks of one segment: one physical copy, with one reference count.

    Block numbers count from the start of the prompt; the run holds ``lo .. hi - 1``. Splitting a run
    keeps the object as its shallow piece and chains the deep one behind it (``deeper``), so that a
    holder that remembers (run, hi) still finds all pieces of what it took.

    ``uses`` counts the requests that computed or hit the run, as far as its eviction policy wants to
    remember: a policy may lower it. ``place`` is the policy's own, None until the run is first released.
    """

    __slots__ = ("deeper", "hi", "lo", "newer", "older", "owner", "place", "refs", "segment", "uses")

    def __init__(self, segment: int, lo: int, hi: int, owner: int, refs: int) -> None:
        self.segment = segment
        self.lo = lo
        self.hi = hi
        self.owner = owner
        self.refs = refs
        self.uses = 1
        self.place: Any = None
        self.deeper: Run | None = None
        # Neighbours in the list of a policy; None outside of one.
        self.older: Run | None = None
        self.newer: Run | None = None

    def __repr__(self) -> str:
        return f"Run({self.segment}, {self.lo}..{self.hi - 1}, owner {self.owner}, refs {self.refs})"


class RunList:
    """Runs from the oldest to the newest, linked through themselves; every operation is O(1)."""

    def __init__(self) -> None:
        ends = self._ends = Run(-1, 0, 0, -1, 0)
        ends.older = ends.newer = ends

    def __iter__(self) -> Iterator[Run]:
        run = self._ends.newer
        while run is not self._ends:
            assert run is not None
            yield run
            run = run.newer

    @property
    def oldest(self) -> Run | None:
        """The first of the list; None if it is empty."""
        run = self._ends.newer
        return None if run is self._ends else run

    def append(self, run: Run) -> None:
        """Add ``run`` as the newest one."""
        self.insert(run, self._ends)

    def insert(self, run: Run, newer: Run) -> None:
        """Add ``run`` right before ``newer``, on its older side."""
        older = newer.older
        assert older is not None
        run.older, run.newer = older, newer
        older.newer = newer.older = run

    def remove(self, run: Run) -> None:
        """Take ``run`` out, wherever it stands."""
        older, newer = run.older, run.newer
        assert older is not None and newer is not None
        older.newer, newer.older = newer, older
        run.older = run.newer = None

    def after(self, run: Run) -> Run | None:
        """The next newer one; None after the newest."""
        newer = run.newer
        return None if newer is self._ends else newer


def earliest(runs: list[Run], pos: int) -> tuple[Run, int] | None:
    """The earliest published run with block ``pos``, and up to where it is the earliest."""
    for i, run in enumerate(runs):
        if run.lo <= pos < run.hi:
            upto = run.hi
            for earlier in runs[:i]:
                if pos < earlier.lo < upto:
                    upto = earlier.lo
            return run, upto
    return None
