"""Every session stays on one replica: consistent hashing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sim.fleet.routers.base import RouterSetting
from workloads.schema import Schema

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


class SessionConfig(Schema):
    """``{kind: session, points}``: points of a replica on the ring; more make more even shares."""

    kind: Literal["session"] = "session"
    points: int = Field(default=100, ge=1, le=10_000)
    """Points of a replica on the hash ring; more make more even shares."""

    def router(self, setting: RouterSetting) -> Session:
        """A fresh router for one run."""
        return Session(self.points, setting)


class Session:
    """A ring of hashed points per replica; a session goes to the first point after its own hash.

    When a replica is gone only its own sessions move (D. Karger et al., "Consistent hashing and random
    trees", 1997), and they come back with it. The load plays no part.
    """

    def __init__(self, points: int, setting: RouterSetting) -> None:
        self._session = setting.trace.session
        ring = sorted(
            (mix(replica * points + point + 1), replica)
            for replica in range(setting.replicas)
            for point in range(points)
        )
        self._hashes = [at for at, _ in ring]
        self._owners = [owner for _, owner in ring]
        self._replicas: Sequence[AnyReplica] = ()
        self._alive: set[int] = set()

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """The owner of the next point whose replica is alive. O(log points)."""
        if replicas is not self._replicas:
            self._replicas, self._alive = replicas, {replica.number for replica in replicas}
        at = bisect_right(self._hashes, mix(~self._session[request]))
        while self._owners[at % len(self._owners)] not in self._alive:
            at += 1
        return self._owners[at % len(self._owners)]


def mix(value: int) -> int:
    """SplitMix64's finaliser: 64 well mixed bits that do not depend on Python's hash seed."""
    mask = (1 << 64) - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)
