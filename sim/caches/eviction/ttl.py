"""A lifetime that starts again with every use, as hosted prompt caches give it."""

from __future__ import annotations

from sim.caches.eviction.base import PolicySetting
from sim.caches.eviction.lru import Lru
from sim.caches.runs import Run


class Ttl(Lru):
    """Least recently used, and what is unused for longer than ``ttl_s`` seconds is not found.

    Its blocks are dropped at the next look, and count as evicted. A held run does not age.
    """

    expires = True

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        assert setting.ttl_s is not None
        self._ttl_s = setting.ttl_s

    def release(self, run: Run, request: int) -> None:
        super().release(run, request)
        run.place = self.now_s

    def split(self, run: Run, deep: Run) -> None:
        super().split(run, deep)
        deep.place = run.place

    def expired(self) -> int:
        run = self.oldest
        if run is None or self.now_s - run.place <= self._ttl_s:
            return 0
        return run.hi - run.lo
