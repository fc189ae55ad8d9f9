"""``kind: provider``: a hosted API with its caching rules, its prices and a model of its latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import field_validator, model_validator

from sim.providers.bills import Hosted
from sim.providers.given_up import Patience
from sim.providers.latency import UNSHOWN, HostedLatency
from sim.providers.marks import NEEDS_SYSTEM, Caching
from sim.providers.notes import GIVEN_UP, GIVEN_UP_BY_DEFAULT, below_minimum
from sim.providers.prices import PriceList, ProviderPrice, Tier
from sim.providers.schema import Rules
from sim.providers.serve import ByModel, HostedTimes, serve
from sim.providers.tables import billed_calls, request_log
from sim.providers.terms import RECORDED, Terms
from sim.results.records import Records
from sim.results.summary_cost import Regret
from sim.systems import deadlines, strategies
from workloads.clients import Retries
from workloads.errors import InputError
from workloads.lengths import Distribution
from workloads.schema import Schema
from workloads.tenants import salted
from workloads.trace import Trace

REGRET_REQUESTS = 30_000
"""Up to so many requests the other strategies are tried as well, unless the configuration says."""
WIDTH = {"organisation": 0, "subscription": 0, "workspace": 1, "project": 1}
TENANTS = {"organisations": 0, "workspaces": 1, "users": 2}
"""Who shares a cache: tenants of a trace are apart if they are no narrower than the provider's scope."""


