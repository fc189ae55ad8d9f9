"""``kind: engine``: replicas of a serving engine on GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from sim.caches import EngineCache, NoCache
from sim.caches.groups.config import width
from sim.caches.radix_replay import RadixConfig
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig
from sim.engine.events import Clock
from sim.engine.kv import KvKind, SharedLink, SourceOf
from sim.engine.link import LinkSpeed
from sim.engine.loads import Source
from sim.engine.sglang.config import SglangEngine
from sim.engine.sources import RemotePrefill
from sim.fleet.fleet import Fleet
from sim.fleet.plan import Failure, Hardships
from sim.fleet.routers import RouterConfig
from sim.fleet.routers.round_robin import RoundRobinConfig
from sim.hardware import catalogue
from sim.hardware.catalogue import Model
from sim.results.pricing import Price
from sim.results.records import Records
from sim.systems.pool import Pool
from workloads.clients import Retries
from workloads.errors import InputError
from workloads.lengths import Distribution
from workloads.schema import MOST_S, Schema
from workloads.seeds import stream
from workloads.tenants import salted
from workloads.trace import Trace


class FailureConfig(Schema):
    """Replica ``replica`` (from 0) dies at ``at_s`` and comes back cold at ``back_s``, or never."""

    replica: int = Field(ge=0)
    at_s: float = Field(ge=0, le=MOST_S)
    back_s: float | None = Field(default=None, gt=0, le=MOST_S)

    @model_validator(mode="after")
    def _back_later(self) -> FailureConfig:
        if self.back_s is not None and self.back_s <= self.at_s:
            raise ValueError(f"back_s ({self.back_s:g}) must be later than at_s ({self.at_s:g})")
        return self


class EngineSystem(Pool):
    """``replicas`` of one model behind a router, or ``pools`` of unlike ones.

    Model and hardware may be left out where nothing depends on them: ``memory.kv_blocks`` and a
    ``latency`` other than the roofline given. vLLM's own cache is of kind ``block``; any other kind stands
    beside its memory (``sim/engine/beside.py``), but for tiers whose loads take time. SGLang's is of kind
    ``radix``, and no other goes with it; its KV blocks are pages of ``page_size`` tokens. With ``tenants:
    salted`` every tenant's prompts carry a salt of their own; what that loses is counted by a shared run.

    What a pool does not say is as the system has it. ``role: prefill`` and ``role: decode`` pools hand
    requests over ``kv_link``. ``max_queued_requests`` (waiting, per replica) rejects, ``deadline_s`` is
    when a client gives up, ``retries`` how it then sends its request again, ``failures`` take replicas out:
    those that prefill are counted before those that decode.

    ``record_steps`` keeps what every step scheduled, for steps.parquet (slower: no runs of steps);
    ``sample_s`` is the interval of timeseries.parquet.
    """

    kind: Literal["engine"]
    model: str | None = None
    router: RouterConfig = RoundRobinConfig()
    cache: Annotated[EngineCache, Field(discriminator="kind")] = BlockConfig(kind="block")
    tenants: Literal["shared", "salted"] = "shared"
    price: Price | None = None
    pools: list[Pool] | None = Field(default=None, min_length=1)
    kv_link: LinkSpeed | None = None
    max_queued_requests: PositiveInt | None = None
    deadline_s: Distribution | None = None
    failures: list[FailureConfig] = Field(default=[])
    retries: Retries | None = None
    record_steps: bool = False
    sample_s: float | None = Field(default=None, ge=1e-3)

    @model_validator(mode="before")
    @classmethod
    def _defaults_for_pools(cls, data: Any) -> Any:
        """A pool has what the system has, where it says nothing; sglang has a radix cache."""
        if not isinstance(data, dict):
            return data
        engine = data.get("engine")
        if isinstance(engine, dict) and engine.get("kind") == "sglang" and "cache" not in data:
            data = {**data, "cache": {"kind": "radix"}}
        if isinstance(data.get("pools"), list):
            common = {key: data[key] for key in Pool.model_fields if key in data}
            pools = [{**common, **pool} if isinstance(pool, dict) else pool for pool in data["pools"]]
            data = {**data, "pools": pools}
        return data

    def resolved(self, key: str, folder: Path) -> Self:
        """Fill in KV blocks and batch limits; InputError if something does not go together."""
        model = self._model(key, folder)
        if isinstance(self.cache, BlockConfig):
            self.cache.require_online(f"{key}.cache")
        cache = self._with_groups(model)
        if self.pools is None:
            system = self.filled_in(model, cache, key, folder)
        else:
            pools = [
                pool.filled_in(model, cache, f"{key}.pools.{i}", folder)
                for i, pool in enumerate(self.pools)
            ]
            system = self.model_copy(update={"pools": pools})
        system = system.model_copy(update={"cache": cache})
        system._require_sense(model, key)
        if isinstance(cache, RadixConfig) and system.pools is None:
            kind = system.engine.kv(cache, key)
            if kind.is_own or cache.capacity_tokens is None:
                tokens = system.kv_blocks * kind.block_size(cache)
                cache = cache.model_copy(update={"capacity_tokens": tokens})
        return system.model_copy(update={"cache": cache})

    def _with_groups(self, model: Model | None) -> EngineCache:
        """The cache with the groups of the model's layers, where it says none."""
        cache = self.cache
        names = getattr(model, "group_names", None)
        if not isinstance(cache, BlockConfig | NoCache) or cache.groups is not None or names is None:
            return cache
        groups = names()
        if (
            not groups
            or groups == ["full"]
            or (isinstance(cache, BlockConfig) and not cache.is_engines_own)
        ):
            return cache
        return cache.model_copy(update={"groups": groups})

    def _require_sense(self, model: Model | None, key: str) -> None:
        """InputError for parts that do not go together."""

        def refuse(what: str, allowed: str) -> None:
            raise InputError(f"{key}.{what}; allowed: {allowed}")

        pools = self._pools()
        roles = {pool.role for pool in pools}
        beside = not all(pool.engine.kv(self.cache, key).is_own for pool in pools)
        timed = isinstance(self.cache, TieredConfig) and self.cache.takes_time
        if beside and self.pools is not None:
            refuse(
                f"pools with a cache beside the memory (kind {self.cache.kind})",
                "a cache of the engine's own",
            )
        if roles != {"both"} and roles != {"prefill", "decode"}:
            refuse(
                f"pools with roles {', '.join(sorted(roles))}", "all both, or some prefill and some decode"
            )
        if ("decode" in roles) != (self.kv_link is not None):
            refuse("kv_link goes with pools of role prefill and decode", "both or none")
        if self.kv_link is not None and width(self.cache) > 1:
            refuse(
                f"cache.groups of {width(self.cache)} groups: what of a window travels is not modelled",
                "one group of full attention, or pools of role both",
            )
        if (timed or self.kv_link is not None) and model is None:
            refuse("model is missing, and KV travels", "a model, whose KV has a size")
        self._require_failures(sum(pool.replicas for pool in pools), key)

    def _require_failures(self, replicas: int, key: str) -> None:
        up_s: dict[int, float] = {}
        for i, failure in enumerate(self.failures):
            if failure.replica >= replicas:
                raise InputError(
                    f"{key}.failures.{i}.replica = {failure.replica}; allowed: 0 to {replicas - 1}"
                )
            if failure.at_s < up_s.get(failure.replica, 0.0):
                raise InputError(
                    f"{key}.failures.{i}.at_s = {failure.at_s:g}: replica {failure.replica} is down then; "
                    "allowed: failures of one replica in order, each after its return"
                )
            up_s[failure.replica] = failure.back_s if failure.back_s is not None else float("inf")

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if a request is larger than a replica's KV memory."""
        bound = self.max_queued_requests
        if trace.concurrency is not None and bound is not None and bound < trace.concurrency:
            raise InputError(
                f"{key}.max_queued_requests = {bound} in closed loop: who is turned away is replaced at "
                f"the same instant; allowed: at least the concurrency ({trace.concurrency})"
            )
        for pool in self._pools():
            pool.require_fit(trace, self.cache, key)
        if not self._kv.is_own:
            assert not isinstance(self.cache, NoCache)
            self.cache.replay(trace, f"{key}.cache")

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What the reader has to know about this system's figures."""
        model = self._model("", folder)
        pools = self._pools()
        profiles = [pool.profile(model, "", folder) for pool in pools]
        notes = []
        for pool in pools:
            notes += [f"approximate: {text}" for text in pool.engine.approximations(self.cache)]
        if not self._kv.is_own:
            notes.append(
                f"approximate: the {self.cache.kind} cache stands beside the engine's memory; what it "
                "finds costs no time and no KV block is shared"
            )
        if isinstance(self.cache, TieredConfig) and self.cache.takes_time:
            notes.append(
                "approximate: what lower tiers keep and when they are written is not an engine's detail"
            )
        if self.kv_link is not None:
            notes.append(
                "approximate: KV travels in one transfer per request, and the prefilling replica gives its "
                "blocks back with the first token"
            )
        if self.failures:
            notes.append(
                "approximate: a replica that dies ends its iteration; its requests start anew elsewhere"
            )
        for profile in profiles:
            if not profile.calibrated:
                notes.append(f"uncalibrated: times are not measured but computed ({profile.id})")
        if model is not None:
            longest = model.max_position_embeddings
            totals = zip(trace.input_tokens, trace.output_tokens, strict=True)
            over = sum(prompt + output > longest for prompt, output in totals)
            if over:
                notes.append(
                    f"{over:,} of {len(trace):,} requests exceed the {longest:,} positions of "
                    f"{model.name}; they are served as if it could"
                )
        return list(dict.fromkeys(notes))

    def calibrated(self, folder: Path) -> bool:
        """Whether the times come from measurements of these devices."""
        model = self._model("", folder)
        return all(pool.profile(model, "", folder).calibrated for pool in self._pools())

    def run(self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]) -> Records:
        """Serve the trace in simulated time; ``tick`` hears how many requests are finished."""
        if self.tenants == "shared":
            return self._run(trace, folder, tick, self.cache, watched=True)
        records = self._run(salted(trace), folder, tick, self.cache, watched=True)
        shared = self._run(trace, folder, tick, self.cache)
        lost = shared.cache_read_input_tokens - records.cache_read_input_tokens
        records.hits_lost_to_isolation_tokens = int(lost.sum())
        return records

    def run_without_cache(
        self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]
    ) -> Records:
        """The twin: the same requests on the same replicas with prefix caching off."""
        size, groups = self._kv.block_size(self.cache), getattr(self.cache, "groups", None)
        return self._run(trace, folder, tick, NoCache(kind="none", block_size=size, groups=groups))

    def _run(
        self,
        trace: Trace,
        folder: Path,
        tick: Callable[[int], None],
        cache: EngineCache,
        *,
        watched: bool = False,
    ) -> Records:
        """One run; ``watched`` ones keep their steps and samples where that is asked for."""
        model, pools = self._model("", folder), self._pools()
        tier_hits: dict[str, int] = {}
        router, hardships = self.router.router, self._hardships(trace)
        sample_s = self.sample_s if watched else None
        remote: SourceOf | None = None
        if self.kv_link is not None:
            assert model is not None
            link, kv_bytes, size = (
                SharedLink(self.kv_link),
                model.kv_bytes_per_token,
                self._block_size(cache),
            )

            def remote(env: Clock) -> Source:
                return RemotePrefill(link.on(env), size, kv_bytes)

        plans = [
            plan
            for role in ("both", "prefill", "decode")
            for pool in pools
            if pool.role == role
            for plan in pool.plans(trace, cache, model, folder, tier_hits, remote)
        ]
        records = Fleet(
            trace,
            plans,
            router,
            hardships=hardships,
            record_steps=self.record_steps and watched,
            sample_s=sample_s,
            tick=tick,
        ).run()
        if isinstance(pools[0].engine, SglangEngine) and records.evicted_blocks is not None:
            records.evicted_tokens = records.evicted_blocks * self._block_size(cache)
        if isinstance(cache, TieredConfig) and cache.takes_time:
            total = int(records.cache_read_input_tokens.sum())
            below = {tier.name: tier_hits.get(tier.name, 0) for tier in cache.tiers[1:]}
            records.hit_tokens_by_tier = {cache.tiers[0].name: total - sum(below.values()), **below}
        return records

    @property
    def _kv(self) -> KvKind:
        """How the cache is, or stands beside, the engine's memory."""
        return self._pools()[0].engine.kv(self.cache, "")

    def _block_size(self, cache: EngineCache) -> int:
        return self._pools()[0].engine.kv(cache, "").block_size(cache)

    def _hardships(self, trace: Trace) -> Hardships:
        deadlines = None
        if self.deadline_s is not None:
            deadlines = self.deadline_s.sample(stream(trace.seed, "deadline"), len(trace)).tolist()
        failures = tuple(Failure(f.replica, f.at_s, f.back_s) for f in self.failures)
        return Hardships(self.max_queued_requests, deadlines, failures, self.retries)

    def _pools(self) -> list[Pool]:
        return [self] if self.pools is None else self.pools

    def _model(self, key: str, folder: Path) -> Model | None:
        return catalogue.model(self.model, folder, f"{key}.model") if self.model else None
