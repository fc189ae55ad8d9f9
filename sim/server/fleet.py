"""An engine fleet that serves live."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from sim.caches.eviction import POLICIES
from sim.caches.ids import IdsConfig
from sim.caches.radix_replay import RadixConfig
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig
from sim.results.records import Records
from sim.results.request_log import ABORTED, COMPLETED, NAN, REJECTED, STATUS, TIMED_OUT
from sim.server.draws import Draws
from sim.server.live import About, State, Times, Usage
from sim.server.streams import Streams
from sim.systems import deadlines
from sim.systems.engine import EngineSystem
from sim.systems.fleet_run import finished, fleet_of
from workloads.errors import InputError
from workloads.trace import Trace

MOST_ITERATIONS = 100_000
"""So many are kept for `LiveFleet.iterations`, which nobody may ask for."""
LEFT = "given up by its client"
LOST = {
    TIMED_OUT: "the deadline of the configuration has passed",
    ABORTED: "the engine has aborted the request",
    REJECTED: "no replica takes the request",
}


def require_live(system: EngineSystem, key: str) -> None:
    """InputError unless the cache of ``system`` can take prompts while time runs.

    A cache whose decisions depend on where prompts will part would decide otherwise in a replay, which
    knows that.
    """
    cache, allowed = system.cache, ""
    if isinstance(cache, BlockConfig) and not POLICIES[cache.eviction].joins:
        allowed = "eviction: " + " or ".join(name for name, policy in POLICIES.items() if policy.joins)
    elif isinstance(cache, TieredConfig) and not cache.takes_time:
        allowed = "gb_per_s for every tier but the first"
    elif isinstance(cache, TieredConfig) and cache.write == "write_back":
        allowed = "write: write_through or write_through_selective"
    elif isinstance(cache, IdsConfig) or (isinstance(cache, RadixConfig) and system.is_beside):
        allowed = "block, none, ideal, message, layered, tiered"
    if allowed:
        raise InputError(
            f"{key}.cache: of this kind ({cache.kind}) a live system knows too little of what is to come; "
            f"allowed: {allowed}"
        )


class LiveFleet:
    """`Fleet` with its router, tiers, deadlines and failures as configured; retries are up to clients.

    Every iteration is decided by itself, so that each token is told when it comes. Clients see a token when
    it has been computed, later by what the latency profile says of requests (``request``) and, as it says
    so in output times that are not known yet, by its ``depth`` times a step of one decode.
    """

    def __init__(self, system: EngineSystem, name: str, trace: Trace, folder: Path) -> None:
        self._system, self._trace = system, trace
        self._deadline_s: list[float] = []
        deadline = system.deadline_s
        self._deadlines: Draws | None = None
        if deadline is not None:
            self._deadlines = Draws(lambda n: deadlines.drawn(deadline, trace.seed, n).tolist())
        self._iterations: deque[int] = deque(maxlen=MOST_ITERATIONS)
        self._leaving: int | None = None  # whose client leaves at this moment
        self.fleet, self._tier_hits = fleet_of(
            system,
            trace,
            folder,
            lambda done: None,
            system.cache,
            live=self,
            deadline_s=None if deadline is None else self._deadline_s,
        )
        latencies = [plan.latency for plan in self.fleet.plans]
        self.seen_after_s = max(
            latency.request_s + latency.depth * latency.decodes_s(1, 0, 0) for latency in latencies
        )
        self.env = self.fleet.env
        self.streams = Streams(self.env)
        self._ended = dict.fromkeys(STATUS, 0)
        memory = self.fleet.replicas[0].memory
        replicas = self.fleet.replicas
        engine = system.pools[0].engine if system.pools else system.engine
        self.about = About(
            "engine",
            name,
            system.model_name(folder),
            replicas=len(replicas),
            block_size=memory.block_size,
            kv_blocks=sum(replica.memory.capacity_blocks for replica in replicas),
            max_model_len=engine.max_model_len,
        )

    def arrive(self, index: int) -> None:
        """The newest request of the trace is sent now."""
        if self._deadlines is not None:
            self._deadline_s.append(self._deadlines[index])
        self.fleet.arrive(index)

    def leave(self, index: int) -> None:
        """The client of request ``index`` has gone."""
        self._leaving = index
        self.fleet.leave(index)
        self._leaving = None

    def refusal(self, index: int) -> tuple[str, str] | None:
        """Why a request that has just arrived was turned away, as kind and message; None: it was not."""
        if self.fleet.log.status[index] != REJECTED:
            return None
        prompt = self._trace.content.end[self._trace.prompt[index]]
        output = self._trace.output_tokens[index]
        limits = [plan.too_long for plan in self.fleet.plans]
        if any(too_long is not None and too_long(prompt, output) for too_long in limits):
            return "too_long", f"{prompt} prompt tokens and {output} more are longer than the engine serves"
        return "queue_full", "the queue is full, or no replica is alive"

    # -- what the fleet tells ----------------------------------------------------------------------

    def iteration(self, tokens: int) -> None:
        """An iteration has been scheduled that computes so many tokens."""
        self._iterations.append(tokens)

    def tokens(self, index: int, tokens: int) -> None:
        """Of the reply to request ``index`` so many tokens have been computed by now."""
        self.streams.tokens(index, tokens, self.seen_after_s)

    def over(self, index: int, seen_after_s: float) -> None:
        """Request ``index`` has ended, which its client sees ``seen_after_s`` from now."""
        status = self.fleet.log.status[index]
        assert status is not None
        self._ended[status] += 1
        lost = None if status == COMPLETED else LOST[status]
        self.streams.over(index, seen_after_s, LEFT if self._leaving == index else lost)

    # -- what others see ---------------------------------------------------------------------------

    def iterations(self) -> list[int]:
        """Tokens of each iteration since the last call, the latest of very many."""
        found = list(self._iterations)
        self._iterations.clear()
        return found

    def usage(self, index: int, output_tokens: int) -> Usage:
        """What is known so far of the request."""
        prompt = self._trace.content.end[self._trace.prompt[index]]
        row = self.fleet.row(index)
        hits = self.fleet.log.hit_tokens[index] if row is None else row.hit_tokens
        return Usage(prompt, hits, output_tokens=output_tokens)

    def times(self, index: int) -> Times:
        """What is known so far of its times, as its client sees them."""
        arrival_s = self._trace.arrival_s[index]
        assert arrival_s is not None
        row, log = self.fleet.row(index), self.fleet.log
        if row is not None:
            return Times(arrival_s, row.scheduled_s, row.first_token_s + self.seen_after_s, NAN)
        return Times(arrival_s, log.scheduled_s[index], log.first_token_s[index], log.finished_s[index])

    def state(self, now_s: float) -> State:
        """The counters as they stand. O(replicas)."""
        replicas = self.fleet.replicas
        waiting = sum(replica.queued for replica in replicas)
        held = sum(replica.held_blocks for replica in replicas)
        queries = sum(replica.totals.queries_tokens for replica in replicas)
        hits = sum(replica.totals.hits_tokens for replica in replicas)
        return State(
            now_s=now_s,
            running=sum(replica.load for replica in replicas) - waiting,
            waiting=waiting,
            kv_usage=held / max(1, sum(replica.memory.capacity_blocks for replica in replicas)),
            prompt_tokens=queries,
            hit_tokens=hits,
            output_tokens=self.streams.output_tokens,
            completed=self._ended[COMPLETED],
            aborted=sum(self._ended[status] for status in (ABORTED, TIMED_OUT)),
            preemptions=sum(replica.totals.num_preemptions for replica in replicas),
            cost_usd=self._cost_usd(now_s, queries, hits),
        )

    def _cost_usd(self, now_s: float, queries: int, hits: int) -> float:
        price = self._system.price
        if price is None:
            return 0.0
        if price.gpu_hour_usd is not None:
            return price.gpu_hour_usd * sum(plan.gpus for plan in self.fleet.plans) * now_s / 3600
        assert price.input_usd_per_1m is not None
        cached = price.cached_input_usd_per_1m
        cached = price.input_usd_per_1m if cached is None else cached
        paid = (queries - hits) * price.input_usd_per_1m + hits * cached
        return (paid + self.streams.output_tokens * price.output_usd_per_1m) / 1e6

    def records(self) -> Records:
        """The table of what happened, now that all requests are over."""
        return finished(self._system, self.fleet.records(), self._system.cache, self._tier_hits)
