"""The replicas in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.fleet.routers.base import RouterSetting

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


class RoundRobin:
    """In order of arrival, whatever the load."""

    def __init__(self, setting: RouterSetting) -> None:
        self._turn = 0

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """The next replica in turn. O(1)."""
        replica = replicas[self._turn % len(replicas)]
        self._turn += 1
        return replica.number
