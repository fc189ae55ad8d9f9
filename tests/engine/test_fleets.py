"""Random fleets: every pair of options runs, and every way to run them gives the same records.

The ways are the fast scheduler with its runs of steps, the same step by step, and the general scheduler.
Invariants of all replicas are checked at every instant; `Records.check` holds conservation.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.engine.link import LinkSpeed
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.plan import Failure, Hardships
from sim.fleet.routers import ROUTERS
from sim.results.records import Records
from tests.caches.cases import QUICK, trace_of
from tests.engine.comparing import REALISTIC, same_gaps, same_records, same_totals
from tests.engine.driving import ONE_SECOND, check_always
from tests.engine.fleets import any_fleet, tiers_of
from tests.engine.test_against_oracle import Case, cases
from workloads.clients import Retries

WAYS: dict[str, dict[str, Any]] = {
    "runs": {},
    "single steps": {"fast_forward": False},
    "general scheduler": {"record_steps": True},
}
TRAVELS = ("tiers", "apart")
OPTIONS = (
    "asynchronous", "priority", "threshold", "watermark", "no full reserve", "record_steps", "deadlines",
    "failures",
)  # fmt: skip
"""Options that once were refused beside KV that travels."""
PAIRS = [(kind, option) for kind in TRAVELS for option in OPTIONS] + [
    ("asynchronous", "deadlines"),
    ("asynchronous", "failures"),
]


@dataclass
class Situation:
    """One case under one seed: arrivals, memory, links, options and hardships, drawn around ``chosen``."""

    case: Case
    rng: random.Random
    chosen: tuple[str, ...]

    def has(self, option: str, share: float = 0.5) -> bool:
        """Whether ``option`` is on: because it was chosen, or by chance."""
        drawn = self.rng.random() < share
        return option in self.chosen or drawn

    def draw(self) -> dict[str, Any]:
        """Everything that `any_fleet` wants, but for the trace and the way to run it."""
        rng, case = self.rng, self.case
        whole = rng.random() < 0.5  # whole seconds: things often happen at one instant
        last_s = 25.0 if whole else 0.3
        for request in case.requests:
            request.arrival = rng.randint(0, 12) if whole else rng.uniform(0, last_s)
            request.priority = rng.randint(0, 2)
        self.concurrency = rng.randint(1, 4) if whole and rng.random() < 0.4 else None
        tokens = case.max_num_batched_tokens
        options = SchedulerOptions(tokens, case.max_num_seqs, async_scheduling=self.has("asynchronous"))
        if self.has("priority", 0.1):
            options = replace(options, policy="priority")
        if self.has("threshold", 0.1):
            options = replace(options, long_prefill_token_threshold=rng.randint(1, max(1, tokens - 1)))
        blocks = case.blocks
        if self.has("watermark", 0.1):
            options = replace(options, watermark=0.2)
            blocks += 1 + blocks // 3
        if "no full reserve" in self.chosen:
            options = replace(options, scheduler_reserve_full_isl=False)
            blocks += rng.randint(2, 12)
        speed = LinkSpeed(
            gb_per_s=rng.choice([20.0, 300.0, 1e6] if not whole else [0.5, 1.0, 4.0]),
            latency_ms=rng.choice([0.0, 3.0]),
        )
        apart, tiered = self.has("apart", 0.3), self.has("tiers", 0.3) and case.caching
        replicas, decoders = rng.choice([1, 2, 2, 3]), rng.choice([1, 2])
        tiers = tiers_of(
            rng.randint(1, 20),
            rng.choice([None, 30]),
            block_size=case.block_size,
            write=rng.choice(["write_through", "write_through_selective", "write_back"]),
            gb_per_s=speed.gb_per_s,
            latency_ms=speed.latency_ms,
        )
        total = replicas + decoders if apart else replicas
        return {
            "blocks": blocks,
            "options": options,
            "block_size": case.block_size,
            "caching": case.caching,
            "tiers": tiers if tiered else None,
            "link": speed if apart else None,
            "replicas": replicas,
            "decoders": decoders,
            "coefficients": ONE_SECOND if whole else REALISTIC,
            "hardships": self._hardships(total, last_s, whole),
            "router": ROUTERS[rng.choice(list(ROUTERS))]().router,
        }

    def _hardships(self, replicas: int, last_s: float, whole: bool) -> Hardships:
        rng = self.rng

        def some_s() -> float:
            return float(rng.randint(1, int(last_s))) if whole else rng.uniform(1e-3, last_s)

        deadlines = [some_s() for _ in self.case.requests] if self.has("deadlines") else None
        failures: list[Failure] = []
        if self.has("failures", 0.3):
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

    def run(self, drawn: dict[str, Any], way: dict[str, Any]) -> Records:
        """Serve a trace of its own, with invariants checked at every instant."""
        trace = trace_of(self.case.requests)
        trace.concurrency = self.concurrency
        return check_always(any_fleet(trace, **drawn, **way)).run()


def _all_ways_agree(case: Case, seed: int, chosen: tuple[str, ...] = ()) -> None:
    situation = Situation(case, random.Random(seed), chosen)
    drawn = situation.draw()
    plain, *others = (situation.run(drawn, way) for way in WAYS.values())
    for other in others:
        same_records(plain, other)
        same_totals(plain, other)
        if plain.completed.all() and not plain.retries.any():
            same_gaps(plain, other)


@pytest.mark.parametrize("pair", PAIRS, ids=" x ".join)
@settings(parent=QUICK, max_examples=25)
@given(case=cases(), seed=st.integers(0, 1 << 30))
def test_pairs_of_options(pair: tuple[str, str], case: Case, seed: int) -> None:
    """Each pair that was refused by name in earlier versions."""
    _all_ways_agree(case, seed, pair)


@settings(parent=QUICK, max_examples=150)
@given(cases(), st.integers(0, 1 << 30))
def test_random_fleets(case: Case, seed: int) -> None:
    """Everything at once, by chance."""
    _all_ways_agree(case, seed)


@pytest.mark.slow
@settings(parent=QUICK, max_examples=3000)
@given(cases(), st.integers(0, 1 << 30))
def test_random_fleets_thoroughly(case: Case, seed: int) -> None:
    """The same, many more."""
    _all_ways_agree(case, seed)
