"""Runs of blocks, and ordered lists of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any

Evicted = Callable[[int, int, int], None]
"""Called with (owner, first, last) for evicted blocks, ``first >= last``, counting down."""
BRAID = -2
"""The node of what stands in a queue for several runs whose blocks go in turns (``groups/braid.py``)."""


class Run:
    """Consecutive cached blocks of one node of the tree: one physical copy, with one reference count.

    Block numbers count from the start of the prompt; the run holds ``lo .. hi - 1``. Splitting a run keeps
    the object as its shallow piece and chains the deep one behind it (``deeper``): of blocks 0..9 that one
    request holds, a hit of 4 leaves 0..3 with two references and 4..9 behind it with one. So a holder that
    remembers (run, hi) still finds all pieces of what it took.

    ``owner`` computed the first block. Where evictions are reported, ``more`` says from which block
    on another request computed what follows, as (block, owner), shallowest first; otherwise it is empty.

    ``uses`` counts the requests that computed or hit the run, as far as its eviction policy wants to
    remember: a policy may lower it. ``place`` is the policy's own, None until the run is first released.
    ``up`` tells that an idle run goes from its shallow end: its blocks left a window one after the other.
    ``grows`` tells that the one request that holds it may enter what comes next by raising ``hi``: no other
    run of the node has blocks there, or ever had.
    """

    __slots__ = (
        "deeper", "grows", "hi", "lo", "more", "newer", "node", "older", "owner", "place", "refs", "up",
        "uses",
    )  # fmt: skip

    def __init__(self, node: int, lo: int, hi: int, owner: int, refs: int) -> None:
        self.node = node
        self.lo = lo
        self.hi = hi
        self.owner = owner
        self.more: list[tuple[int, int]] | None = None
        self.refs = refs
        self.uses = 1
        self.up = self.grows = False
        self.place: Any = None
        self.deeper: Run | None = None
        # Neighbours in the list of a policy; None outside of one.
        self.older: Run | None = None
        self.newer: Run | None = None

    def __repr__(self) -> str:
        return f"Run({self.node}, {self.lo}..{self.hi - 1}, owner {self.owner}, refs {self.refs})"

    def owner_of(self, block: int) -> int:
        """The request that computed ``block``; known only where evictions are reported."""
        if self.more:
            at = bisect_right(self.more, block, key=_first) - 1
            if at >= 0:
                return self.more[at][1]
        return self.owner

    def add_owner(self, block: int, owner: int) -> None:
        """What the run holds from ``block`` on was computed by ``owner``."""
        if self.more is None:
            self.more = []
        self.more.append((block, owner))

    def add_owners_of(self, deep: Run) -> None:
        """The run goes on with what ``deep`` held."""
        if deep.owner != self.owner_of(deep.lo - 1):
            self.add_owner(deep.lo, deep.owner)
        for block, owner in deep.more or ():
            self.add_owner(block, owner)

    def cut_owners(self, deep: Run) -> None:
        """``deep`` was cut off: its owners are those from its first block on."""
        if self.more:
            deep.owner = self.owner_of(deep.lo)
            deep.more = self.more[bisect_right(self.more, deep.lo, key=_first) :]
            del self.more[bisect_left(self.more, deep.lo, key=_first) :]

    def report(self, blocks: int, evicted: Evicted) -> None:
        """Tell ``evicted`` of the ``blocks`` blocks that go next, owner by owner."""
        if self.up:
            for block in range(self.lo, self.lo + blocks):
                evicted(self.owner_of(block), block, block)
            self.owner = self.owner_of(self.lo + blocks - 1)
            return
        hi, least = self.hi, self.hi - blocks
        while self.more and self.more[-1][0] >= least:
            first, owner = self.more.pop()
            evicted(owner, hi - 1, first)
            hi = first
        if hi > least:
            evicted(self.more[-1][1] if self.more else self.owner, hi - 1, least)


class RunList:
    """Runs from the oldest to the newest, linked through themselves; every operation is O(1)."""

    def __init__(self) -> None:
        ends = self.ends = Run(-1, 0, 0, -1, 0)
        """Stands before the oldest and behind the newest."""
        ends.older = ends.newer = ends

    def __iter__(self) -> Iterator[Run]:
        run = self.ends.newer
        while run is not self.ends:
            assert run is not None
            yield run
            run = run.newer

    @property
    def oldest(self) -> Run | None:
        """The first of the list; None if it is empty."""
        run = self.ends.newer
        return None if run is self.ends else run

    def append(self, run: Run) -> None:
        """Add ``run`` as the newest one."""
        self.insert(run, self.ends)

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
        return None if newer is self.ends else newer


def _first(piece: tuple[int, int]) -> int:
    return piece[0]
