"""Several replicas behind a router, fed by a trace, in simulated time."""

from __future__ import annotations

import gc
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sim.caches.block import BlockTable
from sim.engine.beside import CacheBeside
from sim.engine.events import AFTER_REPLICAS, ARRIVAL, At, Clock
from sim.engine.interface import AnyReplica
from sim.engine.request import Request
from sim.engine.steps import StepRecorder
from sim.fleet.make import make_replica
from sim.fleet.plan import NO_HARDSHIPS, Failure, Hardships, ReplicaPlan, SourceOf
from sim.fleet.routers import Router, RouterSetting
from sim.fleet.sampling import Sampler
from sim.results.records import REJECTED, TICK_REQUESTS, TIMED_OUT, EngineTotals, Records, RequestLog
from workloads.content import Tree
from workloads.trace import NONE, Trace


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Leave cycles alone for a while: a run makes millions of objects and hardly any cycle.

    Each full collection looks at all that live, so their cost grows with the square of a run's length.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Fleet:
    """One run of a trace: replicas, router, clock and the table being filled.

    Requests with an arrival time come at it, or, in closed loop, as soon as a session ends; a request
    that follows another comes its think time after that one's end, whatever end that was.
    ``make`` makes a replica, called as `make_replica` is.
    """

    def __init__(
        self,
        trace: Trace,
        plans: Sequence[ReplicaPlan],
        router: Callable[[RouterSetting], Router],
        *,
        hardships: Hardships = NO_HARDSHIPS,
        record_steps: bool = False,
        sample_s: float | None = None,
        tick: Callable[[int], None] = lambda done: None,
        make: Callable[..., AnyReplica] = make_replica,
    ) -> None:
        self.env = Clock()
        self.log = RequestLog(trace)
        self._trace = trace
        self._prompt_tokens = trace.input_tokens
        self._starts = trace.starts()
        self._next_start = 0
        self._router = router(RouterSetting(trace, len(plans), trace.seed))
        self._tick = tick
        self._done = 0
        self._plans = plans
        self._make_one = make
        self._hardships = hardships
        self._served: dict[int, AnyReplica] | None = None
        """Where each request is, kept only if it may have to be found again."""
        if hardships.deadline_s is not None:
            self._served = {}
        self._returning = 0  # replicas that are dead and will come back
        self._stranded: list[int] = []  # requests that wait for one of them, as none is alive
        self._recorders: list[StepRecorder | None] = [
            StepRecorder() if record_steps else None for _ in plans
        ]
        self.replicas = self._make_replicas()
        self._alive: list[AnyReplica] = list(self.replicas)
        self._failures: list[deque[Failure]] = [deque() for _ in plans]
        """What is to happen to each replica yet: the next failure is due once it is back from the last."""
        for failure in hardships.failures:
            self._failures[failure.replica].append(failure)
        for number in range(len(plans)):
            self._await_failure(number)
        self._sampler = None
        if sample_s is not None:
            self._sampler = Sampler(self.env, self._every_replica(), sample_s, self._going_on)

    def _going_on(self) -> bool:
        return self._done < len(self._trace)

    def _make_replicas(self) -> list[AnyReplica]:
        return [
            self._make(plan, number, log=self.log, finished=self._finished, recorder=recorder)
            for number, (plan, recorder) in enumerate(zip(self._plans, self._recorders, strict=True))
        ]

    def _make(
        self,
        plan: ReplicaPlan,
        number: int,
        *,
        log: RequestLog,
        finished: Callable[[int], None],
        recorder: StepRecorder | None = None,
        source: SourceOf | None = None,
    ) -> AnyReplica:
        return self._make_one(
            plan,
            number,
            self.env,
            plan.memory(recorder.evicted if recorder else None),
            log=log,
            finished=finished,
            recorder=recorder,
            source=source or plan.source,
        )

    def _every_replica(self) -> list[AnyReplica]:
        return self.replicas

    def _every_plan(self) -> list[ReplicaPlan]:
        return list(self._plans)

    def run(self) -> Records:
        """Let simulated time pass until nothing is left to happen; the table of what happened."""
        if self._trace.concurrency is None:
            self._await_start()
        else:
            for _ in range(self._trace.concurrency):
                self._enter()
        with _no_garbage_collection():
            self.env.run()
        self._tick(self._done)
        return self._records()

    def _records(self) -> Records:
        records = Records.of(self.log)
        totals = EngineTotals()
        replicas = self._every_replica()
        for replica in replicas:
            replica.check()
            memory = replica.memory
            assert memory.free_blocks == memory.capacity_blocks, "blocks leaked"
            replica.totals.evicted_blocks += memory.evicted_blocks
            replica.totals.capacity_blocks = memory.capacity_blocks
            totals.add(replica.totals)
        size = self.replicas[0].memory.block_size
        records.engine = totals
        records.gpus = [plan.gpus for plan in self._every_plan()]
        records.steps = [replica.steps for replica in replicas]
        records.work = [replica.work for replica in replicas]
        records.query_blocks = sum(tokens // size for tokens in self._prompt_tokens)
        records.hit_blocks = int((records.cache_read_input_tokens // size).sum())
        if isinstance(self.replicas[0].memory, CacheBeside):  # it counts no blocks
            records.query_blocks = records.hit_blocks = None
        records.evicted_blocks = totals.evicted_blocks
        records.step_rows = [row for r in self._recorders if r is not None for row in r.rows()]
        records.samples = self._sampler.samples if self._sampler else []
        records.check()
        return records

    # -- arrivals ----------------------------------------------------------------------------------

    def _await_start(self) -> None:
        if self._next_start < len(self._starts):
            at = self._trace.arrival_s[self._starts[self._next_start]]
            assert at is not None
            now = self.env.now
            delay = max(0.0, at - now)
            if now + delay < at:  # rounded down: nobody arrives before its time
                delay = math.nextafter(delay, math.inf)
            At(self.env, delay, ARRIVAL, self._start)

    def _start(self, event: At) -> None:
        """The next request of the open loop arrives, with all that share its arrival time."""
        trace, starts, i = self._trace, self._starts, self._next_start
        at = trace.arrival_s[starts[i]]
        while i < len(starts) and trace.arrival_s[starts[i]] == at:
            assert at is not None
            self._arrive(starts[i], at)
            i += 1
        self._next_start = i
        self._await_start()

    def _enter(self) -> None:
        """The next session of the closed loop starts now."""
        if self._next_start < len(self._starts):
            index = self._starts[self._next_start]
            self._next_start += 1
            self._arrive(index, self.env.now)

    def _follow(self, event: At) -> None:
        index = event.value
        assert isinstance(index, int)
        self._arrive(index, self.env.now)

    def _arrive(self, index: int, at: float) -> None:
        self.log.arrival_s[index] = at
        if self._hardships.deadline_s is not None:
            At(self.env, self._hardships.deadline_s[index], AFTER_REPLICAS, self._give_up, index)
        self._send(index)

    def _send(self, index: int) -> None:
        """Route request ``index``, new or retried, to a replica that is alive and has room."""
        if not self._alive:
            if self._returning:
                self._stranded.append(index)
            else:
                self._reject(index)
            return
        replica = self.replicas[self._router.choose(index, self._alive)]
        bound = self._hardships.max_queued_requests
        if bound is not None and replica.queued >= bound:
            self._reject(index)
            return
        if self._served is not None:
            self._served[index] = replica
        replica.submit(self._request(index, replica.memory.content))

    def _request(self, index: int, content: Tree) -> Request:
        """Request ``index`` for a memory whose blocks lie in ``content``."""
        trace, prompt = self._trace, self._prompt_tokens[index]
        route = content.route(trace.reply[index])
        table = BlockTable(route, prompt, index)
        return Request(
            index, table, trace.output_tokens[index], route.nodes[bisect_right(route.ends, prompt) :]
        )

    # -- ends --------------------------------------------------------------------------------------

    def _finished(self, index: int) -> None:
        """The last token of request ``index`` is there."""
        if self._served is not None:
            del self._served[index]
        self._ended(index)

    def _reject(self, index: int) -> None:
        self.log.end(index, REJECTED)
        At(self.env, 0.0, ARRIVAL, lambda event: self._ended(index))  # not inside its own arrival

    def _ended(self, index: int) -> None:
        """Request ``index`` is over: its session goes on, or ends."""
        self._done += 1
        if self._done % TICK_REQUESTS == 0:
            self._tick(self._done)
        after = self._trace.follower[index]
        if after == NONE:
            if self._trace.concurrency is not None:
                self._enter()
            return
        think = self._trace.think_s[after]
        if think > 0:
            At(self.env, think, ARRIVAL, self._follow, after)
        else:
            self._arrive(after, self.env.now)

    def _give_up(self, event: At) -> None:
        """The deadline of a request: its client leaves, if it is still there."""
        index = event.value
        assert isinstance(index, int) and self._served is not None
        self.env.take_turn(AFTER_REPLICAS)
        if index in self._stranded:
            self._stranded.remove(index)
        elif index in self._served:
            self._served.pop(index).abort(index)
        else:
            return
        self.log.end(index, TIMED_OUT)
        self._ended(index)

    # -- failures ----------------------------------------------------------------------------------

    def _await_failure(self, number: int) -> None:
        if self._failures[number]:
            failure = self._failures[number].popleft()
            At(self.env, max(0.0, failure.at_s - self.env.now), ARRIVAL, self._fail, failure)

    def _fail(self, event: At) -> None:
        """A replica dies: nothing more is sent to it, and what it has is retried elsewhere."""
        failure = event.value
        assert isinstance(failure, Failure)
        replica = self.replicas[failure.replica]
        self._alive = [other for other in self._alive if other is not replica]
        self._returning += failure.back_s is not None
        replica.fail(lambda lost: self._lost(failure, lost))

    def _lost(self, failure: Failure, indices: list[int]) -> None:
        """The iteration under way when the replica died has ended; ``indices`` were there."""
        if failure.back_s is not None:
            At(self.env, max(0.0, failure.back_s - self.env.now), ARRIVAL, self._come_back, failure)
        for index in indices:
            if self._served is not None:
                del self._served[index]
            self.log.retry(index)
            self._send(index)

    def _come_back(self, event: At) -> None:
        """The replica is there again, cold; whoever found none is sent to it."""
        failure = event.value
        assert isinstance(failure, Failure)
        self._returning -= 1
        number = failure.replica
        recorder = self._recorders[number]
        memory = self._plans[number].memory(recorder.evicted if recorder else None)
        self.replicas[number].restart(memory)
        self._alive = sorted([*self._alive, self.replicas[number]], key=lambda replica: replica.number)
        stranded, self._stranded = self._stranded, []
        for index in stranded:
            self._send(index)
        self._await_failure(number)