class ProviderSystem(Schema):
    """A model of a hosted API. All requests go to one ``model``, or each to the one that the trace names.

    ``tier`` is the price tier; ``start`` the UTC time of the trace's second 0, which decides the prices;
    ``rules`` replaces values of the provider's rules (all of them for ``provider: custom``); ``tenants``
    says what the trace's tenants are to the provider. ``regret`` compares with every other strategy for
    marks and lifetimes (default: where the trace has at most 30,000 requests).

    ``model: recorded`` keeps caches and prices per model. Without ``latency`` no time is shown: those of
    the default line still pass in the simulation, where follow-ups wait for replies. A client hangs up when
    a reply is not complete ``deadline_s`` after it was asked for, and asks again as ``retries`` says.
    """

    kind: Literal["provider"]
    provider: str
    """One that ships (`python -m sim providers`), or `custom` with rules and prices of your own."""
    model: str
    """The model by the provider's name, or `recorded`: each request's own, as the trace names it."""
    caching: Caching = Caching()
    """What the client asks for: mode, marks, lifetime, key."""
    tier: Tier = "standard"
    """The price tier: standard, batch, flex, priority or fast."""
    start: datetime = datetime(2026, 11, 24, tzinfo=UTC)
    """UTC time of the trace's second 0: prices and rules of that day hold, and its hours."""
    price: ProviderPrice | None = None
    """Prices that replace those of the price library."""
    tenants: Literal["users", "workspaces", "organisations"] = "users"
    """What the trace's tenants are to the provider: `users` of one account, `workspaces`, or
    `organisations`."""
    rules: dict[str, Any] | None = None
    """Values that replace the provider's rules (`python -m sim rules PROVIDER` lists them); all of them
    for `provider: custom`."""
    latency: HostedLatency | None = None
    """A line for the time to first token; without it no times are shown."""
    deadline_s: Distribution | None = None
    """When a client hangs up, s after it asked; a number or a distribution. Left out: never."""
    retries: Retries | None = None
    """How a client asks again after it hung up; goes with `deadline_s`."""
    regret: bool | None = None
    """Whether all other placements of marks and lifetimes are tried; left out: up to 30,000 requests."""

    @field_validator("start")
    @classmethod
    def _in_utc(cls, start: datetime) -> datetime:
        if not 2000 <= start.year <= 2100:
            raise ValueError("allowed: a time from 2000 to 2100")
        return start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)

    @model_validator(mode="after")
    def _something_to_retry(self) -> ProviderSystem:
        if self.retries is not None and self.deadline_s is None:
            raise ValueError("retries: no call is given up without a deadline_s; allowed: with one")
        return self

    def resolved(self, key: str, folder: Path) -> ProviderSystem:
        """The client's defaults filled in; InputError if provider, model, price or caching do not go."""
        rules = self._rules(key)
        if self.model == RECORDED:  # what is sold depends on the models
            return self
        self._terms.require_current(self.model, key)
        self._terms.prices(self.model, key)
        if self.caching.mode == "off":
            self.caching.check_lifetimes(rules, self.provider, f"{key}.caching")
            return self
        caching = self._require_caching(rules, self.provider, key)
        return self.model_copy(update={"caching": caching})

    def _require_caching(self, rules: Rules, sold_by: str, key: str) -> Caching:
        """The client's settings with the defaults of ``rules``; InputError if these do not allow them."""
        if self.tier == "batch" and not rules.batch:
            raise InputError(f"{key}.tier = 'batch': {sold_by} caches no batch requests; allowed: standard")
        caching = self.caching.filled(rules)
        caching.check(rules, sold_by, f"{key}.caching")
        return caching

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if the trace lacks the messages or models that the system speaks of."""
        if (
            self.caching.mode != "off"
            and self.caching.strategy in NEEDS_SYSTEM
            and not trace.system_messages
        ):
            raise InputError(
                f"{key}.caching.marks = {self.caching.strategy!r}: the trace has no system messages; "
                "allowed: none, last, window"
            )
        if self.caching.mode != "off" and self.caching.strategy == "recorded" and trace.marks is None:
            raise InputError(
                f"{key}.caching.marks = 'recorded': {trace.origin} does not say which marks requests had; "
                "allowed: none, system, last, window, all"
            )
        if self.model != RECORDED:
            return
        if trace.models is None:
            raise InputError(
                f"{key}.model = {RECORDED!r}: {trace.origin} does not name the model of every request; "
                "allowed: the name of one model for all"
            )
        first: Rules | None = None
        for model in self._models(trace):
            self._terms.require_current(model, key)
            self._terms.prices(model, key)
            rules = self._rules(key, model)
            first = first or rules
            if (rules.sold, rules.usage_style) != (first.sold, first.usage_style):
                raise InputError(
                    f"{key}.model = {RECORDED!r}: {model} is sold with other lifetimes "
                    f"({', '.join(rules.sold)}) than {self._models(trace)[0]} ({', '.join(first.sold)}); "
                    "allowed: models with the same ones, or one system for each"
                )
            if self.caching.mode != "off":
                self._require_caching(rules, f"{self.provider} ({model})", key)

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What the reader has to know about this system's figures."""
        caching = self.caching
        by_model = {model: self._rules("", model) for model in self._models(trace)}
        notes = [UNSHOWN if self.latency is None else self.latency.note]
        notes += [note for model in by_model for note in self._terms.price_notes(model)]
        notes += [note for rules in by_model.values() for note in rules.notes]
        if self.deadline_s is not None:
            notes.append(GIVEN_UP if self.latency is not None else GIVEN_UP + GIVEN_UP_BY_DEFAULT)
        if caching.mode == "off":
            return list(dict.fromkeys(notes))
        for model, rules in by_model.items():
            mine: Sequence[int] = range(len(trace))
            if self.model == RECORDED:
                assert trace.models is not None
                mine = [i for i, name in enumerate(trace.models) if name == model]
            notes += below_minimum(trace, mine, rules, caching.filled(rules), model)
        kinds = {rules.kind for rules in by_model.values()}
        if not trace.messages and kinds & {"breakpoint", "unit"}:
            notes.append(
                "approximate: the trace does not tell messages apart; every place where prompts "
                "end or part counts as the end of one"
            )
        if "breakpoint" in kinds and trace.block_id_tokens is not None:
            notes.append(
                f"the trace names blocks of {trace.block_id_tokens} tokens: what a mark wrote is "
                f"found at the end of its last whole block, so hits are a lower bound"
            )
        return list(dict.fromkeys(notes))

    def calibrated(self, folder: Path) -> bool | None:
        """False where times are shown: they are a line, not a measurement of this provider."""
        return None if self.latency is None else False

    def run(self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]) -> Records:
        """Send the trace under the provider's rules; ``tick`` hears how many requests are finished."""
        apart = TENANTS[self.tenants] <= WIDTH[self._rules(key).scope]
        if not apart:
            return self._run(trace, self.caching, tick)
        records = self._run(salted(trace), self.caching, tick)
        shared = self._run(trace, self.caching, tick)
        lost = shared.cache_read_input_tokens - records.cache_read_input_tokens
        records.hits_lost_to_isolation_tokens = lost
        return records

    def run_without_cache(
        self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]
    ) -> Records:
        """The twin: the same requests with caching off."""
        return self._run(trace, Caching(mode="off"), tick)

    def compare(self, trace: Trace, cost_usd: float, off_usd: float) -> Regret | None:
        """Every strategy that this model's rules allow, and the regret of ``cost_usd`` against the best.

        ``off_usd`` is the cost with caching off, a strategy too. None where ``regret`` is off.
        """
        wanted = len(trace) <= REGRET_REQUESTS if self.regret is None else self.regret
        if not wanted or self.caching.mode == "off":
            return None
        return strategies.regret(self, trace, cost_usd, off_usd)

    def sold(self) -> list[str]:
        """The lifetimes that the rules sell; none where they do not go with the client's settings."""
        try:
            return self._rules("").sold
        except InputError:
            return []

    def _run(self, trace: Trace, caching: Caching, tick: Callable[[int], None]) -> Records:
        models = self._models(trace)
        held = [self._rules("", model) for model in models]
        of: Sequence[int] = bytes(len(trace))
        if self.model == RECORDED:
            assert trace.models is not None
            number = {model: i for i, model in enumerate(models)}
            of = [number[model] for model in trace.models]
        caching = caching.filled(held[0])
        line = HostedLatency() if self.latency is None else self.latency
        served = serve(trace, ByModel(held, of), caching, line, tick, self._patience(trace))
        return self.records(trace, served, ByModel(held, of), caching)

    def records(self, trace: Trace, served: HostedTimes, rules: ByModel, caching: Caching) -> Records:
        """The table of what was ``served`` by ``rules``, with its bill."""
        held, of = rules
        records = Records.of(request_log(trace, served, timed=self.latency is not None))
        prices = [self._terms.prices(model, "") for model in self._models(trace)]
        records.hosted = Hosted(
            cards=tuple(card for one in prices for card in one.cards),
            latency=HostedLatency() if self.latency is None else self.latency,
            calls=billed_calls(records, served, prices, of, held[0].sold),
            written_tokens=np.array(served.found.written_tokens, dtype=np.int64).sum(axis=0),
            lifetime=caching.lifetimes(held[0])[0],
            usage_style=held[0].usage_style,
            overflows=served.overflows,
        )
        records.check()
        return records

    def live(self, key: str) -> ProviderSystem:
        """What a live server serves of it: marks and cache keys are those of the requests, who asks again
        is up to clients.

        Where an API caches only what a request asks for (it counts reads and writes beside the input, as
        Anthropic does), no mark is set that a request does not have.
        """
        if self.model == RECORDED:
            raise InputError(f"{key}.model = {RECORDED!r}: a live server has no trace; allowed: a model")
        caching = self.caching.model_copy(update={"key": "tenant", "system_ttl": None})
        if caching.mode != "off":
            rules = self._rules(key)
            if rules.auto_mark and rules.usage_style == "exclusive":
                caching = caching.model_copy(update={"mode": "explicit"})
            if rules.client_marks:
                caching = caching.model_copy(update={"marks": "recorded"})
        return self.model_copy(update={"caching": caching, "retries": None, "tenants": "users"})

    def serving(self) -> tuple[Rules, Caching, PriceList, HostedLatency]:
        """Rules, client's settings, prices and times of its one model."""
        rules = self._rules("")
        line = HostedLatency() if self.latency is None else self.latency
        return rules, self.caching.filled(rules), self._terms.prices(self.model, ""), line

    def _patience(self, trace: Trace) -> Patience | None:
        if self.deadline_s is None:
            return None
        deadline_s = deadlines.drawn(self.deadline_s, trace.seed, len(trace)).tolist()
        return Patience(deadline_s, self.retries)

    def _models(self, trace: Trace) -> list[str]:
        """The models that serve the trace."""
        if self.model != RECORDED:
            return [self.model]
        assert trace.models is not None, "check_trace() first"
        return sorted(set(trace.models))

    def _rules(self, key: str, model: str | None = None) -> Rules:
        """The record for ``model`` (default: the configured one)."""
        return self._terms.rules(model or self.model, key)

    @property
    def _terms(self) -> Terms:
        return Terms(self.provider, self.caching.mode, self.rules or {}, self.tier, self.start, self.price)
