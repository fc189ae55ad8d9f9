"""Random surroundings of a random fleet: arrivals, tiers, links, hardships; all ways to run it agree."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sim.engine.link import LinkSpeed
from sim.fleet.plan import Failure, Hardships
from sim.fleet.routers import ROUTERS
from sim.results.records import Records
from tests.caches.cases import trace_of
from tests.engine.comparing import REALISTIC, same_gaps, same_records, same_totals
from tests.engine.driving import ONE_SECOND, check_always
from tests.engine.fleets import any_fleet, tiers_of
from tests.oracles.naive_vllm import NaiveRequest
from workloads.clients import Retries

TRAVELS = ("tiers", "apart")
"""What makes KV travel."""
EXACT_MS = 1000 / 256
"""A latency of which every sum is exact, in whatever order: so ties are ties whichever way a fleet runs."""


class Situation:
    """What surrounds one engine's options under one seed; whatever is ``chosen`` is on, the rest by chance.

    In half of them everything takes whole seconds, so that things often happen at one instant. ``requests``
    get their arrivals here.
    """

    def __init__(self, seed: int, chosen: Sequence[str], requests: Sequence[NaiveRequest]) -> None:
        self.rng = rng = random.Random(seed)
        self._chosen = chosen
        self._requests = requests
        self._whole = rng.random() < 0.5
        self._last_s = 25.0 if self._whole else 0.3
        latest_s = self._last_s / rng.choice([1, 2, 4])
        for request in requests:
            request.arrival = rng.randint(0, int(latest_s)) if self._whole else rng.uniform(0, latest_s)
        self._concurrency = rng.randint(1, 4) if self._whole and rng.random() < 0.4 else None

    def chose(self, option: str) -> bool:
        """Whether ``option`` has to be on."""
        return option in self._chosen

    def has(self, option: str, share: float = 0.5) -> bool:
        """Whether ``option`` is on: because it was chosen, or by chance."""
        drawn = self.rng.random() < share
        return drawn or self.chose(option)

    def _some_s(self) -> float:
        if self._whole:
            return float(self.rng.randint(1, int(self._last_s)))
        return self.rng.uniform(1e-3, self._last_s)

    def draw(self, *, block_size: int, caching: bool) -> dict[str, Any]:
        """What `any_fleet` wants besides the trace, the engine's options and the way to run it."""
        rng = self.rng
        speed = LinkSpeed(
            gb_per_s=rng.choice([0.5, 1.0, 4.0] if self._whole else [20.0, 300.0, 1e6]),
            latency_ms=rng.choice([0.0, EXACT_MS]),
        )
        apart, tiered = self.has("apart", 0.3), self.has("tiers", 0.3) and caching
        replicas, decoders = rng.choice([1, 2, 2, 3]), rng.choice([1, 2])
        tiers = tiers_of(
            rng.randint(1, 20),
            rng.choice([None, 30]),
            block_size=block_size,
            write=rng.choice(["write_through", "write_through_selective", "write_back"]),
            gb_per_s=speed.gb_per_s,
            latency_ms=speed.latency_ms,
        )
        return {
            "block_size": block_size,
            "caching": caching,
            "tiers": tiers if tiered else None,
            "link": speed if apart else None,
            "replicas": replicas,
            "decoders": decoders,
            "coefficients": ONE_SECOND if self._whole else REALISTIC,
            "hardships": self._hardships(replicas + decoders if apart else replicas),
            "router": ROUTERS[rng.choice(list(ROUTERS))]().router,
        }

    def _hardships(self, replicas: int) -> Hardships:
        rng = self.rng
        deadlines = [self._some_s() for _ in self._requests] if self.has("deadlines") else None
        failures: list[Failure] = []
        if self.has("failures", 0.3):
            for number in range(replicas):
                at_s = self._some_s()
                while rng.random() < 0.5:
                    back_s = at_s + self._some_s() if rng.random() < 0.8 else None
                    failures.append(Failure(number, at_s, back_s))
                    if back_s is None:
                        break
                    at_s = back_s
        retries = Retries(max_retries=rng.randint(0, 2), backoff_s=1.0) if rng.random() < 0.4 else None
        return Hardships(rng.choice([None, 1, 2, 5]), deadlines, tuple(failures), retries)

    def run(self, fleet: dict[str, Any], way: dict[str, Any]) -> Records:
        """Serve a trace of its own on ``fleet``, with invariants checked at every instant."""
        trace = trace_of(self._requests)
        trace.concurrency = self._concurrency
        return check_always(any_fleet(trace, **fleet, **way)).run()

    def all_agree(self, fleet: dict[str, Any], ways: Sequence[dict[str, Any]]) -> Records:
        """Every one of ``ways`` to run ``fleet`` gives the records of the first, which are returned."""
        plain, *others = (self.run(fleet, way) for way in ways)
        for other in others:
            same_records(plain, other)
            same_totals(plain, other)
            if plain.completed.all() and not plain.retries.any():
                same_gaps(plain, other)
        return plain
