"""Puts conversations into a content tree, with as many tokens as were logged."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from workloads.content import ROOT, ContentTree
from workloads.formats.history import START, Histories

KEPT_SHARE = 0.9
"""A prompt that is shorter by more than the rest was compacted or cut, not miscounted."""


@dataclass(slots=True)
class _Pieces:
    """The pieces of a message, or of a part of it, that a segment holds."""

    hashes: list[bytes]
    ends: list[int]
    """Tokens from the start of the segment to the end of each piece."""


class Placing:
    """Gives every node of ``histories`` a segment at which its message ends.

    A message that was placed keeps its tokens, whoever sends it again. What is new in a prompt gets what
    its logged length leaves: each message ``scale`` times its own estimate and the newest the rest, or all
    in proportion where that rest would be too little.
    """

    def __init__(self, content: ContentTree, histories: Histories, scale: float = 1.0) -> None:
        self.content = content
        self.shortened = 0
        """Prompts shorter than what they seem to share: the rest of them is taken to be new."""
        self._histories = histories
        self._scale = scale
        self._segments: dict[int, int] = {START: ROOT}
        self._pieces: dict[int, _Pieces] = {}
        self._children: dict[tuple[int, bytes], int] = {}

    def put_head(self, node: int, tokens: int) -> None:
        """Place a head, which has a size of its own; 0 if there seems to be none."""
        self._segments[node] = self.content.append(ROOT, tokens) if tokens else ROOT

    def nodes(self) -> dict[int, int]:
        """All nodes that were placed, with their segments."""
        return self._segments

    def prompt(self, node: int, tokens: int | None, read_tokens: int | None = None) -> int:
        """The segment at which a prompt ends that has ``tokens`` tokens in all, as far as is logged.

        If that is less than what it seems to share with others, its end is taken to be new; if it is less
        by a tenth, the client has changed its history, and what the provider read from its cache is all
        that is known to be shared.
        """
        new, at = self._unplaced(node)
        if new:
            at, shared = self._share(new[0], at)
            if shared is None:
                del new[0]
        else:
            shared = 0
        end = self.content.end
        if not new:
            if tokens is None or tokens == end[at]:
                return at
            if tokens > end[at]:
                return self.content.append(at, tokens - end[at])
        elif tokens is None or tokens - end[at] >= len(new):
            sizes = self._sizes(new, None if tokens is None else tokens - end[at], shared or 0)
            for place, (message, size) in enumerate(zip(new, sizes, strict=True)):
                at = self._append(message, at, size, (shared or 0) if place == 0 else 0)
            return at
        self.shortened += 1
        most = tokens - 1
        if tokens < KEPT_SHARE * end[at] and read_tokens is not None:
            most = min(most, read_tokens)
        while end[at] > most:
            at = self.content.parent[at]
        return self.content.append(at, tokens - end[at])

    def reply(self, node: int, prompt: int, tokens: int) -> int:
        """The segment of a reply of ``tokens`` tokens behind the segment ``prompt``.

        Later prompts that contain the message share it, unless the same one was there with another length.
        """
        before = self._histories.before[node]
        if self._segments.get(before) != prompt:
            return self.content.append(prompt, tokens)
        segment = self._segments.get(node)
        if segment is None:
            segment = self._segments[node] = self.content.append(prompt, tokens)
        elif self.content.end[segment] - self.content.end[prompt] != tokens:
            return self.content.append(prompt, tokens)
        return segment

    def _unplaced(self, node: int) -> tuple[list[int], int]:
        """The messages up to ``node`` that have no segment yet, and the segment before the first."""
        new = []
        while node not in self._segments:
            new.append(node)
            node = self._histories.before[node]
        new.reverse()
        return new, self._segments[node]

    def _share(self, node: int, at: int) -> tuple[int, int | None]:
        """Follow the pieces of a new message as far as others have them.

        Returns the segment at which they part, cut there, and the number of pieces passed; None if all of
        them are there, so that the message ends at that segment.
        """
        mine = self._histories.pieces.get(node)
        if mine is None:
            return at, 0
        passed = 0
        while (child := self._children.get((at, mine[passed][0]))) is not None:
            held = self._pieces[child]
            most = min(len(held.hashes), len(mine) - passed)
            common = 1
            while common < most and held.hashes[common] == mine[passed + common][0]:
                common += 1
            whole = common == len(held.hashes)
            if not whole:
                while common and not 0 < held.ends[common - 1] < held.ends[-1]:
                    common -= 1  # no cut before the first or behind the last token
                if not common:
                    return at, passed
            at = child if whole else self._cut(child, at, common)
            passed += common
            if passed == len(mine):
                self._segments[node] = at
                return at, None
            if not whole:
                return at, passed
        return at, passed

    def _cut(self, segment: int, above: int, pieces: int) -> int:
        """Cut a segment after so many pieces; returns the new upper part."""
        held = self._pieces[segment]
        tokens = held.ends[pieces - 1]
        upper = self.content.cut(segment, tokens)
        self._pieces[upper] = _Pieces(held.hashes[:pieces], held.ends[:pieces])
        lower = self._pieces[segment] = _Pieces(
            held.hashes[pieces:], [end - tokens for end in held.ends[pieces:]]
        )
        self._children[above, held.hashes[0]] = upper
        self._children[upper, lower.hashes[0]] = segment
        return upper

    def _sizes(self, new: list[int], budget: int | None, shared: int) -> list[int]:
        """Tokens for each new message, of whose first one ``shared`` pieces are there already."""
        histories = self._histories
        weights = [histories.sizes.get(node) or self._scale * histories.tokens[node] for node in new]
        if shared:
            pieces = histories.pieces[new[0]]
            left = sum(characters for _, characters in pieces[shared:])
            weights[0] *= left / sum(characters for _, characters in pieces)
        sizes = [max(1, round(weight)) for weight in weights]
        if budget is None:
            return sizes
        sizes[-1] = budget - sum(sizes[:-1])
        if sizes[-1] >= max(1.0, weights[-1] / 4):
            return sizes
        return _shared_out(budget, weights)

    def _append(self, node: int, at: int, tokens: int, shared: int) -> int:
        segment = self._segments[node] = self.content.append(at, tokens)
        pieces = self._histories.pieces.get(node)
        if pieces is not None:
            rest = pieces[shared:]
            lengths = list(accumulate(characters for _, characters in rest))
            ends = [round(tokens * length / lengths[-1]) for length in lengths]
            self._pieces[segment] = _Pieces([piece for piece, _ in rest], ends)
            self._children[at, rest[0][0]] = segment
        return segment


def _shared_out(total: int, weights: list[float]) -> list[int]:
    """``total`` in whole parts of at least 1, in proportion to ``weights``.

    >>> _shared_out(10, [1.0, 1.0, 6.0])
    [2, 2, 6]
    """
    spare, sum_of_weights = total - len(weights), sum(weights) or 1.0
    ends = [round(spare * part / sum_of_weights) for part in accumulate(weights)]
    if not sum(weights):
        ends[-1] = spare
    return [1 + end - before for before, end in zip([0, *ends], ends, strict=False)]
