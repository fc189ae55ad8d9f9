"""What a request holds of a block cache, what a lookup found for it, and how it is found."""

from __future__ import annotations

from bisect import bisect_left

from sim.caches.node_runs import NodeRuns
from sim.caches.runs import Run
from workloads.content import Route


class BlockTable:
    """What one request holds: the cached runs it took or published, and how far it has come.

    Attributes that are only declared here belong to caches with groups of layers (``groups/``), which set
    them.
    """

    __slots__ = (
        "at", "base", "entries", "first", "groups", "growing", "junction", "owner", "prompt_tokens",
        "published", "route", "states", "until",
    )  # fmt: skip

    until: int
    """The number of blocks up to which ``growing`` may grow: where its node ends."""
    junction: int
    """That of its last lookup, see `Hit`."""
    base: int
    """What is still to be added to the nodes of ``route``."""
    first: int
    """Blocks before it are not held: given back, or not needed when the request came."""
    states: list[int] | None
    """Blocks held for states that are not in the map."""

    def __init__(self, route: Route, prompt_tokens: int, owner: int) -> None:
        self.route = route
        self.prompt_tokens = prompt_tokens
        self.owner = owner
        self.entries: list[tuple[Run, int]] = []  # (run, its hi when taken)
        self.published = 0  # leading blocks of the request that are in the map
        self.at = 0  # index in the route of the node in which the next block ends, or before that
        self.growing: Run | None = None  # its last run, which takes in the next blocks as long as it grows
        self.groups: list[BlockTable] | None = None  # a table for each group of layers, this one the first

    def own_route(self) -> Route:
        """The way through the nodes of its group."""
        if self.base:
            self.route = Route([node + self.base for node in self.route.nodes], self.route.ends)
            self.base = 0
        return self.route


class Hit:
    """The answer of a lookup: ``blocks`` leading blocks are cached, ``idle`` of them held by no request."""

    __slots__ = ("blocks", "groups", "idle", "junction", "pieces")

    groups: list[Hit | None]
    """Where a cache has groups of layers, which sets it: what each needs of it; None: these ``pieces``."""

    def __init__(self, blocks: int, idle: int, pieces: list[tuple[Run, int, int]]) -> None:
        self.blocks = blocks
        self.idle = idle
        self.pieces = pieces  # (run, lo, hi)
        self.junction = 0
        """Tokens of a longer prefix that some group alone could serve: there others may want a state."""


MISS = Hit(0, 0, [])


def trailing(
    resident: dict[int, NodeRuns], table: BlockTable, size: int, end: int, blocks: int
) -> Hit | None:
    """The last ``blocks`` blocks before number ``end``, if one run has all of them; else None.

    None does not say that they are not cached. O(log nodes + log runs).
    """
    route = table.route
    runs = resident.get(route.nodes[bisect_left(route.ends, end * size)] + table.base)
    if runs is None or runs.copies is not None:
        return None
    run = runs.reaching(end)
    if run is None or run.hi < end or run.lo > end - blocks:
        return None
    return Hit(end, 0 if run.refs else blocks, [(run, end - blocks, end)])


def covered_below(
    resident: dict[int, NodeRuns], route: Route, size: int, pos: int
) -> tuple[int, int, Run | None] | None:
    """The highest blocks before number ``pos`` that are cached, as far as one run goes: (first, end, run).

    None if there are none; no run if there are copies among which to choose. O(nodes on the route that have
    nothing + log runs).
    """
    ends = route.ends
    i = bisect_left(ends, pos * size)
    while i >= 0:
        runs = resident.get(route.nodes[i])
        if runs is not None:
            found = runs.below(pos)
            if found is not None:
                return found
        i -= 1
        if i >= 0:
            pos = min(pos, ends[i] // size)
    return None
