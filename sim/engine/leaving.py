"""Requests that leave a replica before their last token: given up by their clients, or lost with it."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

from sim.engine.events import Clock
from sim.engine.interface import KvMemory
from sim.engine.request import Request
from sim.engine.timing import Timed
from sim.results.records import EngineTotals, RequestLog


class Leaving(Timed):
    """What every replica does about them; the engine says who waits, who runs and how one is dropped.

    A request that runs leaves between two iterations, as the engines look at aborted requests only there;
    for the same reason a replica that fails ends the iteration under way first.
    """

    totals: EngineTotals
    memory: KvMemory
    _log: RequestLog

    def __init__(self, number: int, env: Clock) -> None:
        super().__init__(number, env)
        self._aborted: set[int] = set()
        """Running requests to be dropped when the iteration under way ends."""
        self._failed: Callable[[list[int]], None] | None = None
        """If set the replica dies then, and tells what it had."""

    def abort(self, index: int) -> None:
        """Drop request ``index``: at once if it waits, else when the iteration under way ends."""
        self._changed(self.number)
        waiting = self._queued()
        for place, request in enumerate(waiting):
            if request.index == index:
                del waiting[place]
                if request.preemptions:
                    self._log.abandon(request, self.totals)
                if place == 0:
                    self._cut()  # the next one may fit
                return
        self._aborted.add(index)
        self._cut()

    def fail(self, gone: Callable[[list[int]], None]) -> None:
        """Die at the end of the iteration under way; ``gone`` then hears which requests were here."""
        if self._event is None:
            gone([])
            return
        self._failed = gone
        self._cut()

    def restart(self, memory: KvMemory) -> None:
        """Come back after a failure, with an empty ``memory``."""
        assert not self._present() and not self._queued()
        self.totals.evicted_blocks += self.memory.evicted_blocks
        self.memory = memory

    def _let_leave(self) -> None:
        """Between two iterations: drop who was given up, and everybody if the replica fails."""
        self._env.take_turn(self._priority)
        present, waiting = self._present(), self._queued()
        lost = [request.index for request in [*present, *waiting] if request.index not in self._aborted]
        for request in present:
            if self._failed is not None or request.index in self._aborted:
                self._drop(request)
                self._log.abandon(request, self.totals)
        self._aborted.clear()
        if self._failed is not None:
            for request in waiting:
                if request.preemptions:
                    self._log.abandon(request, self.totals)
            waiting.clear()
            gone, self._failed = self._failed, None
            gone(lost)

    def _nobody_waits_for(self, request: Request) -> bool:
        """Whether ``request``, which ends now, was given up: then it is dropped, not finished."""
        if request.index not in self._aborted:
            return False
        self._aborted.remove(request.index)
        self._log.abandon(request, self.totals)
        return True

    def _queued(self) -> MutableSequence[Any]:
        """The waiting requests, the head first; what is taken out of this leaves the queue."""
        raise NotImplementedError

    def _present(self) -> Sequence[Request]:
        """The requests that run, in order."""
        raise NotImplementedError

    def _drop(self, request: Request) -> None:
        """Take a running request out and give back what it holds; its full blocks stay in the cache."""
        raise NotImplementedError
