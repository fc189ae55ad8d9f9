"""What a router sees, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


@dataclass(frozen=True, slots=True)
class RouterSetting:
    """What a router may know beforehand."""

    trace: Trace
    replicas: int
    seed: int
    numbers: Sequence[int] | None = None
    """The number of each replica in the whole fleet, where these are some of its replicas."""


class Router(Protocol):
    """A routing policy, made once per run with a RouterSetting."""

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """The number of the replica that gets request ``request`` of the trace, as it arrives.

        ``replicas`` are those alive, in order of their numbers; there is at least one. They are one and
        the same object until a replica dies or comes back.
        """


def least_loaded(replicas: Sequence[AnyReplica]) -> AnyReplica:
    """The replica with the fewest requests waiting and running; of equals the lowest number."""
    return min(replicas, key=lambda replica: (replica.load, replica.number))
