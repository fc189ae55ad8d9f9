"""Some replicas of a fleet that serve a part of its trace by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.fleet.routers.base import RouterSetting


@dataclass(frozen=True, slots=True)
class Share:
    """What one part of a fleet has: nothing that any other replica does changes what happens here."""

    replicas: tuple[int, ...]
    """Their numbers in the whole fleet, ascending."""
    owners: Sequence[int] | None = None
    """For each request of the part the replica that serves it, as its place in ``replicas``, where that was
    known beforehand; None: the router is asked."""


class Assigned:
    """The router of a share whose requests were told beforehand where they go."""

    def __init__(self, owners: Sequence[int], setting: RouterSetting) -> None:
        assert len(owners) == len(setting.trace)
        self._owners = owners

    def choose(self, request: int, replicas: Sequence[object]) -> int:
        """The replica that ``request`` was given to. O(1)."""
        return self._owners[request]
