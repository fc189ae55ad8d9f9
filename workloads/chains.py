"""The content tree in few pieces: how caches of tokens see a long conversation."""

from __future__ import annotations

from array import array

import numpy as np

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

    Segments stay the truth of a trace: where messages, prompts and replies end. A live server that inserts
    prompts while it runs would never have to split a chain: what leaves a chain at a token inside it
    begins a new one there, and what goes on at its end goes on in it; caches that hold state for the chain
    need not be told. Only the bound above is then no longer certain.
    """

    __slots__ = ("_end", "begin", "of", "parent")

    def __init__(self, content: ContentTree) -> None:
        """O(segments x log segments)."""
        self._end = content.end
        self.parent = [-1]
        """The chain that each chain leaves."""
        self.begin = [0]
        """Tokens from the start of the prompt to the place where it does."""
        self.of = array("l", bytes(8 * len(content)))
        """The chain of each segment; the root has one for itself."""
        end, above, of = content.end, content.parent, self.of
        deepest_first = np.argsort(-np.array(end, dtype=np.int64), kind="stable").tolist()
        deepest_first.pop()  # the root
        heir = _heirs(deepest_first, above)
        for segment in reversed(deepest_first):
            parent = above[segment]
            if parent != ROOT and heir[parent] == segment:
                of[segment] = of[parent]
            else:
                of[segment] = len(self.parent)
                self.parent.append(of[parent])
                self.begin.append(end[parent])

    def __len__(self) -> int:
        return len(self.parent)

    def route(self, segment: int) -> Route:
        """The way to the end of ``segment``. O(chains on it)."""
        parent, begin = self.parent, self.begin
        chain, end = self.of[segment], self._end[segment]
        nodes, ends = [], []
        while chain:
            nodes.append(chain)
            ends.append(end)
            end = begin[chain]
            chain = parent[chain]
        nodes.reverse()
        ends.reverse()
        return Route(nodes, ends)


def _heirs(deepest_first: list[int], above: list[int]) -> list[int]:
    """For each segment the one below it with most segments in its subtree; the root for none."""
    weight = [1] * len(above)
    heir = [ROOT] * len(above)
    most = [0] * len(above)
    for segment in deepest_first:
        parent, mine = above[segment], weight[segment]
        weight[parent] += mine
        if mine > most[parent]:
            most[parent], heir[parent] = mine, segment
    return heir
