"""The replica with the fewest requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.fleet.routers.base import RouterSetting, least_loaded

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


class LeastLoaded:
    """Fewest requests waiting and running; ties go to the lowest number."""

    def __init__(self, setting: RouterSetting) -> None:
        pass

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """The least loaded one. O(replicas)."""
        return least_loaded(replicas).number
