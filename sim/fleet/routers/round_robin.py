"""The replicas in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sim.fleet.routers.base import RouterSetting
from workloads.schema import Schema

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


class RoundRobinConfig(Schema):
    """``{kind: round_robin}``."""

    kind: Literal["round_robin"] = "round_robin"

    def router(self, setting: RouterSetting) -> RoundRobin:
        """A fresh router for one run."""
        return RoundRobin(setting)


class RoundRobin:
    """In order of arrival, whatever the load."""

    def __init__(self, setting: RouterSetting) -> None:
        self._turn = 0

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """The next replica in turn. O(1)."""
        replica = replicas[self._turn % len(replicas)]
        self._turn += 1
        return replica.number
