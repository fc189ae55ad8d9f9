"""A hosted API that serves live."""

from __future__ import annotations

from functools import partial
from math import nan

from sim.engine.events import AFTER_REPLICAS, Clock
from sim.providers import entries
from sim.providers.entries import Found
from sim.providers.given_up import GivenUp, generated_tokens
from sim.providers.routing import HashRouting, OneMachine
from sim.providers.serve import ByModel, HostedTimes, cache_of
from sim.providers.usage import Usage as Billed
from sim.providers.usage import charge
from sim.results.records import Records
from sim.results.request_log import ABORTED, COMPLETED, STATUS, TIMED_OUT
from sim.server.draws import Draws
from sim.server.fleet import LEFT, LOST
from sim.server.live import About, State, Times, Usage
from sim.server.streams import Streams
from sim.systems import deadlines
from sim.systems.provider import ProviderSystem
from workloads.trace import Trace


class LiveHosted:
    """The rules of `sim.providers.serve`, one request as it comes: nothing waits at a hosted API, so all
    that happens to a request is known when it arrives, but whether its client stays.

    Of a reply that is cut off, the tokens until then are billed. An API whose entries live or can be read
    from the end of a reply counts that as if the reply had been complete.
    """

    def __init__(self, system: ProviderSystem, name: str, trace: Trace) -> None:
        self._system, self._trace = system, trace
        self._rules, self._caching, self._prices, self._latency = system.serving()
        rules, seed = self._rules, trace.seed
        self.env = Clock()
        self.streams = Streams(self.env)
        self._found = Found(0, len(rules.lifetimes))
        self._served = HostedTimes(self._found, GivenUp(len(rules.lifetimes)), [], [], [])
        self._router = (
            OneMachine() if rules.routing is None else HashRouting(trace, rules.routing, self._caching.key)
        )
        luck, chance = Draws(partial(entries.luck, seed)), Draws(partial(entries.losses, seed))
        self._cache = cache_of(trace, rules, self._caching, self._router, luck, chance, self._found)
        trace.content.watch(self._split)
        self._factors = Draws(partial(self._latency.factors, seed))
        self._deadline_s: Draws | None = None
        if (deadline := system.deadline_s) is not None:
            self._deadline_s = Draws(lambda n: deadlines.drawn(deadline, seed, n).tolist())
        self._going: dict[int, float] = {}  # requests that are not over: when the first token comes
        self._ended = dict.fromkeys(STATUS, 0)
        self._prompt_tokens = self._hit_tokens = 0
        self._cost_usd = 0.0
        self.about = About(
            "provider",
            name,
            system.model,
            provider=system.provider,
            usage_style=rules.usage_style,
            lifetimes={one.name: one.seconds for one in rules.lifetimes},
        )

    def arrive(self, index: int) -> None:
        """The newest request of the trace is sent now."""
        at_s, cache, found, latency = self.env.now_s, self._cache, self._found, self._latency
        found.grow()
        cache.grow(index)
        prompt = self._trace.content.end[self._trace.prompt[index]]
        further = self._trace.output_tokens[index] - 1
        off, machine, read = self._caching.mode == "off", {}, 0
        if not off:
            machine = cache.machine(index, at_s)
            read = cache.lookup(index, at_s, machine)
        made = found.created_tokens[index]
        first_s = at_s + latency.ttft_s(prompt - read + made, read - made) * self._factors[index]
        end_s = first_s + further * latency.tpot_s
        stops_s = end_s if self._deadline_s is None else at_s + self._deadline_s[index]
        if not off:
            over_s = end_s if end_s <= stops_s else max(first_s, stops_s)
            cache.store(index, cache.moment(at_s, first_s, over_s), machine)
        self._served.arrival_s.append(at_s)
        self._served.first_token_s.append(first_s)
        self._served.finished_s.append(end_s)
        self._prompt_tokens += prompt
        self._hit_tokens += read
        self._going[index] = first_s
        self.env.at(first_s, AFTER_REPLICAS, self._token, (index, 1))
        if end_s > stops_s:
            self.env.at(stops_s, AFTER_REPLICAS + 1, self._late, index)

    def leave(self, index: int) -> None:
        """The client of request ``index`` hangs up, if its reply is not complete."""
        if index in self._going:
            self._served.left.add(index)
            self._give_up(index, ABORTED, LEFT)

    def refusal(self, index: int) -> tuple[str, str] | None:
        """None: these rules have no queue."""
        return None

    # -- replies -----------------------------------------------------------------------------------

    def _token(self, token: tuple[int, int]) -> None:
        """The next token of a reply is there."""
        index, number = token
        if index not in self._going:
            return
        self.streams.tokens(index, number, 0.0)
        if number < self._trace.output_tokens[index]:
            at_s = self._going[index] + number * self._latency.tpot_s
            self.env.at(at_s, AFTER_REPLICAS, self._token, (index, number + 1))
            return
        del self._going[index]
        self._over(index, COMPLETED, None, number)

    def _late(self, index: int) -> None:
        if index in self._going:
            self._give_up(index, TIMED_OUT, LOST[TIMED_OUT])

    def _give_up(self, index: int, status: str, why: str) -> None:
        """The reply is cut off now."""
        first_s, now_s, served = self._going.pop(index), self.env.now_s, self._served
        tokens = generated_tokens(first_s, self._latency.tpot_s, self._trace.output_tokens[index], now_s)
        served.given_up.add(index, served.arrival_s[index], tokens, self._found)
        served.finished_s[index] = nan
        if first_s > now_s:
            served.first_token_s[index] = nan
        self._over(index, status, why, tokens)

    def _over(self, index: int, status: str, why: str | None, output_tokens: int) -> None:
        self._ended[status] += 1
        found = self._found
        prompt = self._trace.content.end[self._trace.prompt[index]]
        rates = self._prices.cards[self._prices.card(prompt, self._served.arrival_s[index])]
        usage = Billed(
            prompt,
            output_tokens,
            found.read_tokens[index],
            tuple(written[index] for written in found.written_tokens),
            found.created_tokens[index],
            found.storage_s[index],
        )
        lifetime = self._caching.lifetimes(self._rules)[0]
        self._cost_usd += float(charge(usage, rates, lifetime).total_usd)
        self.streams.over(index, 0.0, why)

    def _split(self, upper: int, lower: int) -> None:
        for machine in self._router.split(upper, lower):
            self._cache.split(upper, lower, machine)

    # -- what others see ---------------------------------------------------------------------------

    def iterations(self) -> list[int]:
        """None: a hosted API shows none."""
        return []

    def usage(self, index: int, output_tokens: int) -> Usage:
        """Its tokens; what it read and wrote is known from its arrival on."""
        found = self._found
        return Usage(
            self._trace.content.end[self._trace.prompt[index]],
            found.read_tokens[index],
            {
                one.seconds: written[index]
                for one, written in zip(self._rules.lifetimes, found.written_tokens, strict=True)
                if written[index]
            },
            output_tokens,
        )

    def times(self, index: int) -> Times:
        """Its times; what is yet to come is not told."""
        served, now_s = self._served, self.env.now_s

        def past(at_s: float) -> float:
            return at_s if at_s <= now_s else nan

        at_s = served.arrival_s[index]
        return Times(at_s, at_s, past(served.first_token_s[index]), past(served.finished_s[index]))

    def state(self, now_s: float) -> State:
        """The counters as they stand."""
        return State(
            now_s=now_s,
            running=len(self._going),
            waiting=0,
            kv_usage=0.0,
            prompt_tokens=self._prompt_tokens,
            hit_tokens=self._hit_tokens,
            output_tokens=self.streams.output_tokens,
            completed=self._ended[COMPLETED],
            aborted=self._ended[ABORTED] + self._ended[TIMED_OUT],
            preemptions=0,
            cost_usd=self._cost_usd,
        )

    def records(self) -> Records:
        """The table of what happened, now that all requests are over."""
        self._served.overflows = self._router.overflows
        rules = ByModel([self._rules], bytes(len(self._trace)))
        return self._system.records(self._trace, self._served, rules, self._caching)
