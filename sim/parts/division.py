"""Which parts of a system never meet, so that each can be simulated by itself; and why others stay whole.

Nothing is approximated: two replicas are in different parts only if nothing that happens at the one can
change what happens at the other.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sim.fleet.routers.random import RandomConfig
from sim.fleet.routers.round_robin import RoundRobinConfig
from sim.fleet.routers.session import SessionConfig, ring
from sim.systems.base import System
from sim.systems.engine import EngineSystem
from workloads.trace import NONE, Trace

Group = tuple[int, ...]
"""Replicas that may meet, ascending."""


@dataclass(frozen=True, slots=True)
class Division:
    """How the run of one system can be divided."""

    why: str
    """What is divided by what, or why nothing is."""
    by: Literal["session", "request"] | None = None
    """What is sent to one part as a whole; None: the system is one part."""
    groups: tuple[Group, ...] = ()
    shares: tuple[float, ...] = ()
    """The part of the load that each group is to expect."""

    def parts(self, count: int) -> list[Group]:
        """The replicas of at most ``count`` parts of about equal load; empty where the system is whole."""
        if self.by is None:
            return []
        loads: list[tuple[float, int]] = [(0.0, part) for part in range(min(count, len(self.groups)))]
        parts: list[list[int]] = [[] for _ in loads]
        for share, group in sorted(zip(self.shares, self.groups, strict=True), key=lambda g: (-g[0], g[1])):
            load, part = heapq.heappop(loads)
            parts[part] += group
            heapq.heappush(loads, (load + share, part))
        return sorted(tuple(sorted(part)) for part in parts)


def division_of(system: System, trace: Trace) -> Division:
    """What can be divided of ``system`` when it serves ``trace``."""
    if not isinstance(system, EngineSystem):
        return Division("stays whole: all requests meet in one cache")
    if why := _together(system, trace):
        return Division(f"stays whole: {why}")
    replicas, router = system.ranks_in_all, system.router
    if isinstance(router, SessionConfig):
        groups = tuple(_by_session(replicas, router.points, {f.replica for f in system.failures}))
        if len(groups) == 1:
            return Division("stays whole: sessions of replicas that fail go to all others")
        shares = _arcs(replicas, router.points)
        return Division(
            f"{replicas} replicas, each with its own sessions: {len(groups)} groups that never meet",
            "session",
            groups,
            tuple(sum(shares[number] for number in group) for group in groups),
        )
    each = tuple((number,) for number in range(replicas))
    how = "in turn" if isinstance(router, RoundRobinConfig) else "by chance"
    return Division(
        f"{replicas} replicas, each with the requests that are its {how}",
        "request",
        each,
        (1 / replicas,) * replicas,
    )


def _together(system: EngineSystem, trace: Trace) -> str:
    """Why no part of ``system`` can run by itself; empty if that is not so."""
    router = system.router
    if system.ranks_in_all == 1:
        return "one replica serves every request"
    if system.kv_link is not None:
        return "replicas that prefill and decode share a link, and the least loaded one decodes"
    if any(pool.data_parallel > 1 for pool in system.all_pools):
        return "the ranks of a data parallel replica may compute their steps together"
    if system.record_steps or system.sample_s is not None:
        return "record_steps and sample_s look at all replicas at once"
    if trace.concurrency is not None:
        return "in closed loop a session starts when any other one ends"
    if isinstance(router, SessionConfig):
        return ""
    if not isinstance(router, RoundRobinConfig | RandomConfig):
        return f"the router {router.kind} looks at what each replica does"
    if any(after != NONE for after in trace.follower):
        return (
            f"turns wait for replies, and the router {router.kind} goes by the order in which the requests "
            "of all replicas arrive"
        )
    if system.failures:
        return f"the router {router.kind} sends what a replica loses to any other"
    if system.retries is not None:
        return f"the router {router.kind} sends each try to another replica"
    return ""


def _by_session(replicas: int, points: int, failing: set[int]) -> Iterable[Group]:
    """Replicas between which sessions can move: those that may fail, with their neighbours on the ring."""
    above = list(range(replicas))  # a forest: replicas of one tree are together

    def top(number: int) -> int:
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    if failing:
        numbers = [number for _, number in ring(range(replicas), points)]
        for place, number in enumerate(numbers):
            at = place
            while number in failing and at < place + len(numbers):
                at += 1
                after = numbers[at % len(numbers)]
                above[top(after)] = top(number)
                if after not in failing:
                    break
    groups: dict[int, list[int]] = {}
    for number in range(replicas):
        groups.setdefault(top(number), []).append(number)
    return sorted(tuple(group) for group in groups.values())


def _arcs(replicas: int, points: int) -> Sequence[float]:
    """The share of the ring, and so of the sessions, that each replica owns."""
    places = ring(range(replicas), points)
    shares, before = [0.0] * replicas, places[-1][0] - 2**64
    for at, number in places:
        shares[number] += (at - before) / 2**64
        before = at
    return shares
