"""Runs of blocks, and the queue of those that nobody holds."""

from __future__ import annotations


class Run:
    """Consecutive cached blocks of one segment: one physical copy, with one reference count.

    Block numbers count from the start of the prompt; the run holds ``lo .. hi - 1``. Splitting a run
    keeps the object as its shallow piece and chains the deep one behind it (``deeper``), so that a
    holder that remembers (run, hi) still finds all pieces of what it took.
    """

    __slots__ = ("deeper", "hi", "lo", "newer", "older", "owner", "refs", "segment")

    def __init__(self, segment: int, lo: int, hi: int, owner: int, refs: int) -> None:
        self.segment = segment
        self.lo = lo
        self.hi = hi
        self.owner = owner
        self.refs = refs
        self.deeper: Run | None = None
        # Neighbours in the free queue; None while held.
        self.older: Run | None = None
        self.newer: Run | None = None

    def __repr__(self) -> str:
        return f"Run({self.segment}, {self.lo}..{self.hi - 1}, owner {self.owner}, refs {self.refs})"


class FreeQueue:
    """Runs without a holder, least recently released first; every operation is O(1)."""

    __slots__ = ("_ends", "blocks")

    def __init__(self) -> None:
        self.blocks = 0
        ends = self._ends = Run(-1, 0, 0, -1, 0)
        ends.older = ends.newer = ends

    def __iter__(self):  # type: ignore[no-untyped-def]
        run = self._ends.newer
        while run is not self._ends:
            assert run is not None
            yield run
            run = run.newer

    def append(self, run: Run) -> None:
        """Add ``run`` as the most recently released one."""
        self._insert(run, self._ends)
        self.blocks += run.hi - run.lo

    def remove(self, run: Run) -> None:
        """Take ``run`` out, wherever it stands."""
        older, newer = run.older, run.newer
        assert older is not None and newer is not None
        older.newer, newer.older = newer, older
        run.older = run.newer = None
        self.blocks -= run.hi - run.lo

    def put_before(self, piece: Run, run: Run) -> None:
        """Queue ``piece``, just cut off the deep end of ``run``, so that it goes right before it."""
        self._insert(piece, run)

    def oldest(self) -> Run:
        """The run that is evicted next; the queue must not be empty."""
        run = self._ends.newer
        assert run is not None and run is not self._ends
        return run

    def _insert(self, run: Run, newer: Run) -> None:
        older = newer.older
        assert older is not None
        run.older, run.newer = older, newer
        older.newer = newer.older = run
