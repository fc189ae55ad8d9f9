"""The ideal: every token of content is computed once and never again."""

from __future__ import annotations

from typing import Literal

from sim.caches.base import Served
from workloads.schema import Schema
from workloads.trace import Trace


class IdealCache:
    """Endless memory at token granularity; what no cache can beat.

    With ``cache_reply`` a reply counts as known once it was generated, its last token included
    (an engine has no keys and values for that one). An entirely known prompt computes nothing.
    """

    evicted_blocks = None
    evicted_tokens = None

    def __init__(self, trace: Trace, cache_reply: bool) -> None:
        self._trace = trace
        self._cache_reply = cache_reply
        self._known = {0}

    def serve(self, request: int, at_s: float) -> Served:
        """The known part of the prompt; then all of it, and its reply, is known. O(path)."""
        trace, known = self._trace, self._known
        hit = 0
        for segment in trace.content.path(trace.prompt[request]):
            if segment not in known:
                known.add(segment)
            elif trace.content.parent[segment] in known:
                hit = trace.content.end[segment]
        if self._cache_reply:
            known.update(trace.content.path(trace.reply[request]))
        return Served(hit, 0, 0)

    def check(self) -> None:
        """Assert that a known segment has a known parent."""
        assert all(
            segment == 0 or self._trace.content.parent[segment] in self._known for segment in self._known
        )


class IdealConfig(Schema):
    """``{kind: ideal, cache_reply}``."""

    kind: Literal["ideal"]
    cache_reply: bool = True

    def replay(self, trace: Trace, key: str) -> IdealCache:
        """A fresh cache."""
        return IdealCache(trace, self.cache_reply)
