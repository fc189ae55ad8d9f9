"""Prompts given as ranges of consecutive ids, put into a content tree at the cost of the ranges."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from workloads.content import ROOT, ContentTree

Run = tuple[int, int]
"""(first, count): the ids first, first + 1, ..., first + count - 1."""
Place = tuple[int, int]
"""A place in a list of runs: (runs passed, ids passed of the next run)."""


class RangeTree:
    """Shares prefixes as `ContentTree.insert` with one unit per id does, in O(ranges), not O(ids).

    Every id stands for ``id_tokens`` tokens, and means something only within its namespace. Where two
    prompts part, or one ends inside another, a segment is cut, in the middle of a range if need be.

    >>> tree = RangeTree(ContentTree(), id_tokens=64)
    >>> long, short = tree.insert("a", [(1, 1000)]), tree.insert("a", [(1, 600), (7000, 5)])
    >>> [tree.content.end[segment] // 64 for segment in tree.content.path(short)]
    [600, 605]
    """

    __slots__ = ("_children", "_runs", "content", "id_tokens")

    def __init__(self, content: ContentTree, id_tokens: int) -> None:
        self.content = content
        self.id_tokens = id_tokens
        self._runs: dict[int, list[Run]] = {}
        # The child of a segment that begins with a given id, as (namespace, segment, id); only at the
        # root does the namespace tell anything that the segment does not.
        self._children: dict[tuple[Hashable, int, int], int] = {}

    def insert(self, namespace: Hashable, runs: Sequence[Run], parent: int = ROOT) -> int:
        """Add a prompt and return the segment at which it ends: ``parent`` for one without ids.

        ``runs`` are the ids behind ``parent``, a segment at which a prompt of this namespace ends.

        How the ids are divided into runs makes no difference. Cost: O(runs + segments on the path).
        """
        if any(count < 1 for _, count in runs):
            raise ValueError(f"a run has at least one id: {list(runs)}")
        at, run, used = parent, 0, 0
        while run < len(runs):
            begin = runs[run][0] + used
            child = self._children.get((namespace, at, begin))
            if child is None:
                return self._append(namespace, at, _after(runs, run, used))
            mine = self._runs[child]
            (shared, inside), (run, used) = _common(mine, runs, run, used)
            at = child if shared == len(mine) else self._cut(namespace, child, shared, inside)
        return at

    def _append(self, namespace: Hashable, parent: int, runs: list[Run]) -> int:
        segment = self.content.append(parent, self._tokens(runs))
        self._runs[segment] = runs
        self._children[namespace, parent, runs[0][0]] = segment
        return segment

    def _cut(self, namespace: Hashable, segment: int, run: int, used: int) -> int:
        """Cut after the first ``run`` runs and ``used`` ids of the next; return the new upper part."""
        mine = self._runs[segment]
        above, below = mine[:run], _after(mine, run, used)
        if used:
            above.append((mine[run][0], used))
        parent = self.content.parent[segment]
        upper = self.content.cut(segment, self._tokens(above))
        self._runs[upper], self._runs[segment] = above, below
        self._children[namespace, parent, above[0][0]] = upper
        self._children[namespace, upper, below[0][0]] = segment
        return upper

    def _tokens(self, runs: list[Run]) -> int:
        return self.id_tokens * sum(count for _, count in runs)

    def check(self) -> None:
        """Assert that ranges, lengths and children agree; O(ranges)."""
        content = self.content
        content.check()
        assert len(self._children) == len(self._runs)
        for (_, parent, begin), segment in self._children.items():
            runs = self._runs[segment]
            assert content.parent[segment] == parent
            assert runs[0][0] == begin and all(count > 0 for _, count in runs)
            assert content.end[segment] - content.end[parent] == self._tokens(runs)


def _after(runs: Sequence[Run], run: int, used: int) -> list[Run]:
    """What follows the first ``run`` runs and ``used`` ids of the next one."""
    rest = list(runs[run:])
    if used:
        first, count = rest[0]
        rest[0] = (first + used, count - used)
    return rest


def _common(mine: list[Run], runs: Sequence[Run], run: int, used: int) -> tuple[Place, Place]:
    """The places at which the ids of ``mine`` and those of ``runs`` from (run, used) on first differ."""
    at = passed = 0
    while at < len(mine) and run < len(runs):
        (first, count), (other, other_count) = mine[at], runs[run]
        if first + passed != other + used:
            break
        step = min(count - passed, other_count - used)
        passed, used = passed + step, used + step
        if passed == count:
            at, passed = at + 1, 0
        if used == other_count:
            run, used = run + 1, 0
    return (at, passed), (run, used)
