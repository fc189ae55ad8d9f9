"""One replica that decides every step, without a fleet, beside the naive scheduler on the same clock."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sim.caches.block import BlockTable
from sim.caches.lookahead import LookaheadTree
from sim.engine.events import ARRIVAL, Clock
from sim.engine.latency import IterationTime
from sim.engine.request import Request
from sim.engine.step_records import StepRecord, StepRecorder
from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.progress import LIVELOCK_STEPS
from sim.engine.vllm.replica import VllmReplica
from sim.fleet.plan import ranks
from sim.hardware.coefficients import Coefficients
from sim.results.itl import gaps_of
from sim.results.request_log import COMPLETED, RequestLog, RequestRow
from tests.engine.driving import LAST, ONE_SECOND, memory_of
from tests.oracles import naive_vllm
from tests.oracles.naive_vllm import NaiveBlockPool, NaiveRequest, NaiveScheduler
from workloads.trace import Trace


class Drive:
    """A trace and the replica that serves it; ``run`` gives the step records.

    With ``concurrency`` the requests come in order, that many at first and then one as soon as another
    finishes; without, each comes at its arrival. ``added`` notes how many steps had been scheduled by
    then. ``same_arrival`` makes all arrivals equal to the scheduler.
    """

    def __init__(
        self,
        trace: Trace,
        options: SchedulerOptions,
        *,
        blocks: int,
        block_size: int = 16,
        caching: bool = True,
        groups: Sequence[str] | None = None,
        eagle: bool = False,
        lookahead: int = 0,
        concurrency: int | None = None,
        same_arrival: bool = False,
        coefficients: Coefficients = ONE_SECOND,
    ) -> None:
        self.trace = trace
        self._content = LookaheadTree(trace.content, lookahead) if lookahead else trace.content
        self.env = Clock()
        self.log = RequestLog(trace)
        self.recorder = StepRecorder()
        self.added = [0] * len(trace)
        self._prompt_tokens = trace.input_tokens
        self._concurrency = concurrency
        self._same_arrival = same_arrival
        self._next = 0
        self.replica = VllmReplica(
            0,
            self.env,
            memory_of(
                self._content,
                block_size,
                blocks,
                caching=caching,
                groups=groups,
                eagle=eagle,
                evicted=self.recorder.evicted,
            ),
            IterationTime(coefficients),
            options,
            finished=self._finished,
            left=lambda request: None,
            rank=ranks(trace),
            recorder=self.recorder,
        )

    def run(self, *, check: bool = False) -> list[StepRecord]:
        """Serve the whole trace; ``check`` looks at the replica's invariants at every instant."""
        if self._concurrency is None:
            for index in self.trace.starts():
                at_s = self.trace.arrival_s[index]
                assert at_s is not None
                self.env.at(at_s, ARRIVAL, self._arrive, index)
        else:
            for _ in range(min(self._concurrency, len(self.trace))):
                self._submit_next()
        if check:
            self.env.at(self.env.now_s, LAST, self._check)
        self.env.run()
        self.replica.check()
        memory = self.replica.memory
        assert memory.free_blocks == memory.capacity_blocks, "blocks leaked"
        return self.recorder.records

    def check_sums(self) -> None:
        """Assert that tokens in and out, preemptions and the gaps between tokens add up."""
        trace, log, totals = self.trace, self.log, self.replica.totals
        generated = sum(trace.output_tokens) - len(trace)  # after the first ones
        needed = sum(trace.input_tokens) - sum(log.hit_tokens) + generated
        assert totals.scheduled_tokens == needed + totals.recomputed_tokens
        assert totals.scheduled_tokens == sum(tokens for *_, tokens in self.recorder.rows())
        assert totals.num_preemptions == sum(log.preemptions)
        assert totals.iterations == totals.busy_s == sum(bool(r.sched) for r in self.recorder.records)
        gaps = gaps_of([self.replica.steps])
        assert gaps.count == generated
        if generated:
            decode_s = sum(log.finished_s) - sum(log.first_token_s)
            assert abs(gaps.mean * generated - decode_s) < 1e-6

    def _check(self, _: None) -> None:
        self.replica.check()
        assert (
            self.replica.held_blocks + self.replica.memory.free_blocks
            == self.replica.memory.capacity_blocks
        )
        if self.env.peek() < float("inf"):
            self.env.at(self.env.peek(), LAST, self._check)

    def _arrive(self, index: int) -> None:
        self._submit(index)

    def _finished(self, request: Request) -> None:
        self.log.write(request.row, COMPLETED)
        if self._concurrency is not None and self._next < len(self.trace):
            self._submit_next()

    def _submit_next(self) -> None:
        self._next += 1
        self._submit(self._next - 1)

    def _submit(self, index: int) -> None:
        trace = self.trace
        row = RequestRow(index, 0.0 if self._same_arrival else self.env.now_s)
        self.added[index] = len(self.recorder.records)
        table = BlockTable(self._content.route(trace.reply[index]), self._prompt_tokens[index], index)
        self.replica.submit(Request(row, table, trace.output_tokens[index], []))


@dataclass
class Row:
    """What happened to one request, read off the step records alone."""

    hits_all: list[int]
    """Cached tokens of every admission."""
    sched: int = 0
    first: int | None = None
    done: int | None = None
    chunks: int = 0
    preempt: int = 0
    used_blocks: int | None = None


