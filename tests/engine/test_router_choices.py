"""Routers that ask few replicas choose as those that ask all, in random fleets."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches.block import BlockCache
from sim.caches.replay import BlockConfig
from sim.engine.interface import AnyReplica
from sim.engine.latency import IterationTime
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.fleet import Fleet
from sim.fleet.plan import Failure, Hardships, ReplicaPlan
from sim.fleet.routers import ROUTERS, Router, RouterSetting
from sim.fleet.routers.kv_aware import KvAware, KvAwareConfig
from sim.fleet.routers.least_loaded import LeastLoaded
from sim.fleet.routers.prefix import Prefix, PrefixConfig
from tests.caches.cases import QUICK
from tests.engine.comparing import REALISTIC, chat, same_records
from tests.engine.driving import ONE_SECOND
from tests.engine.driving_sglang import sglang_fleet
from tests.oracles.naive_routers import NaiveKvAware, NaiveLeastLoaded, NaivePrefix
from workloads.content import ROOT, Route
from workloads.trace import NONE, Trace


@dataclass
class Both:
    """A router that asks another one and its naive model, which have to agree."""

    router: Router
    naive: Any

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        number = self.router.choose(request, replicas)
        if isinstance(self.router, KvAware):
            self.router.check()
        assert number == self.naive.choose(request, replicas)
        return number


class Situation:
    """A random trace of shared, forked and repeated prompts, and a fleet that serves it."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.whole = rng.random() < 0.5  # seconds, so that much happens at one instant
        self._seed = seed
        self._size = rng.choice([1, 2, 3, 16])
        self._replicas = rng.randint(2, 12)
        self._engine = rng.choice(["runs", "steps", "recorded", "async", "sglang"])
        self.eviction = rng.choice(["lru", "lru", "lfu", "sieve", "s3-fifo", "gdsf"])
        self._caching = rng.random() < 0.9
        self._spare = rng.choice([0, 5, 100])
        self._seqs = rng.choice([1, 2, 8])
        trace = self.trace()
        self._hardships = Hardships(
            max_queued_requests=rng.choice([None, 2]),
            deadline_s=rng.choice([None, [rng.uniform(1, 20) for _ in range(len(trace))]]),
            failures=tuple(
                Failure(replica, float(rng.randint(1, 10)), rng.choice([None, 12.0]))
                for replica in range(1, self._replicas)
                if rng.random() < 0.3
            ),
        )

    def trace(self) -> Trace:
        """The same one at every call."""
        rng, trace = random.Random(self._seed), Trace()
        ends = [ROOT]
        for request in range(rng.randint(2, 50)):
            prompt = rng.choice(ends)
            if prompt == ROOT or rng.random() < 0.7:
                prompt = trace.content.append(prompt, rng.randint(1, 30))
            follows = NONE
            if request and rng.random() < 0.3 and trace.follower[request - 1] == NONE:
                follows = request - 1
            at = float(rng.randint(0, 12)) if self.whole else rng.uniform(0, 2)
            trace.add(
                prompt=prompt,
                output_tokens=rng.randint(1, 20),
                arrival_s=at if follows == NONE else None,
                follows=follows,
            )
            ends += [prompt, trace.reply[-1]]
        return trace

    def fleet(self, make: Any) -> Fleet:
        """A fresh fleet with the router that ``make(setting)`` makes."""
        trace = self.trace()
        sizes = zip(trace.input_tokens, trace.output_tokens, strict=True)
        blocks = max(-(-(prompt + output) // self._size) for prompt, output in sizes) + self._spare
        times = ONE_SECOND if self.whole else REALISTIC
        if self._engine == "sglang":
            return sglang_fleet(
                trace,
                pages=blocks + 2,
                page_size=self._size,
                caching=self._caching,
                chunked_prefill_size=self._size * 8,
                max_running_requests=self._seqs,
                replicas=self._replicas,
                coefficients=times,
                hardships=self._hardships,
                router=make,
            )
        cache = BlockConfig(kind="block", block_size=self._size, eviction=self.eviction)
        plan = ReplicaPlan(
            memory=lambda evicted: BlockCache(
                trace.content,
                self._size,
                blocks,
                caching=self._caching,
                queue=cache.queue(trace, blocks),
                evicted=evicted,
            ),
            latency=IterationTime(times),
            options=SchedulerOptions(16, self._seqs, async_scheduling=self._engine == "async"),
            fast_forward=self._engine != "steps",
        )
        return Fleet(
            trace,
            [plan] * self._replicas,
            make,
            hardships=self._hardships,
            record_steps=self._engine == "recorded",
        )


def _choose_alike(seed: int) -> None:
    situation, rng = Situation(seed), random.Random(~seed)
    scale, credit = rng.choice([0.0, 0.5, 1.0, 1.0, 3.0]), rng.choice([0.0, 0.7, 1.0, 1.0])
    kv_aware = KvAwareConfig(prefill_load_scale=scale, overlap_score_credit=credit)
    prefix = PrefixConfig(
        cache_threshold=rng.choice([0.0, 0.3, 0.8]),
        balance_abs_threshold=rng.choice([0, 1, 5]),
        balance_rel_threshold=rng.choice([1.0, 1.5]),
        max_tree_tokens=rng.choice([1, 50, 200, 10_000]),
    )

    def least(setting: RouterSetting) -> Both:
        return Both(LeastLoaded(), NaiveLeastLoaded())

    def longest(setting: RouterSetting) -> Both:
        naive = NaivePrefix(
            setting.trace,
            prefix.cache_threshold,
            prefix.balance_abs_threshold,
            prefix.balance_rel_threshold,
            prefix.max_tree_tokens,
        )
        return Both(Prefix(prefix, setting), naive)

    def cheapest(setting: RouterSetting) -> Both:
        return Both(KvAware(kv_aware, setting), NaiveKvAware(setting.trace, scale, credit))

    situation.fleet(least).run()
    situation.fleet(longest).run()
    records = situation.fleet(cheapest).run()
    alone = situation.fleet(kv_aware.router).run()
    if situation.eviction == "lru":  # what others evict can depend on when a run of iterations is looked at
        same_records(records, alone)


@QUICK
@given(st.integers(0, 1 << 30))
def test_routers_choose_as_those_that_ask_every_replica(seed: int) -> None:
    """To the last tie; and that all replicas are looked at changes nothing."""
    _choose_alike(seed)


@pytest.mark.slow
@settings(parent=QUICK, max_examples=3000)
@given(st.integers(0, 1 << 30))
def test_routers_choose_as_those_that_ask_every_replica_thoroughly(seed: int) -> None:
    """The same, many more."""
    _choose_alike(seed)


class Counted:
    """A replica, and how often it was asked what it has cached."""

    def __init__(self, replica: AnyReplica) -> None:
        self._replica = replica
        self.lookups = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._replica, name)

    def cached_tokens(self, route: Route, tokens: int) -> int:
        self.lookups += 1
        return self._replica.cached_tokens(route, tokens)


@pytest.mark.parametrize("caching", [True, False])
def test_few_replicas_are_looked_up(caching: bool) -> None:
    """Of 200 replicas that share a system prompt two or three are asked per request."""
    trace = chat(1)
    counted: list[Any] = []

    class Counting:
        def __init__(self, setting: RouterSetting) -> None:
            self.router = ROUTERS["kv_aware"]().router(setting)

        def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
            if not counted:
                counted.extend(map(Counted, replicas))
            return self.router.choose(request, counted)

    plan = ReplicaPlan(
        memory=lambda _: BlockCache(trace.content, 16, 500, caching=caching),
        latency=IterationTime(REALISTIC),
        options=SchedulerOptions(2048, 128),
    )
    Fleet(trace, [plan] * 200, Counting).run()
    assert sum(replica.lookups for replica in counted) < 3 * len(trace)
