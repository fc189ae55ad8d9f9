"""A trace through a provider's rules in simulated time: who finds what, who writes, when it is answered."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sim.providers.latency import HostedLatency
from sim.providers.marks import Caching, Marks
from sim.providers.routing import HashRouting, OneMachine
from sim.providers.schema import Rules
from sim.providers.stores import KINDS, Found, Moment
from sim.results.request_log import NAN, TICK_REQUESTS
from workloads.clients import Clients
from workloads.seeds import stream
from workloads.trace import Trace


@dataclass(slots=True)
class HostedTimes:
    """What the provider did with each request, in the order of the trace; times in s."""

    found: Found
    arrival_s: list[float]
    first_token_s: list[float]
    finished_s: list[float]
    overflows: int = 0
    """Requests that did not go to the first machine of their prefix."""


def serve(
    trace: Trace,
    rules: Rules,
    caching: Caching,
    latency: HostedLatency,
    tick: Callable[[int], None] = lambda done: None,
) -> HostedTimes:
    """Send every request when it arrives; a follow-up comes a think time after the reply is complete.

    Requests are served by (time of arrival, index). Nothing waits: a hosted API has no queue here.
    """
    n = len(trace)
    if rules.kind == "breakpoint":  # marks stand at ends of messages, and look back over messages
        trace = trace.by_message
    found = Found(n, len(rules.lifetimes))
    served = HostedTimes(found, [NAN] * n, [NAN] * n, [NAN] * n)
    off = caching.mode == "off"
    luck: list[float] = stream(trace.seed, "provider-luck").random(n).tolist()
    store = KINDS[rules.kind](trace, rules, Marks(trace, caching, rules), luck, found)
    router = OneMachine() if rules.routing is None else HashRouting(trace, rules.routing, caching.key)
    factors = _noise(trace, latency)
    # Bound once: this loop runs for every request.
    inputs, outputs, ttft_s, delay_s = (
        trace.input_tokens,
        trace.output_tokens,
        latency.ttft_s,
        rules.visible_delay_s,
    )
    early, late = rules.visible_at == "request_start", rules.visible_at == "response_end"
    from_end = rules.clock == "response_end"
    clients = Clients(trace)
    heap = clients.opening()
    heapq.heapify(heap)
    done = 0
    while heap:
        at, i = heapq.heappop(heap)
        if off:
            read = made = 0
        else:
            machine = router.machine(i, at)
            read = store.lookup(i, at, machine)
            made = found.created_tokens[i]
        first = at + ttft_s(inputs[i] - read + made, read - made) * factors[i]
        end = first + (outputs[i] - 1) * latency.tpot_s
        if not off:
            visible = (at if early else end if late else first) + delay_s
            store.store(i, Moment(at, visible, end if from_end else at), machine)
        served.arrival_s[i], served.first_token_s[i], served.finished_s[i] = at, first, end
        after = clients.after(i, end)
        if after is not None:
            heapq.heappush(heap, after)
        if done % TICK_REQUESTS == 0:
            tick(done)
        done += 1
    tick(n)
    if isinstance(router, HashRouting):
        served.overflows = router.overflows
    return served


def _noise(trace: Trace, latency: HostedLatency) -> list[float]:
    if not latency.noise:
        return [1.0] * len(trace)
    draws = stream(trace.seed, "provider-latency").normal(0.0, latency.noise, len(trace))
    factors: list[float] = np.exp(draws).tolist()
    return factors
