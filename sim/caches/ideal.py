"""The ideal: every token of content is computed once and never again."""

from __future__ import annotations

from typing import Literal

from sim.caches.base import Served
from workloads.content import ROOT
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
        self._known: dict[int, int] = {}  # by chain: tokens up to where it is known

    def serve(self, request: int, at_s: float) -> Served:
        """The known part of the prompt; then all of it, and its reply, is known. O(chains on its way)."""
        trace, known = self._trace, self._known
        prompt, hit = trace.content.end[trace.prompt[request]], 0
        last = (trace.reply if self._cache_reply else trace.prompt)[request]
        route = trace.chains.route(last)
        goes_on = True
        for chain, end in zip(route.nodes, route.ends, strict=True):
            until = known.get(chain, 0)
            if goes_on:
                hit = max(hit, min(until, end, prompt))
                goes_on = until >= end
            known[chain] = max(until, end)
        return Served(hit, 0, 0)

    def check(self) -> None:
        """Assert that what is before a known part is known."""
        chains = self._trace.chains
        for chain in self._known:
            above = chains.parent[chain]
            assert above == ROOT or self._known[above] >= chains.begin[chain]


class IdealConfig(Schema):
    """``{kind: ideal, cache_reply}``."""

    kind: Literal["ideal"]
    cache_reply: bool = True
    """Whether replies are cached as well as prompts."""

    def replay(self, trace: Trace, key: str) -> IdealCache:
        """A fresh cache."""
        return IdealCache(trace, self.cache_reply)
