"""The less loaded of two random replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sim.fleet.routers.base import RouterSetting, least_loaded
from workloads.schema import Schema
from workloads.seeds import stream

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


class PowerOfTwoConfig(Schema):
    """``{kind: power_of_two}``."""

    kind: Literal["power_of_two"] = "power_of_two"

    def router(self, setting: RouterSetting) -> PowerOfTwo:
        """A fresh router for one run."""
        return PowerOfTwo(setting)


class PowerOfTwo:
    """M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001."""

    def __init__(self, setting: RouterSetting) -> None:
        self._rng = stream(setting.seed, "router")

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """Two different replicas at random, of these the less loaded one. O(1)."""
        if len(replicas) == 1:
            return replicas[0].number
        one = int(self._rng.integers(len(replicas)))
        other = int(self._rng.integers(len(replicas) - 1))
        return least_loaded([replicas[one], replicas[other + (other >= one)]]).number
