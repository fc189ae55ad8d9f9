"""What a run leaves behind: one flat row per request, a row per run of iterations, a few totals.

Every metric, price and figure is a function of these. Times are seconds of simulated time, counted
from the start of the trace.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.engine.interface import KvMemory
    from sim.fleet.sampling import Snapshot
    from sim.providers.bills import Hosted

NAN = float("nan")
COMPLETED, REJECTED, TIMED_OUT, ABORTED = STATUS = ("completed", "rejected", "timed_out", "aborted")
"""How a request can end. Aborted: the engine itself gave it up."""
TICK_REQUESTS = 2048
"""Progress is told every so many requests."""
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
    """Tokens computed for requests that had ended: SGLang decides a step before it knows the last one's."""
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
        for name in EngineTotals.__slots__:
            if name not in ("max_used_blocks", "capacity_blocks"):
                setattr(self, name, getattr(self, name) + getattr(other, name))


class StepLog:
    """Iterations as runs (``iterations`` equal batches of ``decodes`` decodes) and irregular gaps."""

    __slots__ = (
        "decodes", "end_s", "first_s", "first_tokens", "gaps_end_s", "gaps_s", "iterations", "slope_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.end_s = array("d")
        self.first_s = array("d")
        """Duration of the run's first iteration; each further one takes ``slope_s`` longer."""
        self.slope_s = array("d")
        self.iterations = array("q")
        self.decodes = array("q")
        self.first_tokens = array("q")
        """Tokens that completed prefills gave at the end of the run."""
        self.gaps_s: list[float] = []
        """Gaps between a request's tokens across a preemption."""
        self.gaps_end_s: list[float] = []

    def add(
        self,
        end: float,
        first: float,
        slope: float,
        iterations: int,
        decodes: int,
        first_tokens: int,
    ) -> None:
        self.end_s.append(end)
        self.first_s.append(first)
        self.slope_s.append(slope)
        self.iterations.append(iterations)
        self.decodes.append(decodes)
        self.first_tokens.append(first_tokens)

    def add_gap(self, end: float, gap: float) -> None:
        self.gaps_end_s.append(end)
        self.gaps_s.append(gap)

    def after(self, start_s: float) -> StepLog:
        """The iterations and gaps that end after ``start_s``."""
        out = StepLog()
        rows = zip(
            self.end_s, self.first_s, self.slope_s, self.iterations, self.decodes, self.first_tokens,
            strict=True,
        )  # fmt: skip
        for end, first, slope, iterations, decodes, first_tokens in rows:
            if end <= start_s:
                continue
            before, at = 0, end - (first * iterations + slope * (iterations * (iterations - 1) // 2))
            while at + first + slope * before <= start_s:
                at += first + slope * before
                before += 1
            out.add(end, first + slope * before, slope, iterations - before, decodes, first_tokens)
        for end, gap in zip(self.gaps_end_s, self.gaps_s, strict=True):
            if end > start_s:
                out.add_gap(end, gap)
        return out

    @property
    def busy_s(self) -> float:
        """Time in iterations, s."""
        n = np.array(self.iterations, dtype=np.int64)
        return float((np.array(self.first_s) * n + np.array(self.slope_s) * (n * (n - 1) // 2)).sum())


class RequestRow:
    """What has become of one request so far; it travels with the request, whichever replica has it."""

    __slots__ = (
        "aborted", "arrival_s", "finished_s", "first_token_s", "hit_tokens", "index", "preemptions",
        "replica", "retries", "scheduled_s", "tier", "tries",
    )  # fmt: skip

    def __init__(self, index: int, arrival_s: float) -> None:
        self.index = index
        self.arrival_s = arrival_s
        self.scheduled_s = NAN
        self.first_token_s = NAN
        self.finished_s = NAN
        self.hit_tokens = 0
        self.replica = -1
        """The replica that gave the last token."""
        self.preemptions = 0
        self.retries = 0
        self.tries = 0
        """How often its client was not answered so far."""
        self.tier: str | None = None
        """The slowest tier that served a hit."""
        self.aborted = False
        """Whether the engine itself gave it up."""

    def retry(self) -> None:
        """The request starts anew: what it had is lost, when it first arrived is not."""
        self.retries += 1
        self.hit_tokens = 0
        self.scheduled_s = self.first_token_s = NAN
        self.tier = None


class RequestLog:
    """The request table while it is being filled; one entry per request of the trace.

    Arrays, not lists: a run of a million requests writes them once and reads them when it is over.
    """

    def __init__(self, trace: Trace) -> None:
        n = len(trace)
        self.trace = trace
        self.arrival_s = array("d", [NAN]) * n
        self.scheduled_s = array("d", [NAN]) * n
        self.first_token_s = array("d", [NAN]) * n
        self.finished_s = array("d", [NAN]) * n
        self.hit_tokens = array("q", [0]) * n
        self.replica = array("q", [-1]) * n
        self.preemptions = array("q", [0]) * n
        self.retries = array("q", [0]) * n
        self.status: list[str | None] = [None] * n
        """How it ended, one of ``STATUS``; None while it has not."""
        self.tier: list[str | None] = [None] * n

    def end(self, index: int, status: str) -> None:
        """Request ``index`` is over; it must not have been before."""
        assert self.status[index] is None, "a request ends once"
        self.status[index] = status

    def write(self, row: RequestRow, status: str) -> None:
        """The request of ``row`` is over."""
        index = row.index
        self.end(index, status)
        self.arrival_s[index] = row.arrival_s
        self.scheduled_s[index] = row.scheduled_s
        self.first_token_s[index] = row.first_token_s
        self.finished_s[index] = row.finished_s
        self.hit_tokens[index] = row.hit_tokens
        self.replica[index] = row.replica
        self.preemptions[index] += row.preemptions
        self.retries[index] = row.retries
        self.tier[index] = row.tier


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
    """False for what is left of a run after a warm-up."""
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
    hits_lost_to_isolation_tokens: int | None = None
    """Hit tokens of the same cache shared by all tenants, less those found here."""

    @classmethod
    def of(cls, log: RequestLog) -> Records:
        """The table as filled by a run."""
        trace = log.trace
        return cls(
            session=np.array(trace.session, dtype=np.int64),
            turn=np.array(trace.turn, dtype=np.int64),
            tenant=np.array(trace.tenant, dtype=np.int64),
            arrival_s=np.array(log.arrival_s),
            scheduled_s=np.array(log.scheduled_s),
            first_token_s=np.array(log.first_token_s),
            finished_s=np.array(log.finished_s),
            input_tokens=np.array(trace.input_tokens, dtype=np.int64),
            cache_read_input_tokens=np.array(log.hit_tokens, dtype=np.int64),
            output_tokens=np.array(trace.output_tokens, dtype=np.int64),
            replica=np.array(log.replica, dtype=np.int64),
            preemptions=np.array(log.preemptions, dtype=np.int64),
            retries=np.array(log.retries, dtype=np.int64),
            status=np.array(log.status, dtype=object),
            tier=log.tier,
        )

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Which requests have all their tokens."""
        return np.asarray(self.status == COMPLETED)

    @property
    def gpu_busy_s(self) -> float:
        """GPU time in iterations, s: a replica's time counts once for each of its GPUs."""
        return sum(log.busy_s * gpus for log, gpus in zip(self.work, self.gpus, strict=True))

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

    def measured(self, warmup_s: float = 0.0) -> Records:
        """What figures are made of: the completed ones of the requests that arrived from ``warmup_s`` on.

        With a warm-up, iterations count from then on too, and what was not counted by the time is gone:
        ``engine`` keeps what can be told, and evictions become None. Blocks asked for and found are those
        of all requests, or None.
        """
        after = self.arrival_s >= warmup_s
        counted = self.completed & after
        if counted.all():
            return self
        out = self.only(counted)
        if self.hosted is not None:  # what was not answered is billed
            out.hosted = self.hosted.only(counted, after[self.hosted.calls.request])
        out.query_blocks = out.hit_blocks = None  # they count all requests
        if warmup_s > 0:
            out.whole = False
            out.evicted_blocks = out.evicted_tokens = None
            out.hit_tokens_by_tier, out.hits_lost_to_isolation_tokens = {}, None
            out.steps = [log.after(warmup_s) for log in self.steps]
            out.work = [log.after(warmup_s) for log in self.work]
            if self.engine is not None:
                out.engine = replace(
                    self.engine,
                    iterations=sum(sum(log.iterations) for log in out.work),
                    busy_s=sum(log.busy_s for log in out.work),
                    num_preemptions=int(out.preemptions.sum()),
                )
        return out

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
        assert (self.scheduled_s[done] < self.first_token_s[done]).all()
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
