"""A content tree that grows while simulated time runs: prompts arrive as token ids.

The prompts of a trace are known before its time starts, those of a live server are not. What two prompts
share is found by their tokens: a prompt walks down the tree as far as its tokens go, and what is new hangs
below. Nothing is hashed, so nothing is taken for equal that is not.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence

from workloads.chains import Chains
from workloads.content import ROOT, ContentTree

ID_BYTES = 4


class GrowingTree:
    """Puts prompts into ``content`` by their tokens, which it keeps: 4 bytes a token that is new.

    Segments are cut where a message or a prompt ends and where two prompts part, so that a trace that was
    served live has the segments of one that was read from a file. A cut is announced to those who `watch`
    the content; ``chains`` see none.
    """

    def __init__(self, content: ContentTree) -> None:
        self.content = content
        self.chains = GrowingChains(content)
        self.continued: set[int] = set()
        """Segments that go on with the message of the segment before them (`Trace.continuations`)."""
        self._ids: dict[int, bytes] = {}
        self._children: dict[tuple[int, bytes], int] = {}  # by parent and first token

    def insert(self, tokens: Sequence[int], ends: Collection[int] = (), after: int = ROOT) -> int:
        """Add ``tokens`` below the segment ``after`` and return the segment at which they end.

        ``ends``: where messages end among them, in tokens from the start of the prompt; their own end is
        one. O(tokens).
        """
        ids = array("I", tokens).tobytes()
        content, begin = self.content, self.content.end[after]
        marks = {end - begin for end in ends if begin < end < begin + len(tokens)} | {len(tokens)}
        at, place = after, 0
        for upto in sorted(marks):
            while place < upto:
                child = self._children.get((at, ids[place * ID_BYTES : (place + 1) * ID_BYTES]))
                if child is None:
                    child = self._append(at, ids[place * ID_BYTES : upto * ID_BYTES])
                    if place and place not in marks:
                        self.continued.add(child)
                else:
                    known = content.end[child] - content.end[at]
                    stop = min(upto, place + known)
                    same = _common(self._ids[child], ids[place * ID_BYTES : stop * ID_BYTES])
                    if same < known:
                        child = self._cut(child, same)
                at = child
                place = content.end[at] - begin
        return at

    def append(self, after: int, tokens: int) -> int:
        """Add ``tokens`` tokens below ``after`` that no prompt will ever contain: a reply not resent."""
        segment = self.content.append(after, tokens)
        self.chains.branch(segment)
        return segment

    def _append(self, parent: int, ids: bytes) -> int:
        segment = self.content.append(parent, len(ids) // ID_BYTES)
        self._ids[segment] = ids
        self._children[parent, ids[:ID_BYTES]] = segment
        self.chains.go_on(segment)
        return segment

    def _cut(self, segment: int, tokens: int) -> int:
        """Cut ``segment`` after ``tokens`` tokens; the upper part."""
        ids, above = self._ids[segment], self.content.parent[segment]
        self.chains.cut(segment)
        upper = self.content.cut(segment, tokens)
        self._ids[upper], self._ids[segment] = ids[: tokens * ID_BYTES], ids[tokens * ID_BYTES :]
        self._children[above, ids[:ID_BYTES]] = upper
        self._children[upper, self._ids[segment][:ID_BYTES]] = segment
        if segment in self.continued:
            self.continued.add(upper)
        self.continued.add(segment)
        return upper

    def check(self) -> None:
        """Assert that segments and tokens agree; O(tokens)."""
        content = self.content
        content.check()
        assert len(self.chains.of) == len(content)
        for segment, ids in self._ids.items():
            parent = content.parent[segment]
            assert len(ids) == ID_BYTES * (content.end[segment] - content.end[parent])
            assert self._children[parent, ids[:ID_BYTES]] == segment
        assert len(self._children) == len(self._ids)


class GrowingChains(Chains):
    """`Chains` of a tree that grows: no chain is ever split, so caches that hold state for one need not be
    told of anything.

    What comes first goes on in the chain that ends there; what comes later, or leaves a chain at a token
    inside it, begins a chain of its own. A segment that is cut stays in its chain with both parts. So a
    chat that resends its replies is one chain, as in `Chains`; but a prompt may cross more than log2(n) + 1
    of them, at most one for each time it parted from an earlier one.

    >>> content = ContentTree()
    >>> tree = GrowingTree(content)
    >>> hello, goodbye = tree.insert([1, 2, 3, 4]), tree.insert([1, 2, 9])
    >>> more = tree.insert([1, 2, 3, 4, 5, 6])
    >>> tree.chains.route(more).nodes, tree.chains.route(more).ends
    ([1], [6])
    >>> tree.chains.route(goodbye).nodes, tree.chains.route(goodbye).ends
    ([1, 2], [2, 3])
    """

    __slots__ = ("_above", "_goes_on")

    def __init__(self, content: ContentTree) -> None:
        self._end = content.end
        self._ways = {}
        self._above = content.parent
        self._goes_on: set[int] = set()  # segments after which their chain has a further one
        self.of = array("q", [0])
        self.parent = [-1]
        self.begin = [0]

    def go_on(self, segment: int) -> None:
        """``segment`` has been appended to the content."""
        above = self._above[segment]
        if above == ROOT or above in self._goes_on:
            self.branch(segment)
        else:
            self._goes_on.add(above)
            self.of.append(self.of[above])

    def branch(self, segment: int) -> None:
        """``segment`` has been appended to the content, and begins a chain of its own in any case."""
        above = self._above[segment]
        self.of.append(len(self.parent))
        self.parent.append(self.of[above])
        self.begin.append(self._end[above])

    def cut(self, segment: int) -> None:
        """``segment`` is about to be cut: its upper part gets the next number."""
        self._goes_on.add(len(self.of))
        self.of.append(self.of[segment])


def _common(one: bytes, other: bytes) -> int:
    """How many tokens two sequences begin with in common. O(tokens)."""
    low, high = 0, min(len(one), len(other)) // ID_BYTES
    if one[: high * ID_BYTES] == other[: high * ID_BYTES]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low * ID_BYTES : middle * ID_BYTES] == other[low * ID_BYTES : middle * ID_BYTES]:
            low = middle
        else:
            high = middle
    return low
