"""A random replica."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sim.fleet.routers.base import RouterSetting
from workloads.schema import Schema
from workloads.seeds import stream

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


class RandomConfig(Schema):
    """``{kind: random}``."""

    kind: Literal["random"] = "random"

    def router(self, setting: RouterSetting) -> Random:
        """A fresh router for one run."""
        return Random(setting)


class Random:
    """Every replica equally likely, from a seeded stream of its own."""

    def __init__(self, setting: RouterSetting) -> None:
        self._rng = stream(setting.seed, "router")

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """One draw. O(1)."""
        return replicas[int(self._rng.integers(len(replicas)))].number
