"""A time series of every replica: how many run and wait, how full the KV memory is, what is hit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sim.engine.events import AFTER_REPLICAS, Clock
from sim.engine.interface import AnyReplica
from workloads.errors import InputError

MOST_SAMPLES = 5_000_000


class Snapshot(NamedTuple):
    """One replica at one time; field names are the columns of timeseries.parquet."""

    time_s: float
    replica: int
    num_requests_running: int
    """Those that load KV included."""
    num_requests_waiting: int
    kv_cache_usage_perc: float
    """Share of the KV blocks that requests hold, from 0 to 1 (vLLM's name and range)."""
    prefix_cache_queries_tokens: int
    """Prompt tokens of the requests admitted since the sample before."""
    prefix_cache_hits_tokens: int
    """Of these, found; what came over a link to a replica that only decodes is among them."""


class Sampler:
    """Looks at all replicas every ``interval_s`` until nothing is left to happen.

    A sample at the time of other events shows what they leave behind. Looking changes nothing.
    """

    def __init__(
        self,
        env: Clock,
        replicas: Sequence[AnyReplica],
        interval_s: float,
        going_on: Callable[[], bool],
    ) -> None:
        self._going_on = going_on
        self.samples: list[Snapshot] = []
        self._env = env
        self._replicas = replicas
        self._interval_s = interval_s
        self._seen = [(0, 0)] * len(replicas)
        self._number = 0
        env.at(env.now_s, AFTER_REPLICAS + 1, self._look)

    def _look(self, _: None) -> None:
        if len(self.samples) > MOST_SAMPLES:
            raise InputError(
                f"sample_s = {self._interval_s:g}: over {MOST_SAMPLES:,} samples by "
                f"{self._env.now_s:,.0f} s; allowed: a longer interval"
            )
        for place, replica in enumerate(self._replicas):
            totals = replica.totals
            now = totals.queries_tokens, totals.hits_tokens
            before, self._seen[place] = self._seen[place], now
            waiting = replica.queued
            self.samples.append(
                Snapshot(
                    self._env.now_s,
                    replica.number,
                    replica.load - waiting,
                    waiting,
                    replica.held_blocks / replica.memory.capacity_blocks,
                    now[0] - before[0],
                    now[1] - before[1],
                )
            )
        if self._going_on() and self._env.peek() < float("inf"):
            self._number += 1
            self._env.at(self._number * self._interval_s, AFTER_REPLICAS + 1, self._look)