def rows_of(trace: Trace, records: list[StepRecord]) -> list[Row]:
    """One row per request; a step is named by its place in ``records``.

    Tokens add up to what is known at the time: the prompt and one more for every step that reached it.
    """
    rows = [Row([]) for _ in range(len(trace))]
    computed, sampled = [0] * len(trace), [0] * len(trace)
    prompts = trace.input_tokens
    for step, record in enumerate(records):
        for i in record.preempted:
            rows[i].preempt += 1
        for i, _ in record.new:
            rows[i].sched = step
        for i, cached in [*record.new, *record.resumed]:
            rows[i].hits_all.append(cached)
            computed[i] = cached
        for i, tokens in record.sched:
            computed[i] += tokens
            complete = computed[i] == prompts[i] + sampled[i]
            rows[i].chunks += tokens > 1 or not complete
            sampled[i] += complete
            if complete and rows[i].first is None:
                rows[i].first = step
        for i in record.finished:
            rows[i].done = step
            rows[i].used_blocks = record.used_blocks
    return rows


class LatePool(NaiveBlockPool):
    """A pool that publishes whatever is full and known and not published yet."""

    def _publish(self, request: NaiveRequest, num_tokens: int) -> None:
        size, computed = self.block_size, request.computed
        for index in range(num_tokens // size):
            if request.blocks[index] not in self.key:
                request.computed = index * size  # where the pool begins
                super()._publish(request, (index + 1) * size)
        request.computed = computed


@dataclass(eq=False)
class NaiveAsyncScheduler(NaiveScheduler):
    """vLLM's `AsyncScheduler`: several `schedule`, then `apply` for the oldest of them.

    A placeholder stands for a token that is sampled by a step in flight.
    """

    placeholders: Counter[NaiveRequest] = field(default_factory=Counter)
    flight: deque[tuple[naive_vllm.StepRecord, list[NaiveRequest]]] = field(default_factory=deque)
    given: deque[dict[NaiveRequest, int]] = field(default_factory=deque)

    def schedule(self) -> naive_vllm.StepRecord:
        record = super().schedule()
        for request, tokens in self._scheduled.items():
            request.in_flight += tokens
        self.given.append(dict(self._scheduled))
        sampling = [r for r in self._scheduled if r.computed == r.num_tokens + self.placeholders[r]]
        self.placeholders.update(sampling)
        self.flight.append((record, sampling))
        self.step += 1
        return record

    def apply(self) -> list[NaiveRequest]:
        record, sampling = self.flight.popleft()
        for request, tokens in self.given.popleft().items():
            request.in_flight -= tokens
        later = [request for _, requests in self.flight for request in requests]
        done = []
        for request in sampling:
            request.generated += 1
            if request.status == "running":
                self.placeholders[request] -= 1
                self.pool._publish(request, request.computed - later.count(request))
            if request.finished:
                (self.running if request.status == "running" else self.waiting).remove(request)
                request.status = "finished"
                self.pool.release(request)
                record.finished.append(request.id)
                done.append(request)
        return done

    def _schedule_running(self) -> None:
        index = 0
        while index < len(self.running) and self._budget > 0:
            request = self.running[index]
            known = request.num_tokens + self.placeholders[request]
            if known == len(request.prompt) + len(request.output):
                index += 1  # its last token is in flight
                continue
            tokens = self._tokens_to_schedule(request, known - request.computed)
            if not tokens:
                index += 1
                continue
            while not self.pool.allocate(request, tokens):
                victim = self._victim()
                index -= self.running.index(victim) < index
                self._preempt(victim)
                if victim is request:
                    break
            if request.status == "running":
                self._scheduled[request] = tokens
                self._budget -= tokens
                index += 1

    def _preempt(self, victim: NaiveRequest) -> None:
        super()._preempt(victim)
        del self.placeholders[victim]  # the token still comes


def naive_scheduler(options: SchedulerOptions, *pool: Any) -> NaiveScheduler:
    """The naive counterpart, with a pool of (usable blocks, block size, caching)."""
    return naive_scheduler_over((LatePool if options.async_scheduling else NaiveBlockPool)(*pool), options)


def naive_scheduler_over(pool: Any, options: SchedulerOptions) -> NaiveScheduler:
    """The naive counterpart, over ``pool``."""
    return (NaiveAsyncScheduler if options.async_scheduling else NaiveScheduler)(
        pool,
        options.max_num_batched_tokens,
        options.max_num_seqs,
        options.policy,
        options.long_prefill_token_threshold,
        options.watermark,
        options.scheduler_reserve_full_isl,
    )


Timed = tuple[float, naive_vllm.StepRecord, int]
"""When a step was scheduled, what it did, and the blocks in use once its results were applied."""


class Livelock(Exception):
    """The requests of a naive run push each other out for ever, as those of the engine would."""


def naive_steps(scheduler: NaiveScheduler, requests: list[NaiveRequest]) -> list[Timed]:
    """Serve ``requests`` by a step loop with a clock; a step takes a second, one with nothing to do none.

    The loop is that of vLLM's ``v1/engine/core.py``: schedule while there is room in the queue of
    batches (one batch, or two if asynchronous), else wait for the oldest batch.
    """
    room = 2 if isinstance(scheduler, NaiveAsyncScheduler) else 1
    coming, queue = deque(requests), deque[tuple[float, naive_vllm.StepRecord, float]]()
    now = free_at = 0.0
    steps: list[Timed] = []
    while True:
        while coming and coming[0].arrival <= now:
            scheduler.add(coming.popleft())
        if len(steps) > 4 * LIVELOCK_STEPS:
            raise Livelock
        if scheduler.running or scheduler.waiting:
            record = scheduler.schedule()
            scheduler.pool.check(scheduler.running)
            free_at = max(now, free_at) + (1 if record.sched else 0)
            queue.append((now, record, free_at))
            if len(queue) < room:
                continue
        elif not queue:
            if not coming:
                return steps
            now = float(coming[0].arrival)
            continue
        scheduled, record, end = queue.popleft()
        now = max(now, end)
        scheduler.apply()
        steps.append((scheduled, record, scheduler.pool.num_used))
