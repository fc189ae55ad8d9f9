"""When content is looked up next, for the offline optimum: known in a replay, where the order is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

from workloads.trace import Trace

NEVER = 1 << 60


class Future:
    """The order of all requests of a trace, each as a rank, and which of them looks up what.

    ``parts(request)`` names the content that a request looks up (segments or ids). Built at the first
    question, O(all parts).
    """

    def __init__(self, trace: Trace, parts: Callable[[int], Iterable[int]]) -> None:
        self._trace = trace
        self._parts = parts
        self._rank: list[int] = []
        self._uses: dict[int, list[int]] = {}  # part -> ranks, ascending

    def rank(self, request: int) -> int:
        """The place of ``request`` in the order of a replay."""
        if not self._rank:
            self._build()
        return self._rank[request]

    def after(self, part: int, request: int) -> int:
        """The rank of the next request behind ``request`` that looks up ``part``; NEVER if none does."""
        rank = self.rank(request)
        uses = self._uses.get(part, ())
        i = bisect_right(uses, rank)
        return uses[i] if i < len(uses) else NEVER

    def _build(self) -> None:
        self._rank = [0] * len(self._trace)
        uses = self._uses
        for rank, (_, request) in enumerate(self._trace.instant_order()):
            self._rank[request] = rank
            for part in self._parts(request):
                uses.setdefault(part, []).append(rank)
