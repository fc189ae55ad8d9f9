"""First in, first out."""

from __future__ import annotations

from typing import Any

from sim.caches.eviction.keyed import Keyed
from sim.caches.runs import Run


class Fifo(Keyed):
    """The run first released longest ago goes first, however often it was used since."""

    def key(self, run: Run, request: int) -> Any:
        return self.releases if run.place is None else run.place[0]
