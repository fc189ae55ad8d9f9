"""The content tree: which prompts share which prefix, built once before simulated time starts.

A prompt is a path from the root to a *segment*; two prompts share exactly the prefix on which their
paths agree. A segment is a run of tokens between two places where something happens to a path: a
message ends, a prompt ends, or two prompts diverge. Caches keep their state per segment, so finding
a shared prefix costs O(segments on the path), whatever the prompt's length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Hashable, Sequence

from workloads.subclassing import mypyc_attr

ROOT = 0
Split = Callable[[int, int], None]
"""Called with (upper, lower) when a segment has been cut: its lower part keeps its number."""


class Route:
    """The way of a prompt through a tree: its nodes, shallowest first, and where it leaves each of them.

    ``ends[i]`` is the number of tokens from the start of the prompt to the place where the prompt leaves
    ``nodes[i]`` for the next node, or ends.
    """

    __slots__ = ("ends", "nodes")

    def __init__(self, nodes: list[int], ends: list[int]) -> None:
        self.nodes = nodes
        self.ends = ends


@mypyc_attr(allow_interpreted_subclasses=True)
class Tree(ABC):
    """Nodes in which the tokens of a trace lie: segments, or chains of segments (``chains.py``).

    A node and a token position on it name one piece of content, whichever prompt it stands in.
    """

    __slots__ = ()

    @abstractmethod
    def route(self, segment: int) -> Route:
        """The way from the root to the end of ``segment`` of the content tree."""


class ContentTree(Tree):
    """A tree of segments, addressed by small integers; segment 0 is the empty root.

    ``parent[s]`` is the segment before ``s`` (-1 for the root) and ``end[s]`` the number of tokens
    from the start of the prompt to the end of ``s``; so ``s`` covers the token positions
    ``end[parent[s]] .. end[s]`` of every prompt through it. A parent's number may be larger than its
    child's, because splitting a segment makes a new upper part.

    Both are arrays, not lists: a million requests have two million segments.
    """

    __slots__ = ("_children", "_units", "_watching", "end", "parent")

    def __init__(self) -> None:
        self._watching: list[Split] = []
        self.parent = array("q", [-1])
        self.end = array("q", [0])
        # Only for segments made by `insert`: their units as (key, tokens), and the child of a
        # segment that begins with a given unit.
        self._units: dict[int, list[tuple[Hashable, int]]] = {}
        self._children: dict[tuple[int, Hashable], int] = {}

    def __len__(self) -> int:
        return len(self.end)

    def watch(self, split: Split) -> None:
        """Have ``split(upper, lower)`` called whenever a segment is cut from now on.

        For those who keep something for each segment of a tree that grows while time runs: what they keep
        for ``lower`` was true of both parts, so far as it is about content and not about where it ends.
        """
        self._watching.append(split)

    def append(self, parent: int, tokens: int) -> int:
        """Add ``tokens`` tokens of new content after ``parent`` and return the new segment. O(1).

        Nothing is compared: the caller knows that this content differs from every sibling's.
        """
        if tokens < 1:
            raise ValueError(f"a segment has at least one token, not {tokens}")
        self.parent.append(parent)
        self.end.append(self.end[parent] + tokens)
        return len(self.end) - 1

    def insert(self, units: Sequence[tuple[Hashable, int]], parent: int = ROOT) -> int:
        """Add a prompt given as units (key, tokens) and return the segment at which it ends.

        Equal leading units share segments; where two prompts part, or one ends inside another, the
        segment is split. A unit is whatever the trace identifies: a token id, a block id, a message.
        Cost: O(units).
        """
        at, i = parent, 0
        while i < len(units):
            child = self._children.get((at, units[i]))
            if child is None:
                segment = self.append(at, sum(tokens for _, tokens in units[i:]))
                self._units[segment] = list(units[i:])
                self._children[at, units[i]] = segment
                return segment
            mine = self._units[child]
            common = 1
            limit = min(len(mine), len(units) - i)
            while common < limit and mine[common] == units[i + common]:
                common += 1
            at = self.split(child, common) if common < len(mine) else child
            i += common
        return at

    def split(self, segment: int, units: int) -> int:
        """Cut ``segment`` after its first ``units`` units and return the new upper part.

        The lower part keeps the number, so prompts that end in ``segment`` still do.
        """
        mine = self._units[segment]
        if not 0 < units < len(mine):
            raise ValueError(f"cannot cut a segment of {len(mine)} units after {units}")
        above = self.parent[segment]
        upper = self.cut(segment, sum(tokens for _, tokens in mine[:units]))
        self._units[upper], self._units[segment] = mine[:units], mine[units:]
        self._children[above, mine[0]] = upper
        self._children[upper, mine[units]] = segment
        return upper

    def cut(self, segment: int, tokens: int) -> int:
        """`split` for callers who keep the units themselves: cut after ``tokens`` tokens. O(1)."""
        above = self.parent[segment]
        if not 0 < tokens < self.end[segment] - self.end[above]:
            raise ValueError(
                f"cannot cut a segment of {self.end[segment] - self.end[above]} tokens after {tokens}"
            )
        upper = self.append(above, tokens)
        self.parent[segment] = upper
        for split in self._watching:
            split(upper, segment)
        return upper

    def path(self, segment: int) -> list[int]:
        """The segments from below the root down to ``segment``, shallowest first."""
        path = []
        parent = self.parent
        while segment > 0:
            path.append(segment)
            segment = parent[segment]
        path.reverse()
        return path

    def shared(self, one: int, other: int) -> int:
        """The last segment that the paths to two segments have in common. O(segments below it)."""
        end, parent = self.end, self.parent
        while one != other:
            if end[one] >= end[other]:
                one = parent[one]
            else:
                other = parent[other]
        return one

    def route(self, segment: int) -> Route:
        """The path to ``segment``; it leaves every segment at its end."""
        path = self.path(segment)
        return Route(path, [self.end[node] for node in path])

    def check(self) -> None:
        """Assert the tree's invariants; O(segments)."""
        assert self.parent[ROOT] == -1 and self.end[ROOT] == 0
        for segment in range(1, len(self)):
            assert 0 <= self.parent[segment] < len(self)
            assert self.end[self.parent[segment]] < self.end[segment]
        for segment, units in self._units.items():
            length = self.end[segment] - self.end[self.parent[segment]]
            assert sum(tokens for _, tokens in units) == length
            assert self._children[self.parent[segment], units[0]] == segment
