"""Requests that leave a replica before their last token, and replicas that fail."""

from __future__ import annotations

from collections.abc import Callable

from sim.engine.request import Request

Lost = Callable[[list[Request]], None]
"""Called with the requests that a failed replica had."""


class Leaving:
    """What is to happen at the next boundary between two iterations.

    A request that runs leaves there, as the engines look at aborted requests only between two steps; for
    the same reason a replica that fails ends the iteration under way first.
    """

    __slots__ = ("_given_up", "failed", "is_due")

    def __init__(self) -> None:
        self.is_due = False
        """Whether anything is to happen."""
        self._given_up: dict[Request, None] = {}
        self.failed: Lost | None = None
        """If set the replica dies at the boundary and calls this with its requests."""

    def give_up(self, request: Request) -> None:
        """The client of ``request``, which runs or loads, has left."""
        self._given_up[request] = None
        self.is_due = True

    def fail(self, lost: Lost) -> None:
        """The replica dies."""
        self.failed = lost
        self.is_due = True

    def was_given_up(self, request: Request) -> bool:
        """Whether the client of ``request``, which ends now, has left; asked once."""
        return self._given_up.pop(request, request) is None

    def divide(self, present: list[Request]) -> tuple[list[Request], list[Request]]:
        """Of the requests that run: (those that leave now, those whose clients still wait for them)."""
        given_up, self._given_up, self.is_due = self._given_up, {}, False
        wanted = [request for request in present if request not in given_up]
        if self.failed is not None:
            return present, wanted
        return [request for request in present if request in given_up], wanted
