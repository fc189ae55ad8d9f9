"""Requests that leave a replica before their last token, and replicas that fail."""

from __future__ import annotations

from collections.abc import Callable

from sim.engine.request import Request

Lost = Callable[[list[Request]], None]
"""Hears which requests a failed replica had."""


class Leaving:
    """What is to happen at the next boundary between two iterations.

    A request that runs leaves there, as the engines look at aborted requests only between two steps; for
    the same reason a replica that fails ends the iteration under way first.
    """

    __slots__ = ("_given_up", "failed")

    def __init__(self) -> None:
        self._given_up: set[int] = set()
        self.failed: Lost | None = None
        """If set the replica dies at the boundary and tells what it had."""

    @property
    def is_due(self) -> bool:
        """Whether anything is to happen."""
        return bool(self._given_up) or self.failed is not None

    def give_up(self, index: int) -> None:
        """The client of request ``index``, which runs, has left."""
        self._given_up.add(index)

    def fail(self, lost: Lost) -> None:
        """The replica dies."""
        self.failed = lost

    def was_given_up(self, request: Request) -> bool:
        """Whether the client of ``request``, which ends now, has left; asked once."""
        if request.index not in self._given_up:
            return False
        self._given_up.remove(request.index)
        return True

    def divide(self, present: list[Request]) -> tuple[list[Request], list[Request]]:
        """Of the requests that run: (those that leave now, those whose clients still wait for them)."""
        given_up, self._given_up = self._given_up, set()
        wanted = [request for request in present if request.index not in given_up]
        if self.failed is not None:
            return present, wanted
        return [request for request in present if request.index in given_up], wanted
