"""What a run leaves behind: one flat row per request, a row per run of iterations, a few totals.

Every metric, price and figure is a function of these. Times are seconds of simulated time, counted
from the start of the trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.results.request_log import COMPLETED, STATUS, RequestLog
from sim.results.step_log import StepLog
from sim.results.window import WHOLE, Checkpoint, Window, between
from workloads.errors import InputError

if TYPE_CHECKING:
    from sim.engine.interface import KvMemory
    from sim.fleet.sampling import Snapshot
    from sim.providers.bills import Hosted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class EngineTotals:
    """Counters of one replica, or of several added up."""

    iterations: int = 0
    busy_s: float = 0.0
    extrapolated_s: float = 0.0
    """Part of ``busy_s`` in iterations outside of what the latency profile measured."""
    scheduled_tokens: int = 0
    num_preemptions: int = 0
    recomputed_tokens: int = 0
    """Tokens computed again after a preemption: computed at the time, less those found on resuming."""
    abandoned_tokens: int = 0
    """Tokens computed for requests that were given up or lost with their replica (less their hits)."""
    surplus_tokens: int = 0
    """Tokens computed for nothing: rejected drafts, and those of requests that had ended, as a step is
    decided before the results of the one before are known."""
    spec_decode_num_drafts: int = 0
    """Verifications: once per request and step that had drafts."""
    spec_decode_num_draft_tokens: int = 0
    spec_decode_num_accepted_tokens: int = 0
    loaded_tokens: int = 0
    """Tokens whose KV came over a link: from a lower tier, or from the replica that prefilled them."""
    queries_tokens: int = 0
    """Prompt tokens of the requests admitted, repeats after a preemption not counted."""
    hits_tokens: int = 0
    preempted_queries_tokens: int = 0
    preempted_hits_tokens: int = 0
    evicted_blocks: int = 0
    max_used_blocks: int = 0
    capacity_blocks: int = 0

    def note_usage(self, memory: KvMemory) -> None:
        """Keep the highest number of blocks in use; blocks that are only cached are free."""
        used = memory.capacity_blocks - memory.free_blocks
        if used > self.max_used_blocks:
            self.max_used_blocks = used

    def add(self, other: EngineTotals) -> None:
        """Add the counters of ``other``; the highest usage is that of the fullest replica."""
        mine, others = self.max_used_blocks, other.max_used_blocks
        if not self.capacity_blocks or others * self.capacity_blocks > mine * other.capacity_blocks:
            self.max_used_blocks, self.capacity_blocks = others, other.capacity_blocks
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_SUMMED = tuple(
    counter.name
    for counter in fields(EngineTotals)
    if counter.name not in ("max_used_blocks", "capacity_blocks")
)


@dataclass(slots=True)
class Records:
    """The finished request table as arrays, one entry per request of the trace, in its order.

    Times are NaN where the system has none (a replay has no service times). ``input_tokens`` counts
    cached tokens too.
    """

    session: Ints
    turn: Ints
    tenant: Ints
    arrival_s: Floats
    scheduled_s: Floats
    first_token_s: Floats
    finished_s: Floats
    input_tokens: Ints
    cache_read_input_tokens: Ints
    output_tokens: Ints
    replica: Ints
    preemptions: Ints
    retries: Ints
    """How often a request was sent again: its replica died, or its client tried once more."""
    status: NDArray[np.object_]
    """How each request ended: one of ``STATUS``."""
    engine: EngineTotals | None = None
    """None in a replay."""
    whole: bool = True
    """False for a part of a run whose counters are not known."""
    gpus: list[int] = field(default_factory=list)
    """GPUs of each replica."""
    steps: list[StepLog] = field(default_factory=list)
    """Gaps between tokens: one log per replica."""
    work: list[StepLog] = field(default_factory=list)
    """Iterations: one log per replica, mostly the same one (SGLang's prefills come between its decodes)."""
    samples: list[Snapshot] = field(default_factory=list)
    """The time series, where one is asked for."""
    step_rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(step, replica, request, scheduled tokens) where steps are recorded."""
    query_blocks: int | None = None
    hit_blocks: int | None = None
    evicted_blocks: int | None = None
    evicted_tokens: int | None = None
    tier: list[str | None] = field(default_factory=list)
    """The slowest tier that served a hit, per request; empty if nothing was noted."""
    hit_tokens_by_tier: dict[str, int] = field(default_factory=dict)
    hosted: Hosted | None = None
    """What a provider wrote and charges; None for other systems."""
    hits_lost_to_isolation_tokens: Ints | None = None
    """Hit tokens of the same cache shared by all tenants, less those found here, per request."""
    block_tokens: int | None = None
    """Tokens of a block, where prompts and hits of an engine can be counted in blocks."""
    bounded: bool = False
    """Whether there is a cache that can become full."""
    checkpoints: list[Checkpoint] = field(default_factory=list)
    """The counters now and then, at the end too."""
    age_s: Floats | None = None
    """How long after its session's start each request would arrive if none ever waited, if that is kept."""
    each_replica: list[list[EngineTotals]] | None = None
    """Those of each replica at each of these times, where the records are of some replicas of a fleet."""
    _started_s: Floats | None = None
    """When the session of each request started, once somebody has asked."""

    @classmethod
    def of(cls, log: RequestLog) -> Records:
        """The table as filled by a run; its columns are those of ``log``, not copies."""
        trace = log.trace
        return cls(
            session=np.array(trace.session, dtype=np.int64),
            turn=np.array(trace.turn, dtype=np.int64),
            tenant=np.array(trace.tenant, dtype=np.int64),
            arrival_s=np.frombuffer(log.arrival_s),
            scheduled_s=np.frombuffer(log.scheduled_s),
            first_token_s=np.frombuffer(log.first_token_s),
            finished_s=np.frombuffer(log.finished_s),
            input_tokens=np.array(trace.input_tokens, dtype=np.int64),
            cache_read_input_tokens=np.frombuffer(log.hit_tokens, dtype=np.int64),
            output_tokens=np.array(trace.output_tokens, dtype=np.int64),
            replica=np.frombuffer(log.replica, dtype=np.int64),
            preemptions=np.frombuffer(log.preemptions, dtype=np.int64),
            retries=np.frombuffer(log.retries, dtype=np.int64),
            status=np.array(log.status, dtype=object),
            tier=log.tier,
        )

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Which requests have all their tokens."""
        return np.asarray(self.status == COMPLETED)

    def arrived(self, window: Window) -> NDArray[np.bool_]:
        """Which requests arrive in ``window``."""
        return np.asarray((self.arrival_s >= window.start_s) & (self.arrival_s < window.end_s))

    @property
    def computed_tokens(self) -> Ints:
        """Prompt tokens computed per request, not counting repeats after a preemption."""
        return self.input_tokens - self.cache_read_input_tokens

    def only(self, counted: NDArray[np.bool_]) -> Records:
        """The rows of the requests that are ``counted``; totals of the run stay as they are."""
        columns = {
            f.name: getattr(self, f.name)[counted]
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray)
        }
        out = replace(self, **columns)
        if self.tier:
            out.tier = [tier for tier, keep in zip(self.tier, counted, strict=True) if keep]
        if self.hosted is not None:
            out.hosted = self.hosted.only(counted, counted[self.hosted.calls.request])
        return out

    @property
    def cache_creation_input_tokens(self) -> Ints:
        """Prompt tokens that were written into a provider's cache for a price, per request."""
        return np.zeros(len(self), np.int64) if self.hosted is None else self.hosted.written_tokens

    def measured(self, window: Window = WHOLE) -> Records:
        """What figures are made of: the completed ones of the requests that arrive in ``window``.

        Of a part of a run, iterations and counters are those of its time. Counters that were not noted
        where it begins and ends become None, and ``engine`` keeps what can be told.
        """
        arrived = self.arrived(window)
        counted = self.completed & arrived
        if counted.all() and window.is_whole:
            return self
        out = self.only(counted)
        if self.hosted is not None:  # what was not answered is billed
            out.hosted = self.hosted.only(counted, arrived[self.hosted.calls.request])
        out.query_blocks = out.hit_blocks = None  # they count all requests
        if self.block_tokens is not None:
            out.query_blocks = int((out.input_tokens // self.block_tokens).sum())
            out.hit_blocks = int((out.cache_read_input_tokens // self.block_tokens).sum())
        if not window.is_whole:
            out.count_in(window)
        return out

    def started(self, window: Window) -> NDArray[np.bool_]:
        """Which requests are of sessions that start in ``window``."""
        if window.is_whole:
            return np.ones(len(self), bool)
        if self._started_s is None:
            _, session = np.unique(self.session, return_inverse=True)
            first_s = np.full(int(session.max(initial=0)) + 1, np.inf)
            np.minimum.at(first_s, session, self.arrival_s)
            self._started_s = first_s[session]
        return np.asarray((self._started_s >= window.start_s) & (self._started_s < window.end_s))

    def answered(self, window: Window) -> Records:
        """The completed requests of the sessions that start in ``window``, later ones too."""
        inside = self.started(window)
        out = self.only(self.completed & inside)
        if self.hosted is not None:  # what was not answered is billed
            out.hosted = self.hosted.only(self.completed & inside, inside[self.hosted.calls.request])
        return out

    def count_in(self, window: Window) -> None:
        """Keep of iterations and counters those of ``window``."""
        cut = {id(log): log.within(window) for log in (*self.steps, *self.work)}  # mostly the same ones
        self.steps = [cut[id(log)] for log in self.steps]
        self.work = [cut[id(log)] for log in self.work]
        counted = between(self.checkpoints, window)
        self.whole = counted is not None
        self.evicted_blocks = self.evicted_tokens = None
        first_tier = next(iter(self.hit_tokens_by_tier), None)
        self.hit_tokens_by_tier = {}
        if counted is not None:
            self.evicted_blocks, self.evicted_tokens = counted.evicted_blocks, counted.evicted_tokens
            if self.block_tokens is None:
                self.query_blocks = counted.query_blocks or None
                self.hit_blocks = counted.hit_blocks if counted.query_blocks else None
            if first_tier is not None:
                below = sum(counted.tier_hits.values())
                first = {} if counted.totals is None else {first_tier: counted.totals.hits_tokens - below}
                self.hit_tokens_by_tier = {**first, **counted.tier_hits}
        if self.engine is None:
            return
        totals = counted.totals if counted is not None else None
        self.engine = replace(
            totals or self.engine,
            iterations=sum(sum(log.iterations) for log in self.work),
            busy_s=math.fsum(log.busy_s for log in self.work),
        )
        if totals is None:
            self.engine.num_preemptions = int(self.preemptions.sum())

    def check(self) -> None:
        """Assert conservation: every request ends once, tokens in = hit + computed (+ recomputed).

        Tokens computed for requests that did not complete are counted apart (``abandoned_tokens``).
        """
        hits, done = self.cache_read_input_tokens, self.completed
        assert (hits >= 0).all() and (hits <= self.input_tokens).all()
        assert not np.isnan(self.arrival_s).any()
        assert all(status in STATUS for status in self.status), "a request has not ended"
        if self.hosted is not None:
            self._check_calls(self.hosted)
        if self.engine is None:
            return
        assert (np.isnan(self.finished_s) != done).all()
        assert (self.arrival_s[done] <= self.scheduled_s[done]).all()
        assert (self.scheduled_s[done] <= self.first_token_s[done]).all()
        if (self.scheduled_s[done] == self.first_token_s[done]).any():
            at_s = float(self.scheduled_s[done][self.scheduled_s[done] == self.first_token_s[done]].max())
            raise InputError(
                f"an iteration at {at_s:.6g} s is shorter than what a 64-bit clock tells there "
                f"({math.ulp(at_s):.1g} s); allowed: longer iterations, or a workload that ends before"
            )
        assert (self.first_token_s[done] <= self.finished_s[done]).all()
        assert (hits < self.input_tokens).all(), "an engine computes at least the last prompt token"
        # The last sampled token of a request is never computed.
        needed = int((self.computed_tokens + self.output_tokens - 1)[done].sum())
        engine = self.engine
        extra = engine.recomputed_tokens + engine.abandoned_tokens + engine.surplus_tokens
        assert engine.scheduled_tokens == needed + extra
        assert self.engine.num_preemptions == int(self.preemptions.sum())

    def _check_calls(self, hosted: Hosted) -> None:
        """Assert that every call is billed once: the answered one of a request, and those before it."""
        hits, done, calls = self.cache_read_input_tokens, self.completed, hosted.calls
        calls.check()
        assert (hits + hosted.written_tokens <= self.input_tokens).all()
        answered = ~calls.given_up
        assert np.array_equal(np.sort(calls.request[answered]), np.flatnonzero(done))
        assert np.array_equal(np.bincount(calls.request, minlength=len(self)), self.retries + 1)
        assert (calls.input_tokens == self.input_tokens[calls.request]).all()
        assert (calls.output_tokens[answered] == self.output_tokens[calls.request[answered]]).all()
        assert (
            calls.output_tokens[calls.given_up] < self.output_tokens[calls.request[calls.given_up]]
        ).all()
        assert (calls.read_tokens[answered] == hits[calls.request[answered]]).all()
        times = np.isfinite(self.finished_s)
        assert not times.any() or np.array_equal(times, done)
        assert (self.arrival_s[times] <= self.scheduled_s[times]).all()
        assert (self.scheduled_s[times] <= self.first_token_s[times]).all()
        assert (self.first_token_s[times] <= self.finished_s[times]).all()
