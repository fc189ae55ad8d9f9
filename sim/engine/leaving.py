"""Requests that leave a replica before their last token, and replicas that fail."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from sim.engine.request import WAITING, Request
from sim.engine.timer import Timer

Lost = Callable[[list[Request]], None]
"""Called with the requests that a failed replica had."""


class Leavable(Protocol):
    """What a scheduler lets its replica do about requests that leave."""

    @property
    def waiting(self) -> Collection[Any]:
        """The requests that wait, in order."""

    def present(self) -> list[Any]:
        """The requests that run, in order, then those that load."""

    def withdraw(self, request: Any) -> None:
        """Take ``request``, which waits, out of the queue."""

    def drop(self, request: Any, in_flight: Any) -> None:
        """Take ``request``, which runs or loads, out; ``in_flight`` is the step that is decided already."""


class Leaving:
    """Takes requests out: those that wait at once, all others at a boundary between two iterations.

    A request that runs leaves there, as the engines look at aborted requests only between two steps; for
    the same reason a replica that fails ends the iteration under way first. ``abandon(request)`` is called
    for each one that leaves; ``begin`` is what an idle replica does when there may be something to compute.
    """

    def __init__(self, timer: Timer, abandon: Callable[[Any], None], begin: Callable[[], None]) -> None:
        self.is_due = False
        """Whether anything is to happen at the next boundary."""
        self._timer = timer
        self._abandon = abandon
        self._begin = begin
        self._given_up: dict[Request, None] = {}
        self._failed: Lost | None = None

    def give_up(self, request: Request, scheduler: Leavable) -> None:
        """The client of ``request`` has left."""
        request.given_up()
        if request.phase == WAITING:
            scheduler.withdraw(request)
            self._abandon(request)
        else:
            self._given_up[request] = None
            self.is_due = True
        self._look(scheduler)

    def fail(self, lost: Lost, scheduler: Leavable) -> None:
        """The replica dies; ``lost`` is then called with its requests."""
        self._failed = lost
        self.is_due = True
        self._look(scheduler)

    def was_given_up(self, request: Request) -> bool:
        """Whether the client of ``request``, which ends now, has left; asked once."""
        return self._given_up.pop(request, request) is None

    def _look(self, scheduler: Leavable) -> None:
        """Look at the queue and at what leaves as soon as the iteration under way ends."""
        if not self._timer.is_idle:
            self._timer.cut()
            return
        if self.is_due:
            self.happen(scheduler, None)
        if scheduler.waiting:
            self._timer.wake(self._begin)

    def happen(self, scheduler: Leavable, in_flight: Any) -> bool:
        """Between two steps: drop what was given up, and all if the replica fails; whether it does."""
        given_up, lost = self._given_up, self._failed
        self._given_up, self._failed, self.is_due = {}, None, False
        wanted = []
        for request in scheduler.present():
            if request not in given_up:
                wanted.append(request)
            if lost is not None or request in given_up:
                scheduler.drop(request, in_flight)
                self._abandon(request)
        if lost is None:
            return False
        for request in list(scheduler.waiting):
            scheduler.withdraw(request)
            self._abandon(request)
            wanted.append(request)
        lost(wanted)
        return True
