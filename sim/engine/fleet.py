"""Several replicas behind a router, fed by a trace, in simulated time."""

from __future__ import annotations

import math
from collections.abc import Callable

import simpy

from sim.caches.block import BlockCache, BlockTable, Evicted
from sim.engine.events import ARRIVAL, At
from sim.engine.latency import IterationTime
from sim.engine.options import SchedulerOptions, StepRecorder
from sim.engine.replica import Replica
from sim.engine.request import Request
from sim.engine.routers import Router, Setting
from sim.engine.stepping import make_replica
from sim.records import TICK_REQUESTS, EngineTotals, Records, RequestLog
from workloads.trace import NONE, Trace


class Fleet:
    """One run of a trace: replicas, router, clock and the table being filled.

    Requests with an arrival time come at it; a request that follows another comes its think time
    after that one's last token. ``memory`` makes the KV memory of one replica; where steps are recorded
    it is given the callback that hears of evictions. ``make`` makes a replica, called as `make_replica` is.
    """

    def __init__(
        self,
        trace: Trace,
        *,
        replicas: int,
        router: Callable[[Setting], Router],
        memory: Callable[[Evicted | None], BlockCache],
        latency: IterationTime,
        options: SchedulerOptions,
        fast_forward: bool,
        record_steps: bool = False,
        tick: Callable[[int], None] = lambda done: None,
        make: Callable[..., Replica] = make_replica,
    ) -> None:
        self.env = simpy.Environment()
        self.log = RequestLog(trace)
        self._trace = trace
        self._prompt_tokens = trace.input_tokens
        self._starts = trace.starts()
        self._next_start = 0
        self._router = router(Setting(trace, replicas, trace.seed))
        self._tick = tick
        self._done = 0
        self._recorders = [StepRecorder() if record_steps else None for _ in range(replicas)]
        self.replicas = [
            make(
                options,
                number,
                self.env,
                memory(recorder.evicted if recorder else None),
                latency,
                fast_forward=fast_forward,
                log=self.log,
                finished=self._finished,
                recorder=recorder,
            )
            for number, recorder in enumerate(self._recorders)
        ]

    def run(self) -> Records:
        """Let simulated time pass until nothing is left to happen; the table of what happened."""
        self._await_start()
        self.env.run()
        self._tick(self._done)
        records = Records.of(self.log)
        totals = EngineTotals()
        for replica in self.replicas:
            replica.check()
            memory = replica.memory
            assert memory.free_blocks == memory.capacity_blocks, "blocks leaked"
            replica.totals.evicted_blocks = memory.evicted_blocks
            replica.totals.capacity_blocks = memory.capacity_blocks
            totals.add(replica.totals)
        size = self.replicas[0].memory.block_size
        records.engine = totals
        records.replicas = len(self.replicas)
        records.steps = [replica.steps for replica in self.replicas]
        records.query_blocks = sum(tokens // size for tokens in self._prompt_tokens)
        records.hit_blocks = totals.hit_blocks
        records.evicted_blocks = totals.evicted_blocks
        records.step_rows = [row for r in self._recorders if r is not None for row in r.rows()]
        records.check()
        return records

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

    def _finished(self, index: int) -> None:
        self._done += 1
        if self._done % TICK_REQUESTS == 0:
            self._tick(self._done)
        after = self._trace.follower[index]
        if after == NONE:
            return
        think = self._trace.think_s[after]
        if think > 0:
            At(self.env, think, ARRIVAL, self._follow, after)
        else:
            self._arrive(after, self.env.now)

    def _follow(self, event: At) -> None:
        index = event.value
        assert isinstance(index, int)
        self._arrive(index, self.env.now)

    def _arrive(self, index: int, at: float) -> None:
        trace = self._trace
        self.log.arrival_s[index] = at
        path = trace.content.path(trace.reply[index])
        prompt_end = self._prompt_tokens[index]
        end, first = trace.content.end, len(path)
        while first and end[path[first - 1]] > prompt_end:
            first -= 1
        table = BlockTable(path, prompt_end, index)
        request = Request(index, table, trace.output_tokens[index], path[first:])
        self.replicas[self._router.choose(index, self.replicas)].submit(request)
