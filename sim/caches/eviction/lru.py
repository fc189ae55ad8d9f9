"""Least recently used: the order of vLLM's free queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from sim.caches.eviction.base import Eviction, PolicySetting
from sim.caches.runs import Run, RunList


class Lru(Eviction):
    """The run released longest ago goes first; every operation is O(1).

    For blocks this is vLLM 0.33.0's free queue (``v1/core/block_pool.py``) without the blocks that have
    no content: what is released goes to its end, evictions come from its head. An engine spends its
    time here, so the list's operations are spelt out once more.
    """

    joins: ClassVar[bool] = True

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        self._runs = RunList()
        self._ends = self._runs.ends

    @property
    def oldest(self) -> Run | None:
        """The run that goes first."""
        return self._runs.oldest

    def release(self, run: Run, request: int) -> None:
        ends = self._ends
        older = ends.older
        assert older is not None
        run.older, run.newer = older, ends
        older.newer = ends.older = run

    def take(self, run: Run) -> None:
        older, newer = run.older, run.newer
        assert older is not None and newer is not None
        older.newer, newer.older = newer, older
        run.older = run.newer = None

    def split(self, run: Run, deep: Run) -> None:
        if not run.refs:
            newer = run.newer
            assert newer is not None
            self._runs.insert(deep, newer if run.up else run)

    def join(self, run: Run, deep: Run) -> None:
        self._runs.remove(deep)

    def victim(self) -> Run:
        run = self._ends.newer
        assert run is not None
        return run

    def evict(self, run: Run, blocks: int) -> None:
        if blocks == run.hi - run.lo:
            self._runs.remove(run)

    def pop(self, blocks: int) -> Run:
        ends = self._ends
        run = ends.newer
        assert run is not None
        if run.hi - run.lo > blocks:
            return run
        ends.newer = newer = run.newer
        assert newer is not None
        newer.older = ends
        run.older = run.newer = None
        return run

    def idle(self) -> Iterator[Run]:
        return iter(self._runs)
