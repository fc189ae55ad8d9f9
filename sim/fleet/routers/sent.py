"""Which replicas were sent which content: a bound for what their caches hold."""

from __future__ import annotations

from workloads.content import ROOT, ContentTree


class Sent:
    """For each segment the set of replicas that may hold it, as an integer (bit n: replica n).

    A replica has nothing but what was computed there, so the set holds every replica that was sent a
    prompt or a reply through the segment. It leaves the set when a lookup finds that it has lost the
    segment, and comes back with the next request that is sent there.
    """

    def __init__(self, content: ContentTree, replicas: int) -> None:
        self._content = content
        self._sets = [0] * len(content)
        self._bits = [1 << number for number in range(replicas)]  # most sets are one of these
        self._lost = 0
        """Replicas that have left a set: what they may hold can have gaps."""
        content.watch(self._split)

    def grow(self) -> None:
        """Segments may have been added to the content."""
        self._sets += [0] * (len(self._content) - len(self._sets))

    def _split(self, upper: int, lower: int) -> None:
        self.grow()
        self._sets[upper] = self._sets[lower]

    def to(self, segment: int) -> int:
        """The replicas that may hold ``segment``."""
        return self._sets[segment]

    def add(self, number: int, segment: int) -> None:
        """Replica ``number`` is sent all that ends in ``segment``. O(segments not sent there before)."""
        sets, parent, bit = self._sets, self._content.parent, self._bits[number]
        gaps = self._lost & bit
        while segment != ROOT:
            before = sets[segment]
            if not before & bit:
                sets[segment] = before | bit if before else bit
            elif not gaps:
                return  # then it was sent all that comes before, too
            segment = parent[segment]

    def found(self, number: int, prompt: int, cached_tokens: int, block_size: int) -> None:
        """An idle replica holds ``cached_tokens`` of a prompt and no more: note where the next are missing.

        Idle, because what a request there has yet to compute is missing only for the moment. ``prompt``
        is the segment in which the prompt ends. O(segments on its path).
        """
        end, bit = self._content.end, self._bits[number]
        start = 0
        for segment in self._content.path(prompt):
            if end[segment] // block_size * block_size > cached_tokens:
                if start // block_size * block_size == cached_tokens and self._sets[segment] & bit:
                    self._sets[segment] ^= bit
                    self._lost |= bit
                return  # a segment of which a part is left counts as held
            start = end[segment]
