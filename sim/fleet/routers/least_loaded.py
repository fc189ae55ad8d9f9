"""The replica with the fewest requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sim.fleet.routers.base import RouterSetting
from sim.fleet.routers.order import Order
from workloads.schema import Schema

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


class LeastLoadedConfig(Schema):
    """``{kind: least_loaded}``."""

    kind: Literal["least_loaded"] = "least_loaded"

    def router(self, setting: RouterSetting) -> LeastLoaded:
        """A fresh router for one run."""
        return LeastLoaded()


class LeastLoaded:
    """Fewest requests waiting and running; ties go to the lowest number."""

    def __init__(self) -> None:
        self._order: Order[int] = Order(lambda replica: replica.load)

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """The least loaded one. O(replicas changed since the last request)."""
        self._order.update(replicas)
        return self._order.lowest()
