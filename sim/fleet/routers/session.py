"""Every session stays on one replica: consistent hashing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.fleet.routers.base import RouterSetting

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica

POINTS = 100
"""Points of a replica on the ring: more even out the shares of sessions."""


class Session:
    """A ring of hashed points per replica; a session goes to the first point after its own hash.

    When a replica is gone only its own sessions move (D. Karger et al., "Consistent hashing and random
    trees", 1997), and they come back with it. The load plays no part.
    """

    def __init__(self, setting: RouterSetting) -> None:
        self._session = setting.trace.session
        points = [
            (mix(replica * POINTS + point + 1), replica)
            for replica in range(setting.replicas)
            for point in range(POINTS)
        ]
        points.sort()
        self._hashes = [at for at, _ in points]
        self._owners = [owner for _, owner in points]

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """The owner of the next point whose replica is alive. O(log points)."""
        alive = {replica.number for replica in replicas}
        at = bisect_right(self._hashes, mix(~self._session[request]))
        while self._owners[at % len(self._owners)] not in alive:
            at += 1
        return self._owners[at % len(self._owners)]


def mix(value: int) -> int:
    """SplitMix64's finaliser: 64 well mixed bits that do not depend on Python's hash seed."""
    mask = (1 << 64) - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)
