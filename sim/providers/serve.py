"""A trace through a provider's rules in simulated time: who finds what, who writes, when it is answered."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sim.providers import entries
from sim.providers.entries import Draws, Found, Machine, Moment
from sim.providers.given_up import GivenUp, Patience, generated_tokens
from sim.providers.latency import HostedLatency
from sim.providers.marks import Caching, Marks
from sim.providers.routing import HashRouting, OneMachine
from sim.providers.schema import Rules
from sim.providers.stores import KINDS
from sim.results.request_log import NAN, TICK_REQUESTS
from workloads.clients import Clients
from workloads.seeds import stream
from workloads.trace import Trace


class ByModel(NamedTuple):
    """The rules of several models, and which of them holds for each request. Caches are per model."""

    rules: list[Rules]
    of: Sequence[int]


@dataclass(slots=True)
class HostedTimes:
    """What the provider did with each request, in the order of the trace; times in s.

    Of a request that was sent several times, what its last call found and wrote.
    """

    found: Found
    given_up: GivenUp
    arrival_s: list[float]
    first_token_s: list[float]
    finished_s: list[float]
    """NaN: the client gave up for good."""
    sent_s: dict[int, float] = field(default_factory=dict)
    """When the last call of a request was sent that was sent again."""
    retries: dict[int, int] = field(default_factory=dict)
    """How often each of those was sent again."""
    left: set[int] = field(default_factory=set)
    """Requests whose clients left before the reply was complete, as the trace has it."""
    overflows: int = 0
    """Requests that did not go to the first machine of their prefix."""


class Cache(NamedTuple):
    """The cache of one model: its methods, bound once."""

    machine: Callable[[int, float], Machine]
    lookup: Callable[[int, float, Machine], int]
    store: Callable[[int, Moment, Machine], None]
    moment: Callable[[float, float, float], Moment]
    """The times of a request by when it arrives, has its first token, and is over."""
    grow: Callable[[int], None]
    split: Callable[[int, int, Machine], None]
    """For a trace that grows, see `Store`."""


def serve(
    trace: Trace,
    rules: Rules | ByModel,
    caching: Caching,
    latency: HostedLatency,
    tick: Callable[[int], None] = lambda done: None,
    patience: Patience | None = None,
) -> HostedTimes:
    """Send every request when it arrives; a follow-up comes a think time after the reply is complete.

    Requests are served by (time of arrival, index). Nothing waits: a hosted API has no queue here. Where
    the log of a recorded trace shows by when a reply was there (`Trace.answered`), what the request wrote
    is readable no later and lives from no later on, whatever ``latency`` says.

    A client whose reply is not complete at its deadline (``patience``) hangs up and may send the request
    again. The provider goes on until it notices: what the prompt wrote stays, readable when the reply would
    have begun, and the tokens generated until then are billed.
    """
    n = len(trace)
    held, of = rules if isinstance(rules, ByModel) else ByModel([rules], bytes(n))
    if any(one.kind == "breakpoint" for one in held):
        trace = trace.by_message  # marks stand at ends of messages, and look back over them
    found = Found(n, len(held[0].lifetimes))
    served = HostedTimes(found, GivenUp(len(held[0].lifetimes)), [NAN] * n, [NAN] * n, [NAN] * n)
    off = caching.mode == "off"
    luck, chance = entries.luck(trace.seed, n), entries.losses(trace.seed, n)
    routers = [
        OneMachine() if one.routing is None else HashRouting(trace, one.routing, caching.key)
        for one in held
    ]
    caches = [
        cache_of(trace, one, caching, router, luck, chance, found)
        for one, router in zip(held, routers, strict=True)
    ]
    factors = latency.factors(trace.seed, n)
    again = stream(trace.seed, "provider-retries")
    # Bound once: this loop runs for every request.
    inputs, outputs = trace.input_tokens, trace.output_tokens
    ttft_s, tpot_s = latency.ttft_s, latency.tpot_s
    answered = trace.answered
    deadline_s = None if patience is None else patience.deadline_s
    left_after_s = trace.left_after_s
    retries, clients = served.retries, Clients(trace)
    heap = clients.opening()
    heapq.heapify(heap)
    several = len(caches) > 1
    machine_of, lookup, store, moment, _, _ = caches[0]
    done = 0
    while heap:
        at, i = heapq.heappop(heap)
        if several:
            machine_of, lookup, store, moment, _, _ = caches[of[i]]
        if off:
            read = made = 0
        else:
            machine = machine_of(i, at)
            read = lookup(i, at, machine)
            made = found.created_tokens[i]
        first = at + ttft_s(inputs[i] - read + made, read - made) * factors[i]
        end = first + (outputs[i] - 1) * tpot_s
        stops = end if deadline_s is None else at + deadline_s[i]
        if left_after_s is not None and at + left_after_s[i] < min(stops, end):
            stops = at + left_after_s[i]
            served.left.add(i)
        if not off:
            begun, over = first, end if end <= stops else max(first, stops)
            if answered is not None and (answered.by_s[i] < over or (answered.told[i] and end <= stops)):
                over = answered.by_s[i]
                begun = min(begun, over)
            store(i, moment(at, begun, over), machine)
        if end > stops:
            tokens = generated_tokens(first, tpot_s, outputs[i], stops)
            again_s = _hung_up(served, i, at, stops, tokens, patience)
            if again_s is not None:
                luck[i], chance[i] = again.random(2).tolist()
                if latency.noise:
                    factors[i] = float(np.exp(again.normal(0.0, latency.noise)))
                heapq.heappush(heap, (again_s, i))
                continue
            first, end = (first if first <= stops else NAN), NAN
        else:
            stops = end
        if i not in retries:
            served.arrival_s[i] = at
        served.first_token_s[i], served.finished_s[i] = first, end
        after = clients.after(i, stops)
        if after is not None:
            heapq.heappush(heap, after)
        if done % TICK_REQUESTS == 0:
            tick(done)
        done += 1
    tick(n)
    served.overflows = sum(router.overflows for router in routers)
    return served


def _hung_up(
    served: HostedTimes, request: int, at_s: float, stops_s: float, tokens: int, patience: Patience | None
) -> float | None:
    """Note that the client of a call sent at ``at_s`` hung up at ``stops_s``, after so many ``tokens``.

    Returns when it sends the request again; None: never.
    """
    served.given_up.add(request, at_s, tokens, served.found)
    tries = served.retries.get(request, 0) + 1
    if tries == 1:
        served.arrival_s[request] = at_s
    if patience is None or patience.retries is None or request in served.left:
        return None
    wait_s = patience.retries.wait_s(tries)
    if wait_s is None:
        return None
    served.retries[request], served.sent_s[request] = tries, stops_s + wait_s
    served.found.clear(request)
    return stops_s + wait_s


def cache_of(
    trace: Trace,
    rules: Rules,
    caching: Caching,
    router: OneMachine | HashRouting,
    luck: Draws,
    chance: Draws,
    found: Found,
) -> Cache:
    """The cache of a model with these rules."""
    store = KINDS[rules.kind](trace, rules, Marks(trace, caching, rules), luck, found, chance)
    early, late = rules.visible_at == "request_start", rules.visible_at == "response_end"
    from_end, delay_s = rules.clock == "response_end", rules.visible_delay_s

    def moment(at_s: float, begun_s: float, over_s: float) -> Moment:
        visible_s = (at_s if early else over_s if late else begun_s) + delay_s
        return Moment(at_s, visible_s, over_s if from_end else at_s)

    return Cache(router.machine, store.lookup, store.store, moment, store.grow, store.split)
