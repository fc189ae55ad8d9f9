"""Prefill and decode on replicas of their own, with the KV travelling between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import simpy

from sim.engine.interface import AnyReplica
from sim.engine.link import Link, LinkSpeed
from sim.engine.loading import RemotePrefill, Source
from sim.engine.request import Request
from sim.fleet.fleet import Fleet
from sim.fleet.plan import Hardships, ReplicaPlan
from sim.fleet.routers import Router, RouterSetting
from sim.fleet.routers.base import least_loaded
from sim.results.records import COMPLETED, RequestLog
from workloads.content import Tree
from workloads.trace import Trace


class DisaggregatedFleet(Fleet):
    """A request is prefilled by one pool, which gives its first token, and goes on in another.

    The router chooses among the prefilling replicas; of the decoding ones the least loaded is taken. What
    of the prompt is not cached there comes over one link that all share, ``kv_bytes`` a token. The
    prefilling replica gives its blocks back with the first token (they stay cached), an engine when they
    have been read. A preempted request computes its prompt again where it decodes.
    """

    def __init__(
        self,
        trace: Trace,
        prefill: Sequence[ReplicaPlan],
        decode: Sequence[ReplicaPlan],
        router: Callable[[RouterSetting], Router],
        *,
        link: LinkSpeed,
        kv_bytes: int,
        hardships: Hardships,
        sample_s: float | None = None,
        tick: Callable[[int], None] = lambda done: None,
    ) -> None:
        assert hardships.deadline_s is None and not hardships.failures, "not modelled"
        self._prefills, self._decode_plans = RequestLog(trace), decode
        self._decodes = RequestLog(trace)
        self._speed, self._kv_bytes = link, kv_bytes
        super().__init__(trace, prefill, router, hardships=hardships, sample_s=sample_s, tick=tick)

    def _make_replicas(self) -> list[AnyReplica]:
        """The prefilling replicas; the decoding ones are numbered after them."""
        self._link = Link(self.env, self._speed)

        def remote(env: simpy.Environment, log: RequestLog, block_size: int) -> Source:
            return RemotePrefill(self._link, block_size, self._kv_bytes)

        first = len(self._plans)
        self.decoders = [
            self._make(plan, first + i, log=self._decodes, finished=self._decoded, source=remote)
            for i, plan in enumerate(self._decode_plans)
        ]
        return [
            self._make(plan, number, log=self._prefills, finished=self._prefilled)
            for number, plan in enumerate(self._plans)
        ]

    def _every_replica(self) -> list[AnyReplica]:
        return [*self.replicas, *self.decoders]

    def _every_plan(self) -> list[ReplicaPlan]:
        return [*self._plans, *self._decode_plans]

    def _request(self, index: int, content: Tree) -> Request:
        """The request as the prefilling replica sees it: it ends with its first token."""
        whole = super()._request(index, content)
        return Request(index, whole.table, 1, whole.reply)

    def _prefilled(self, index: int) -> None:
        log, prefill = self.log, self._prefills
        log.scheduled_s[index] = prefill.scheduled_s[index]
        log.first_token_s[index] = prefill.first_token_s[index]
        log.hit_tokens[index] = prefill.hit_tokens[index]
        log.tier[index] = prefill.tier[index]
        log.preemptions[index] = prefill.preemptions[index]
        if self._trace.output_tokens[index] == 1:
            self._completed(index, prefill)
            return
        decoder = least_loaded(self.decoders)
        request = super()._request(index, decoder.memory.content)
        request.generated = 1
        request.last_token_s = self.env.now
        decoder.submit(request)

    def _decoded(self, index: int) -> None:
        self.log.preemptions[index] += self._decodes.preemptions[index]
        self._completed(index, self._decodes)

    def _completed(self, index: int, last: RequestLog) -> None:
        self.log.end(index, COMPLETED)
        self.log.finished_s[index] = last.finished_s[index]
        self.log.replica[index] = last.replica[index]
        self._finished(index)
