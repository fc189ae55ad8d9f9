"""Several replicas behind a router, fed by the clients of a trace, in simulated time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from math import inf
from types import MappingProxyType

from sim.caches.block import BlockTable
from sim.engine.events import AFTER_REPLICAS, ARRIVAL, Clock
from sim.engine.interface import AnyReplica
from sim.engine.request import Request
from sim.engine.step_records import StepRecorder
from sim.fleet.checkpoints import Checkpoints
from sim.fleet.garbage import no_garbage_collection
from sim.fleet.live import Live
from sim.fleet.outages import Group, Outages
from sim.fleet.outcome import outcome
from sim.fleet.plan import NO_HARDSHIPS, Hardships, ReplicaPlan
from sim.fleet.routers import Router, RouterSetting
from sim.fleet.routers.base import least_loaded
from sim.fleet.sampling import Sampler
from sim.fleet.share import Assigned, Share
from sim.results.records import Records
from sim.results.request_log import (
    ABORTED,
    COMPLETED,
    NAN,
    REJECTED,
    TICK_REQUESTS,
    TIMED_OUT,
    RequestLog,
    RequestRow,
)
from workloads.clients import Clients
from workloads.trace import Trace

Place = tuple[AnyReplica, Request] | list[RequestRow]
"""The replica that has a request, or the list of those that wait until a replica is alive again."""


class Fleet:
    """One run of a trace: clients, router, replicas, clock, and the table being filled.

    Replicas with the role ``decode`` stand behind all others in ``plans`` and get no request from the
    router: a request that has its first token from a ``prefill`` replica goes on at the least loaded of
    them, which brings in the KV that it lacks. The prefilling replica gives its blocks back with the first
    token (they stay cached), an engine when they have been read.
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
        tier_hits: Mapping[str, int] = MappingProxyType({}),
        share: Share | None = None,
        tick: Callable[[int], None] = lambda done: None,
        live: Live | None = None,
    ) -> None:
        """``tier_hits``: what sources of KV count while the run goes on, hit tokens by lower tier.

        ``plans`` are those of the whole fleet, of which only the ``share`` runs here. Within it replicas
        are counted anew from 0, by ``hardships`` too.

        ``live``: requests come by `arrive`, not at times that the trace has; what becomes of them is told.
        """
        self.env = Clock()
        self.log = RequestLog(trace)
        self._trace = trace
        self._live = live
        self._clients = Clients(trace)
        self._starts = self._clients.starting_together()
        self._prompt_tokens = trace.input_tokens
        self._output_tokens = trace.output_tokens
        self._reply = trace.reply
        self.plans = plans if share is None else [plans[number] for number in share.replicas]
        self._unseen_s = max(plan.latency.request_s for plan in plans)
        self._depth = max(plan.latency.depth for plan in plans)
        """By how much later clients see replies begin and end than replicas, in s and in times per output
        token; of unlike replicas the most."""
        self._hardships = hardships
        self._tick = tick
        self._done = 0
        self._wasted_tokens = 0  # computed by prefilling replicas for requests that were lost afterwards
        self._where: dict[int, Place] | None = None
        """Where each request is; kept for those that may be given up."""
        self._left_after_s = trace.left_after_s
        if hardships.deadline_s is not None or live is not None or self._left_after_s is not None:
            self._where = {}
        plans = self.plans
        self._recorders = [StepRecorder() if record_steps else None for _ in plans]
        self.replicas: list[AnyReplica] = [
            plan.make(number, self.env, trace, self._finished, self._left, recorder, live)
            for number, (plan, recorder) in enumerate(zip(plans, self._recorders, strict=True))
        ]
        entries = sum(plan.role != "decode" for plan in plans)
        assert all(plan.role != "decode" for plan in plans[:entries]), "those that decode come last"
        self._apart = plans[0].role != "both"
        self._has_limits = any(plan.too_long is not None for plan in plans)
        setting = RouterSetting(trace, entries, trace.seed, share.replicas if share else None)
        self._router: Router
        if share is not None and share.owners is not None:
            self._router = Assigned(share.owners, setting)
        else:
            self._router = router(setting)
        self._entries = Group(self.replicas[:entries])
        self._decoders = Group(self.replicas[entries:])
        self._outages = Outages(self.env, hardships.failures, self._fail, self._come_back)
        self._checkpoints = Checkpoints(
            self.env, self.replicas, entries, trace.checkpoints_s, tier_hits, each=share is not None
        )
        self._sampler = None
        if sample_s is not None:
            self._sampler = Sampler(self.env, self.replicas, sample_s, self._going_on)

    def run(self) -> Records:
        """Let simulated time pass until nothing is left to happen; the table of what happened."""
        if self._clients.closed_loop:
            for _, index in self._clients.opening():
                self._try(RequestRow(index, self.env.now_s))
        else:
            self._await_start()
        with no_garbage_collection():
            self.env.run()
        self._tick(self._done)
        return self.records()

    def records(self) -> Records:
        """The table of what happened, now that all requests are over."""
        records = outcome(
            self.log, self.plans, self.replicas, self._recorders, self._wasted_tokens, self._checkpoints
        )
        records.samples = self._sampler.samples if self._sampler else []
        return records

    def _going_on(self) -> bool:
        return self._done < len(self._trace)

    # -- requests that come while time runs --------------------------------------------------------

    def arrive(self, index: int) -> None:
        """Request ``index``, the newest of the trace, is sent now."""
        self.log.grow()
        self._prompt_tokens.append(self._trace.content.end[self._trace.prompt[index]])
        self._try(RequestRow(index, self.env.now_s))

    def leave(self, index: int) -> None:
        """The client of request ``index`` has gone: it is dropped as soon as its engine looks."""
        assert self._where is not None
        place = self._where.pop(index, None)
        if place is not None:
            row = self._drop(place, index)
            row.first_token_s += self._unseen_s if self._live is None else self._live.seen_after_s
            self._over(row, ABORTED)

    def row(self, index: int) -> RequestRow | None:
        """What has become so far of a request that is not over; None: there is none, or it waits."""
        place = None if self._where is None else self._where.get(index)
        return place[1].row if isinstance(place, tuple) else None

    # -- arrivals ----------------------------------------------------------------------------------

    def _await_start(self) -> None:
        """Open loop: one event for the sessions that start next, not one for each that ever starts."""
        starts = next(self._starts, None)
        if starts is not None:
            self.env.at(starts[0], ARRIVAL, self._start, starts)

    def _start(self, starts: tuple[float, list[int]]) -> None:
        at_s, requests = starts
        for index in requests:
            self._try(RequestRow(index, at_s))
        self._await_start()

    def _follow(self, index: int) -> None:
        self._try(RequestRow(index, self.env.now_s))

    def _try(self, row: RequestRow) -> None:
        """The client sends the request of ``row``, for the first time or again."""
        if self._where is not None:
            self._wait(row)
        self._send(row)

    def _wait(self, row: RequestRow) -> None:
        """How long the client of ``row`` waits for it.

        What a replica has not completed when its client would still see it in time is given up then.
        """
        deadline_s = self._hardships.deadline_s
        if deadline_s is not None:
            ends_s = self.env.now_s + deadline_s[row.index]
            due_s = max(self.env.now_s, ends_s - self._unseen_s)
            self.env.at(due_s, AFTER_REPLICAS, self._give_up, (row, row.tries, ends_s))
        if self._left_after_s is not None and not row.tries and self._live is None:
            left_s = self.env.now_s + self._left_after_s[row.index]
            if left_s < inf:
                self.env.at(left_s, ARRIVAL, self.leave, row.index)

    def _send(self, row: RequestRow) -> None:
        """Route a request, new or lost with its replica, to a replica that is alive and has room."""
        index, alive = row.index, self._entries.alive
        if not alive:
            if self._entries.returning:
                self._strand(row, self._entries)
            else:
                self._reject(row)
            return
        replica = self.replicas[self._router.choose(index, alive)]
        if self._has_limits and self._too_long(replica, index):
            self._turn_away(row)
            return
        bound = self._hardships.max_queued_requests
        if bound is not None and replica.queued >= bound:
            self._reject(row)
            return
        request = self._request(row, replica, 1 if self._apart else self._output_tokens[index])
        if self._where is not None:
            self._where[index] = replica, request
        replica.submit(request)

    def _strand(self, row: RequestRow, group: Group) -> None:
        """The request of ``row`` waits until a replica of ``group`` is alive again."""
        group.stranded.append(row)
        if self._where is not None:
            self._where[row.index] = group.stranded

    def _request(
        self, row: RequestRow, replica: AnyReplica, output_tokens: int, generated: int = 0
    ) -> Request:
        """The request of ``row`` for ``replica``, in whose memory's tree its content lies."""
        index = row.index
        prompt_tokens = self._prompt_tokens[index]
        route = replica.memory.content.route(self._reply[index])
        table = BlockTable(route, prompt_tokens, index)
        reply = route.nodes
        if route.ends[0] <= prompt_tokens:
            reply = reply[bisect_right(route.ends, prompt_tokens) :]
        return Request(row, table, output_tokens, reply, generated)

    # -- ends --------------------------------------------------------------------------------------

    def _finished(self, request: Request) -> None:
        """A replica is done with ``request``: it is complete, or its prompt is and it decodes elsewhere.

        Or the engine has aborted it.
        """
        row, later_s, further = request.row, self._unseen_s, self._output_tokens[request.index] - 1
        if row.aborted:
            self._aborted(row)
            return
        if self._apart and request.output_tokens <= further:
            self._hand_over(row)
            return
        if self._where is not None:
            del self._where[row.index]
        if self._live is not None:
            later_s = self._live.seen_after_s
        elif self._depth and further:
            later_s += self._depth * (row.finished_s - row.first_token_s) / further
        if later_s:
            row.first_token_s += later_s
            row.finished_s += later_s
        self._over(row, COMPLETED, later_s)

    def _aborted(self, row: RequestRow) -> None:
        """The engine has given the request of ``row`` up."""
        if self._group(row.replica) is self._decoders:
            self._waste(row)
        if self._where is not None:
            del self._where[row.index]
        self._over(row, ABORTED, self._unseen_s)

    def _over(self, row: RequestRow, status: str, seen_after_s: float = 0.0) -> None:
        """The request of ``row`` has ended, which its client sees ``seen_after_s`` from now: its session
        goes on, or ends."""
        self.log.write(row, status)
        self._done = done = self._done + 1
        if self._live is not None:
            self._live.over(row.index, seen_after_s)
            return
        if done % TICK_REQUESTS == 0:
            self._tick(done)
        if not self._clients.come_after:
            return
        now_s = self.env.now_s
        after = self._clients.after(row.index, now_s + seen_after_s)
        if after is None:
            return
        at_s, index = after
        if at_s > now_s:
            self.env.at(at_s, ARRIVAL, self._follow, index)
        else:
            self._try(RequestRow(index, now_s))

    def _reject(self, row: RequestRow) -> None:
        # not inside its own arrival
        self.env.at(self.env.now_s, ARRIVAL, lambda _: self._failed(row, REJECTED))

    def _too_long(self, replica: AnyReplica, index: int) -> bool:
        too_long = self.plans[replica.number].too_long
        return too_long is not None and too_long(self._prompt_tokens[index], self._output_tokens[index])

    def _turn_away(self, row: RequestRow) -> None:
        """The engine does not serve a request of this length, so its client does not send it again."""
        self.env.at(self.env.now_s, ARRIVAL, lambda _: self._over(row, REJECTED))

    def _give_up(self, attempt: tuple[RequestRow, int, float]) -> None:
        """The deadline of a request: its client leaves, if it is still there."""
        row, tries, ends_s = attempt
        assert self._where is not None
        if row.tries != tries or row.index not in self._where:
            return
        self._drop(self._where.pop(row.index), row.index)
        row.first_token_s += self._unseen_s
        if ends_s > self.env.now_s:
            self.env.at(ends_s, AFTER_REPLICAS, lambda _: self._failed(row, TIMED_OUT))
        else:
            self._failed(row, TIMED_OUT)

    def _drop(self, place: Place, index: int) -> RequestRow:
        """Take request ``index`` from where it is; its row, as its client has seen it."""
        if isinstance(place, list):
            row = next(row for row in place if row.index == index)
            place.remove(row)
            decodes = place is self._decoders.stranded
        else:
            replica, request = place
            row = request.row
            replica.abort(request)
            decodes = self._group(replica.number) is self._decoders
        if decodes:
            self._waste(row)
        return row

    def _left(self, request: Request) -> None:
        """A replica has dropped ``request``; what it was preempted there still counts."""
        self.log.preemptions[request.index] += request.preemptions

    def _failed(self, row: RequestRow, status: str) -> None:
        """The client of ``row`` was not answered: it tries again later, or the request is over."""
        row.tries += 1
        retries = self._hardships.retries
        wait_s = None if retries is None else retries.wait_s(row.tries)
        if wait_s is None:
            self._over(row, status)
            return
        row.retry()
        self.env.at(self.env.now_s + wait_s, ARRIVAL, lambda _: self._try(row))

    # -- prefill and decode apart --------------------------------------------------------------------

    def _hand_over(self, row: RequestRow) -> None:
        """The prompt of ``row`` is complete: it goes on at a replica that decodes."""
        row.finished_s, row.replica = NAN, -1
        if self._decoders.alive:
            replica = least_loaded(self._decoders.alive)
            if self._too_long(replica, row.index):
                self._forget(row)
                self._turn_away(row)
                return
            request = self._request(row, replica, self._output_tokens[row.index], generated=1)
            request.last_token_s = row.first_token_s
            if self._where is not None:
                self._where[row.index] = replica, request
            replica.submit(request)
        elif self._decoders.returning:
            self._strand(row, self._decoders)
        else:
            self._forget(row)
            self._reject(row)

    def _forget(self, row: RequestRow) -> None:
        """No replica decodes the request of ``row``, whose prompt has been computed."""
        if self._where is not None:
            del self._where[row.index]
        self._waste(row)

    def _waste(self, row: RequestRow) -> None:
        """What a prefilling replica computed for the request of ``row`` was in no reply."""
        self._wasted_tokens += self._prompt_tokens[row.index] - row.hit_tokens

    # -- failures ----------------------------------------------------------------------------------

    def _group(self, number: int) -> Group:
        entries = len(self._entries.all)
        return self._entries if number < entries else self._decoders

    def _fail(self, number: int, comes_back: bool, gone: Callable[[], None]) -> None:
        """A replica dies: nothing more is sent to it, and what it has is sent again, from the start."""
        group, replica = self._group(number), self.replicas[number]
        group.take_out(replica, comes_back)

        def lost(requests: list[Request]) -> None:
            gone()
            for request in requests:
                if group is self._decoders:
                    self._waste(request.row)
                if self._where is not None:
                    self._where.pop(request.index, None)
                request.row.retry()
                self._send(request.row)

        replica.fail(lost)

    def _come_back(self, number: int) -> None:
        """The replica is there again, cold; requests that found none are sent to it."""
        memory, source = self.plans[number].parts(self.env, self._recorders[number])
        replica = self.replicas[number]
        replica.restart(memory, source)
        group = self._group(number)
        for row in group.bring_back(replica):
            if group is self._entries:
                self._send(row)
            else:
                self._hand_over(row)
