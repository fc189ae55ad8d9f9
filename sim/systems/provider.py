"""``kind: provider``: a hosted API with its caching rules, its prices and a model of its latency."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError, field_validator

from sim.providers import bills, rulebook
from sim.providers.bills import Hosted
from sim.providers.latency import HostedLatency
from sim.providers.marks import NEEDS_SYSTEM, Caching, Marks
from sim.providers.prices import PriceList, ProviderPrice, Tier, price_list
from sim.providers.schema import Rules
from sim.providers.serve import serve
from sim.results.records import Records
from sim.results.request_log import COMPLETED, RequestLog
from sim.results.summary_cost import Regret
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.tenants import salted
from workloads.trace import Trace

NEAR = 0.15
"""Prompts less than this share above the minimum are told: token counts differ between tokenizers."""
REGRET_REQUESTS = 30_000
"""Up to so many requests the other strategies are tried as well, unless the configuration says."""
WIDTH = {"organisation": 0, "subscription": 0, "workspace": 1, "project": 1}
TENANTS = {"organisations": 0, "workspaces": 1, "users": 2}
"""Who shares a cache: tenants of a trace are apart if they are no narrower than the provider's scope."""


class ProviderSystem(Schema):
    """A model of a hosted API. One system sends all its requests to one ``model``.

    ``tier`` is the price tier; ``start`` the UTC time of the trace's second 0, which decides the prices;
    ``rules`` replaces values of the provider's rules (all of them for ``provider: custom``); ``tenants``
    says what the trace's tenants are to the provider. ``regret`` compares with every other strategy for
    marks and lifetimes (default: where the trace has at most 30,000 requests).
    """

    kind: Literal["provider"]
    provider: str
    model: str
    caching: Caching = Caching()
    tier: Tier = "standard"
    start: datetime = datetime(2026, 11, 24, tzinfo=UTC)
    price: ProviderPrice | None = None
    tenants: Literal["users", "workspaces", "organisations"] = "users"
    rules: dict[str, Any] | None = None
    latency: HostedLatency = HostedLatency()
    regret: bool | None = None

    @field_validator("start")
    @classmethod
    def _in_utc(cls, start: datetime) -> datetime:
        if not 2000 <= start.year <= 2100:
            raise ValueError("allowed: a time from 2000 to 2100")
        return start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)

    def resolved(self, key: str, folder: Path) -> ProviderSystem:
        """The client's defaults filled in; InputError if provider, model, price or caching do not go."""
        rules = self._rules(key)
        caching = self.caching
        self._prices(key)
        if caching.mode == "off":
            return self
        if self.tier == "batch" and not rules.batch:
            raise InputError(
                f"{key}.tier = 'batch': {self.provider} caches no batch requests; allowed: standard"
            )
        caching = caching.filled(rules)
        caching.check(rules, self.provider, f"{key}.caching")
        return self.model_copy(update={"caching": caching})

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if the client's marks need messages that the trace does not have."""
        if (
            self.caching.mode != "off"
            and self.caching.strategy in NEEDS_SYSTEM
            and not trace.system_messages
        ):
            raise InputError(
                f"{key}.caching.marks = {self.caching.strategy!r}: the trace has no system messages; "
                "allowed: none, last, window"
            )

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What the reader has to know about this system's figures."""
        rules, caching = self._rules(""), self.caching
        notes = [self.latency.note, *rules.notes]
        if caching.mode == "off":
            return notes
        notes += _below_minimum(trace, rules, caching, self.model)
        if not trace.messages and rules.kind in ("breakpoint", "unit"):
            notes.append(
                "approximate: the trace does not tell messages apart; every place where prompts "
                "end or part counts as the end of one"
            )
        if rules.kind == "breakpoint" and trace.block_id_tokens is not None:
            notes.append(
                f"the trace names blocks of {trace.block_id_tokens} tokens: what a mark wrote is "
                f"found at the end of its last whole block, so hits are a lower bound"
            )
        return notes

    def calibrated(self, folder: Path) -> bool:
        """False: the times of a hosted API are a line, not a measurement of this provider."""
        return False

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
        costs = {"off": off_usd}
        for system, strategy in self._alternatives(trace):
            records = system.run(trace, "", Path(), lambda done: None)
            costs[strategy] = float(bills.exact(records).total_usd)
        costs["as configured"] = cost_usd  # two lifetimes in one request, say
        best = min(costs, key=lambda strategy: costs[strategy])
        regret = cost_usd - costs[best]
        return {
            "best_strategy": best,
            "best_cost_usd": costs[best],
            "regret_usd": regret,
            "regret_ratio": regret / costs[best] if costs[best] else None,
            "cost_usd_by_strategy": costs,
        }

    def _alternatives(self, trace: Trace) -> list[tuple[ProviderSystem, str]]:
        """Every mode, placement of marks and lifetime that rules and trace allow."""
        found = []
        for mode in ("automatic", "explicit"):
            for marks in ("none", "system", "last", "window", "all"):
                for ttl in self._sold(mode):
                    asked = {"mode": mode, "marks": marks, "ttl": ttl, "system_ttl": None}
                    system = self.model_copy(update={"caching": self.caching.model_copy(update=asked)})
                    try:
                        system.resolved("", Path())
                        system.check_trace(trace, "", Path())
                    except InputError:
                        continue
                    if (mode, marks) != ("explicit", "none"):  # no mark at all: off
                        found.append((system, f"{mode}, marks {marks}, {ttl}"))
        return found

    def _sold(self, mode: str) -> list[str]:
        system = self.model_copy(update={"caching": Caching.model_validate({"mode": mode})})
        try:
            return system._rules("").sold
        except InputError:
            return []

    def _run(self, trace: Trace, caching: Caching, tick: Callable[[int], None]) -> Records:
        rules, prices = self._rules(""), self._prices("")
        caching = caching.filled(rules)
        served = serve(trace, rules, caching, self.latency, tick)
        log = RequestLog(trace)
        log.arrival_s = log.scheduled_s = array("d", served.arrival_s)
        log.first_token_s = array("d", served.first_token_s)
        log.finished_s = array("d", served.finished_s)
        log.hit_tokens = array("q", served.found.read_tokens)
        log.status = [COMPLETED] * len(trace)
        records = Records.of(log)
        card = [prices.card(*request) for request in zip(trace.input_tokens, served.arrival_s, strict=True)]
        records.hosted = Hosted(
            prices=prices,
            latency=self.latency,
            card=np.array(card, dtype=np.int64),
            written={
                name: np.array(tokens, dtype=np.int64)
                for name, tokens in zip(rules.sold, served.found.written_tokens, strict=True)
            },
            created_tokens=np.array(served.found.created_tokens, dtype=np.int64),
            storage_s=np.array(served.found.storage_s),
            lifetime=caching.lifetimes(rules)[0],
            usage_style=rules.usage_style,
            overflows=served.overflows,
        )
        records.check()
        return records

    def _rules(self, key: str) -> Rules:
        """The record that holds, with the user's values put in."""
        rulebook.require_known(self.provider, f"{key}.provider")
        mode = "automatic" if self.caching.mode == "off" else self.caching.mode
        given = self.rules or {}
        base: dict[str, Any] = {}
        if self.provider == rulebook.CUSTOM:
            base = {"match": ".*", "modes": ["automatic", "explicit"]}
        elif self.caching.mode == "off":
            base = rulebook.any_record(self.provider, self.model, key).model_dump()
        else:
            base = rulebook.record(self.provider, self.model, mode, key).model_dump()
        try:
            return Rules.model_validate({**base, **given})
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join([f"{key}.rules", *(str(part) for part in problem["loc"])])
            value = problem["input"]
            shown = "" if isinstance(value, dict | list) else f" = {value!r}"
            message = problem["msg"].removeprefix("Value error, ")
            raise InputError(f"{where}{shown}: {message}") from None

    def _prices(self, key: str) -> PriceList:
        library = None if self.provider == rulebook.CUSTOM else rulebook.provider(self.provider).library
        return price_list(self._rules(key), library, self.model, self.tier, self.start, self.price, key)


def _below_minimum(trace: Trace, rules: Rules, caching: Caching, model: str) -> list[str]:
    """A warning with the number of requests whose marked prefix (or prompt) is too short to be cached."""
    inputs = trace.input_tokens
    if rules.kind in ("breakpoint", "object"):
        marks = Marks(trace, caching, rules)
        prefixes = [found[0].tokens if (found := marks.of(i)) else 0 for i in range(len(inputs))]
    else:
        prefixes = inputs
    short = sum(0 < tokens < rules.min_tokens for tokens in prefixes)
    near = sum(rules.min_tokens <= tokens < rules.min_tokens * (1 + NEAR) for tokens in prefixes)
    if not short and not near:
        return []
    return [
        f"{short:,} of {len(prefixes):,} requests are under the minimum of {rules.min_tokens:,} tokens for "
        f"{model}: neither written nor read; {near:,} more are less than {NEAR:.0%} above it"
    ]
