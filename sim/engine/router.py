"""Routers: which replica gets a request. One class and one registry line per policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sim.engine.replica import Replica


class Router(Protocol):
    """A routing policy; it sees the replicas as they are when the request arrives."""

    def choose(self, request: int, replicas: Sequence[Replica]) -> int:
        """The number of the replica that gets request ``request`` of the trace."""


class RoundRobin:
    """The replicas in turn, in order of arrival."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, request: int, replicas: Sequence[Replica]) -> int:
        """The next replica in turn. O(1)."""
        number = self._next
        self._next = (number + 1) % len(replicas)
        return number


ROUTERS: dict[str, type[Router]] = {"round_robin": RoundRobin}
