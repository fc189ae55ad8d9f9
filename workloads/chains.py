"""The content tree in few pieces: how caches of tokens see a long conversation."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from workloads.content import ROOT, ContentTree, Route, Tree


class Chains(Tree):
    """Every segment of a content tree in one *chain*: a path of segments that goes on, past branches.

    Where a path branches, the chain goes on with the branch that has most segments below it; each other
    branch begins a chain of its own, at a token inside the first one. So a chat is one chain, however
    many turns it has and whatever branches off on its way (a reply that no later prompt contains), and no
    prompt of a trace with n segments crosses more than log2(n) + 1 chains.

    >>> content = ContentTree()
    >>> hello = content.append(ROOT, 10)
    >>> dropped = content.append(hello, 5)
    >>> reply = content.append(hello, 20)
    >>> again = content.append(reply, 3)
    >>> chains = Chains(content)
    >>> chains.route(again).nodes, chains.route(again).ends
    ([1], [33])
    >>> chains.route(dropped).nodes, chains.route(dropped).ends
    ([1, 2], [10, 15])

    Segments stay the truth of a trace: where messages, prompts and replies end. Those of a tree that grows
    while time runs are in `GrowingChains`.
    """

    __slots__ = ("_end", "_ways", "begin", "of", "parent")

    def __init__(self, content: ContentTree) -> None:
        """O(segments x log segments)."""
        self._end = content.end
        self._ways: dict[int, Route] = {}
        """To chains that others leave: their nodes, and where the way leaves all but the last of these."""
        end, above = np.array(content.end), np.array(content.parent)
        above[ROOT] = ROOT
        deepest_first = np.argsort(-end, kind="stable")
        heir = _heirs(deepest_first, above)
        begins = (above == ROOT) | (heir[above] != np.arange(len(end)))
        heads = deepest_first[::-1][begins[deepest_first[::-1]]]  # the root, which comes last, is chain 0
        number = np.zeros(len(end), np.int64)
        number[heads] = np.arange(len(heads))
        head = np.where(begins, np.arange(len(end)), above)
        while (head[head] != head).any():
            head = head[head]
        of = number[head]
        self.of = array("q", of.tobytes())
        """The chain of each segment; the root has one for itself."""
        self.parent: list[int] = [-1, *of[above[heads[1:]]].tolist()]
        """The chain that each chain leaves."""
        self.begin: list[int] = end[above[heads]].tolist()
        """Tokens from the start of the prompt to the place where it does."""

    def __len__(self) -> int:
        return len(self.parent)

    def route(self, segment: int) -> Route:
        """The way to the end of ``segment``. O(chains on it)."""
        chain, end = self.of[segment], self._end[segment]
        above = self.parent[chain]
        if above <= 0:
            return Route([chain], [end]) if chain else Route([], [])
        way = self._ways.get(above) or self._way_to(above)
        return Route([*way.nodes, chain], [*way.ends, self.begin[chain], end])

    def _way_to(self, chain: int) -> Route:
        """Note the way to ``chain``, which others leave. O(chains on it)."""
        nodes, ends = [chain], []
        while above := self.parent[nodes[-1]]:
            ends.append(self.begin[nodes[-1]])
            nodes.append(above)
        way = self._ways[chain] = Route(nodes[::-1], ends[::-1])
        return way


def _heirs(deepest_first: NDArray[np.int64], above: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each segment the one below it with most segments in its subtree, of equals the deepest; the root
    for none, and for itself."""
    weight, parent = [1] * len(above), above.tolist()
    for segment in deepest_first[:-1].tolist():
        weight[parent[segment]] += weight[segment]
    heir = np.full(len(above), ROOT)
    last_wins = deepest_first[::-1]
    last_wins = last_wins[np.argsort(np.array(weight)[last_wins], kind="stable")]
    heir[above[last_wins]] = last_wins
    return heir
