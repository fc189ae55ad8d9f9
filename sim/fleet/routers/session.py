"""Every session stays on one replica: consistent hashing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sim.fleet.routers.base import RouterSetting
from workloads.mixing import mix, mixed
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
        numbers = range(setting.replicas) if setting.numbers is None else setting.numbers
        places = ring(numbers, points)
        self._hashes = [at for at, _ in places]
        self._owners = [owner for _, owner in places]
        self._replicas: Sequence[AnyReplica] = ()
        self._alive: set[int] = set()

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """The owner of the next point whose replica is alive. O(log points)."""
        if replicas is not self._replicas:
            self._replicas, self._alive = replicas, {replica.number for replica in replicas}
        at = bisect_right(self._hashes, session_point(self._session[request]))
        while self._owners[at % len(self._owners)] not in self._alive:
            at += 1
        return self._owners[at % len(self._owners)]


def ring(numbers: Sequence[int], points: int) -> list[tuple[int, int]]:
    """The points on the ring of the replicas with these ``numbers``, ascending: (where, whose as a place
    among them)."""
    return sorted(
        (mix(number * points + point + 1), place)
        for place, number in enumerate(numbers)
        for point in range(points)
    )


def session_point(session: int) -> int:
    """Where on the ring a session lies; it belongs to the next point after that."""
    return mix(~session)


def owners(sessions: NDArray[np.int64], replicas: int, points: int) -> NDArray[np.int64]:
    """The replica that each of ``sessions`` belongs to while all are alive. O(sessions x log points)."""
    places = ring(range(replicas), points)
    hashes = np.array([at for at, _ in places], np.uint64)
    numbers = np.array([number for _, number in places])
    after = np.searchsorted(hashes, mixed(~sessions), side="right")
    found: NDArray[np.int64] = numbers[after % len(numbers)]
    return found
