"""Least frequently used."""

from __future__ import annotations

from typing import Any

from sim.caches.eviction.keyed import Keyed
from sim.caches.runs import Run


class Lfu(Keyed):
    """The run used by the fewest requests goes first, among equals the least recently used one.

    The count is 1 for the request that computed the run, grows with each that hits it, and is forgotten
    when the run is evicted (LFU "in cache"; nothing ages).
    """

    def key(self, run: Run, request: int) -> Any:
        return run.uses, self.releases
