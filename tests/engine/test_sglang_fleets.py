"""Random fleets of SGLang replicas: KV that travels, deadlines, failures, retractions, with overlap or not.

Runs of decode steps as one event, every step as an event, and recorded steps give the same records.
Invariants of all replicas are checked at every instant; `Records.check` holds conservation.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sim.engine.link import LinkSpeed
from sim.engine.sglang.config import SglangEngine
from sim.fleet.plan import Failure, Hardships
from sim.fleet.routers import ROUTERS
from sim.results.records import Records
from tests.caches.cases import QUICK, trace_of
from tests.engine.comparing import REALISTIC, same_gaps, same_records, same_totals
from tests.engine.driving import ONE_SECOND, check_always
from tests.engine.fleets import any_fleet, tiers_of
from tests.engine.test_sglang_oracle import Case, cases
from workloads.clients import Retries

WAYS: dict[str, dict[str, Any]] = {
    "runs": {},
    "single steps": {"fast_forward": False},
    "recorded": {"record_steps": True},
}
TRAVELS = ("tiers", "apart")
OPTIONS = ("overlap", "deadlines", "failures")
PAIRS = [(kind, option) for kind in TRAVELS for option in OPTIONS]
PAIRS += [("overlap", "deadlines"), ("overlap", "failures")]


class Situation:
    """One case under one seed: arrivals, memory, links and hardships, drawn around what is ``chosen``."""

    def __init__(self, case: Case, rng: random.Random, chosen: tuple[str, ...]) -> None:
        self._case, self._rng, self._chosen = case, rng, chosen
        self._whole = rng.random() < 0.5  # whole seconds: things often happen at one instant
        self._last_s = 25.0 if self._whole else 0.3
        for request in case.requests:
            request.arrival = rng.randint(0, 6) if self._whole else rng.uniform(0, self._last_s / 4)
        self._concurrency = rng.randint(1, 4) if self._whole and rng.random() < 0.4 else None
        self.fleet = self._drawn()

    def _has(self, option: str, share: float = 0.5) -> bool:
        drawn = self._rng.random() < share
        return option in self._chosen or drawn

    def _drawn(self) -> dict[str, Any]:
        rng, case, whole = self._rng, self._case, self._whole
        options = dict(case.options)
        if rng.random() < 0.7:  # next to nothing is reserved for replies: requests push each other out
            options["schedule_conservativeness"] = 0.01
        engine = SglangEngine(
            kind="sglang",
            chunked_prefill_size=case.chunk,
            max_prefill_tokens=case.max_prefill,
            max_running_requests=case.max_running,
            disable_overlap_schedule=not self._has("overlap"),
            **options,
        )
        speed = LinkSpeed(
            gb_per_s=rng.choice([0.5, 1.0, 4.0] if whole else [20.0, 300.0, 1e6]),
            latency_ms=rng.choice([0.0, 3.0]),
        )
        apart, tiered = self._has("apart", 0.3), self._has("tiers", 0.3) and case.caching
        replicas, decoders = rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2])
        tiers = tiers_of(
            rng.randint(1, 20),
            rng.choice([None, 30]),
            block_size=case.page_size,
            write=rng.choice(["write_through", "write_through_selective", "write_back"]),
            gb_per_s=speed.gb_per_s,
            latency_ms=speed.latency_ms,
        )
        return {
            "blocks": case.pages,
            "options": engine,
            "block_size": case.page_size,
            "caching": case.caching,
            "tiers": tiers if tiered else None,
            "link": speed if apart else None,
            "replicas": replicas,
            "decoders": decoders,
            "coefficients": ONE_SECOND if whole else REALISTIC,
            "hardships": self._hardships(replicas + decoders if apart else replicas),
            "router": ROUTERS[rng.choice(list(ROUTERS))]().router,
        }

    def _hardships(self, replicas: int) -> Hardships:
        rng = self._rng

        def some_s() -> float:
            return (
                float(rng.randint(1, int(self._last_s))) if self._whole else rng.uniform(1e-3, self._last_s)
            )

        deadlines = [some_s() for _ in self._case.requests] if self._has("deadlines") else None
        failures: list[Failure] = []
        if self._has("failures", 0.3):
            for number in range(replicas):
                at_s = some_s()
                while rng.random() < 0.5:
                    back_s = at_s + some_s() if rng.random() < 0.8 else None
                    failures.append(Failure(number, at_s, back_s))
                    if back_s is None:
                        break
                    at_s = back_s
        retries = Retries(max_retries=rng.randint(0, 2), backoff_s=1.0) if rng.random() < 0.4 else None
        return Hardships(rng.choice([None, 1, 2, 5]), deadlines, tuple(failures), retries)

    def run(self, way: dict[str, Any]) -> Records:
        """Serve a trace of its own, with invariants checked at every instant."""
        trace = trace_of(self._case.requests)
        trace.priority = [request.priority for request in self._case.requests]
        trace.concurrency = self._concurrency
        return check_always(any_fleet(trace, **self.fleet, **way)).run()


def _all_ways_agree(case: Case, seed: int, chosen: tuple[str, ...] = ()) -> None:
    situation = Situation(case, random.Random(seed), chosen)
    plain, *others = (situation.run(way) for way in WAYS.values())
    for other in others:
        same_records(plain, other)
        same_totals(plain, other)
        if plain.completed.all() and not plain.retries.any():
            same_gaps(plain, other)
    totals = plain.engine
    assert totals is not None
    event(f"loads: {totals.loaded_tokens > 0}, retractions: {totals.num_preemptions > 0}")
    event(f"surplus: {totals.surplus_tokens > 0}, aborted: {(plain.status == 'aborted').any()}")


@pytest.mark.parametrize("pair", PAIRS, ids=" x ".join)
@settings(parent=QUICK, max_examples=25)
@given(case=cases(), seed=st.integers(0, 1 << 30))
def test_pairs_of_options(pair: tuple[str, str], case: Case, seed: int) -> None:
    """Whatever keeps KV on its way beside whatever takes requests out, and overlap beside both."""
    _all_ways_agree(case, seed, pair)


@settings(parent=QUICK, max_examples=150)
@given(cases(), st.integers(0, 1 << 30))
def test_random_fleets(case: Case, seed: int) -> None:
    """Everything at once, by chance."""
    _all_ways_agree(case, seed)


@pytest.mark.slow
@settings(parent=QUICK, max_examples=3000)
@given(cases(most=10), st.integers(0, 1 << 30))
def test_random_fleets_thoroughly(case: Case, seed: int) -> None:
    """The same, many more."""
    _all_ways_agree(case, seed)
