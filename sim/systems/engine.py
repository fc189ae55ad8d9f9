"""``kind: engine``: replicas of a serving engine on GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from sim.caches import EngineCache, NoCache
from sim.caches.base import too_long, too_long_note
from sim.caches.groups.config import groups_of
from sim.caches.radix_replay import RadixConfig
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig
from sim.engine.events import Clock
from sim.engine.kv import KvKind, SharedLink, SourceOf
from sim.engine.link import LinkSpeed
from sim.engine.loads import Source
from sim.engine.sglang.config import SglangEngine
from sim.engine.sources import RemotePrefill
from sim.engine.vllm.speculative_config import Speculative
from sim.fleet.fleet import Fleet
from sim.fleet.live import Live
from sim.fleet.plan import Failure, Hardships, ReplicaPlan
from sim.fleet.routers import RouterConfig
from sim.fleet.routers.round_robin import RoundRobinConfig
from sim.fleet.share import Share
from sim.hardware import catalogue
from sim.hardware.by_hand import ModelName
from sim.hardware.catalogue import Model
from sim.results.pricing import Price
from sim.results.records import Records
from sim.systems import deadlines, drafting
from sim.systems.approximations import approximations
from sim.systems.failures import FailureConfig, require_order
from sim.systems.layer_groups import with_groups
from sim.systems.pool import Pool
from workloads.clients import Retries
from workloads.errors import InputError
from workloads.lengths import Distribution
from workloads.tenants import salted
from workloads.trace import Trace

Dtype = Literal["auto", "half", "float16", "bfloat16", "float", "float32"]
KvCacheDtype = Literal["auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla", "int8"]


class EngineSystem(Pool):
    """``replicas`` of one model behind a router, or ``pools`` of unlike ones.

    Model and hardware may be left out where nothing depends on them: ``memory.kv_blocks`` and a
    ``latency`` other than the roofline given. vLLM's own cache is of kind ``block``; any other kind stands
    beside its memory (``sim/engine/beside.py``), but for tiers whose loads take time. SGLang's is of kind
    ``radix``, and no other goes with it; its KV blocks are pages of ``page_size`` tokens. With ``tenants:
    salted`` every tenant's prompts carry a salt of their own; what that loses is counted by a shared run.

    ``model`` is a name of the catalogue, the path of a config.json or of its folder, or a mapping with the
    model's figures. ``dtype`` and ``kv_cache_dtype`` are vLLM's options: auto serves a checkpoint as it
    is quantised, and what is in 32 bit in 16.

    What a pool does not say is as the system has it. ``role: prefill`` and ``role: decode`` pools hand
    requests over ``kv_link``. ``max_queued_requests`` (waiting, per replica) rejects, ``deadline_s`` is
    when a client gives up, ``retries`` how it then sends its request again, ``failures`` take replicas out:
    those that prefill are counted before those that decode.

    ``record_steps`` keeps what every step scheduled, for steps.parquet (slower: no runs of steps);
    ``sample_s`` is the interval of timeseries.parquet.
    """

    kind: Literal["engine"]
    model: ModelName | None = None
    """Name of a model (`python -m sim models`), path of a Hugging Face config.json or of its folder, or
    the model's figures."""
    dtype: Dtype = "auto"
    """Type of the weights, vLLM's option; `auto`: as the checkpoint has them."""
    kv_cache_dtype: KvCacheDtype = "auto"
    """Type of the KV cache, vLLM's option; `auto`: as the model's."""
    router: RouterConfig = RoundRobinConfig()
    """Which replica gets a request: the name of a router, or a mapping with its parameters."""
    cache: Annotated[EngineCache, Field(discriminator="kind")] = BlockConfig(kind="block")
    """The prefix cache; by default vLLM's, `{kind: block}`."""
    tenants: Literal["shared", "salted"] = "shared"
    """What tenants share: `shared` (everything) or `salted` (no content)."""
    price: Price | None = None
    """What the GPUs, or the tokens, cost."""
    pools: list[Pool] | None = Field(default=None, min_length=1)
    """Groups of unlike replicas; what one of them does not say is as here."""
    kv_link: LinkSpeed | None = None
    """The link between replicas that prefill and those that decode."""
    max_queued_requests: PositiveInt | None = None
    """Requests that wait at a replica at most; further ones are rejected. Left out: no limit."""
    deadline_s: Distribution | None = None
    """When a client hangs up, s after it asked; a number or a distribution. Left out: never."""
    failures: list[FailureConfig] = Field(default=[])
    """Replicas that die, and when."""
    retries: Retries | None = None
    """How a client sends again what was rejected or timed out; left out: never. Goes with `deadline_s`,
    `max_queued_requests` or a replica that fails for good."""
    record_steps: bool = False
    """Whether what every step scheduled is kept, for steps.parquet; slower."""
    sample_s: float | None = Field(default=None, ge=1e-3)
    """Interval of timeseries.parquet, s; left out: no such file."""

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
        cache = self.cache
        if isinstance(cache, TieredConfig):
            cache = cache.sized(self._replica_kv_bytes(model), f"{key}.cache")
        elif model is not None and self._keeps_groups:
            cache = with_groups(cache, model)
        if self.kv_link is None:
            cache = drafting.with_drafts(cache, self._speculative(key), key)
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
                tokens = system.usable_blocks * kind.block_size(cache)
                cache = cache.model_copy(update={"capacity_tokens": tokens})
        return system.model_copy(update={"cache": cache})

    def _speculative(self, key: str) -> Speculative | None:
        """The pools' common options of speculative decoding; InputError if they differ."""
        found = [drafting.speculative_of(pool.engine) for pool in self.all_pools]
        if any(options != found[0] for options in found):
            raise InputError(
                f"{key}.pools: engine.speculative differs between pools; allowed: the same in all of them"
            )
        return found[0]

    @property
    def _keeps_groups(self) -> bool:
        """Whether the engine can keep several groups of layers: vLLM, where no KV travels."""
        return self.kv_link is None and all(pool.engine.kind == "vllm" for pool in self.all_pools)

    def _require_sense(self, model: Model | None, key: str) -> None:
        """InputError for parts that do not go together."""

        def refuse(what: str, allowed: str) -> None:
            raise InputError(f"{key}.{what}; allowed: {allowed}")

        pools = self.all_pools
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
        groups = groups_of(self.cache)
        if groups != ["full"] and not self._keeps_groups:
            refuse(
                f"cache.groups = {groups}: SGLang has none, and what of a window travels is not modelled",
                "[full], or engines of kind vllm with pools of role both",
            )
        if (timed or self.kv_link is not None) and model is None:
            refuse("model is missing, and KV travels", "a model, whose KV has a size")
        require_order(self.failures, self.ranks_in_all, key)
        turns_away = self.max_queued_requests or any(failure.back_s is None for failure in self.failures)
        if self.retries is not None and self.deadline_s is None and not turns_away:
            refuse(
                "retries: every request waits until it is served, so none is sent again",
                "with deadline_s, max_queued_requests or a replica that fails for good",
            )

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if the options contradict the trace."""
        bound = self.max_queued_requests
        if trace.concurrency is not None and bound is not None and bound < trace.concurrency:
            raise InputError(
                f"{key}.max_queued_requests = {bound} in closed loop: who is turned away is replaced at "
                f"the same instant; allowed: at least the concurrency ({trace.concurrency})"
            )
        for pool in self.all_pools:
            pool.require_fit(trace, key)
        if not self._kv.is_own:
            assert not isinstance(self.cache, NoCache)
            self.cache.replay(trace, f"{key}.cache")

    def each_too_long(self, trace: Trace) -> list[int]:
        """How many requests of ``trace`` each pool turns away for their length; last, for how many a cache
        beside the memory is too small."""
        beside = too_long(self.cache, trace) if self.is_beside else 0
        return [*(pool.count_too_long(trace, self.cache) for pool in self.all_pools), beside]

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What the reader has to know about this system's figures."""
        return self.notes_of(trace, folder, self.each_too_long(trace))

    def notes_of(self, trace: Trace, folder: Path, too_long: Sequence[int]) -> list[str]:
        """The same where it is known how many requests of the whole trace are ``too_long``
        (`each_too_long`)."""
        *by_pool, beside = too_long
        model = self._model("", folder)
        pools = self.all_pools
        profiles = [pool.profile(model, "", folder) for pool in pools]
        notes = []
        for pool in pools:
            notes += [f"approximate: {text}" for text in pool.engine.approximations(self.cache)]
        if options := self._speculative(""):
            latencies = [pool.latency.kind for pool in pools]
            travels = self.kv_link is not None
            about = drafting.approximations(options, self.cache, latencies, travels=travels)
            notes += [f"approximate: {text}" for text in about]
        if not self._kv.is_own:
            notes.append(
                f"approximate: the {self.cache.kind} cache stands beside the engine's memory; what it "
                "finds costs no time and no KV block is shared"
            )
            notes += too_long_note(beside, trace.requests)
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
        if model is not None:
            notes += [f"approximate: {text}" for text in approximations(model, pools, profiles, self.cache)]
        for profile in profiles:
            notes.append(profile.note())
        for pool, over in zip(pools, by_pool, strict=True):
            notes += pool.memory_notes(trace.requests, over, model, self.cache)
        return list(dict.fromkeys(notes))

    def calibrated(self, folder: Path) -> bool:
        """Whether the times come from measurements of these devices."""
        model = self._model("", folder)
        return all(pool.profile(model, "", folder).calibrated for pool in self.all_pools)

    def run(
        self,
        trace: Trace,
        key: str,
        folder: Path,
        tick: Callable[[int], None],
        share: Share | None = None,
    ) -> Records:
        """Serve the trace in simulated time; ``tick`` hears how many requests are finished.

        Of a part of a trace only the replicas of its ``share`` are simulated.
        """
        if self.tenants == "shared":
            return self._run(trace, folder, tick, self.cache, share, watched=True)
        records = self._run(salted(trace), folder, tick, self.cache, share, watched=True)
        shared = self._run(trace, folder, tick, self.cache, share)
        lost = shared.cache_read_input_tokens - records.cache_read_input_tokens
        records.hits_lost_to_isolation_tokens = lost
        return records

    def run_without_cache(
        self,
        trace: Trace,
        key: str,
        folder: Path,
        tick: Callable[[int], None],
        share: Share | None = None,
    ) -> Records:
        """The twin: the same requests on the same replicas with prefix caching off."""
        size, groups = self._kv.block_size(self.cache), getattr(self.cache, "groups", None)
        return self._run(trace, folder, tick, NoCache(kind="none", block_size=size, groups=groups), share)

    def _run(
        self,
        trace: Trace,
        folder: Path,
        tick: Callable[[int], None],
        cache: EngineCache,
        share: Share | None = None,
        *,
        watched: bool = False,
    ) -> Records:
        """One run; ``watched`` ones keep their steps and samples where that is asked for."""
        fleet, tier_hits = self.fleet(trace, folder, tick, cache, share, watched=watched)
        records = self.finished(fleet.run(), cache, tier_hits)
        if share is not None:
            numbers = np.array([*share.replicas, -1])  # the last entry is that of -1: no replica
            records.replica = numbers[records.replica]
        return records

    def fleet(
        self,
        trace: Trace,
        folder: Path,
        tick: Callable[[int], None],
        cache: EngineCache,
        share: Share | None = None,
        *,
        watched: bool = True,
        live: Live | None = None,
        deadline_s: list[float] | None = None,
    ) -> tuple[Fleet, dict[str, int]]:
        """The replicas behind their router, and where hits in lower tiers are counted.

        ``live``: who sends requests while time runs; deadlines are then those in ``deadline_s``, and steps
        and samples, of which there would be no end, are not kept.
        """
        watched = watched and live is None
        model, pools = self._model("", folder), self.all_pools
        tier_hits: dict[str, int] = {}
        if isinstance(cache, TieredConfig):
            tier_hits = {tier.name: 0 for tier in cache.tiers[1:]}
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

        plans: list[ReplicaPlan] = []
        for role in ("both", "prefill", "decode"):
            for pool in pools:
                if pool.role == role:
                    plans += pool.plans(trace, cache, model, folder, tier_hits, remote, len(plans))
        hardships = self._hardships(trace, share)
        if live is not None:
            hardships = replace(hardships, deadline_s=deadline_s)
        fleet = Fleet(
            trace,
            plans,
            self.router.router,
            hardships=hardships,
            record_steps=self.record_steps and watched,
            sample_s=self.sample_s if watched else None,
            tier_hits=tier_hits,
            share=share,
            tick=tick,
            live=live,
        )
        return fleet, tier_hits

    def finished(self, records: Records, cache: EngineCache, tier_hits: dict[str, int]) -> Records:
        """``records`` of a fleet, with what its cache counts beside."""
        if isinstance(self.all_pools[0].engine, SglangEngine) and records.evicted_blocks is not None:
            records.evicted_tokens = records.evicted_blocks * self._block_size(cache)
        if isinstance(cache, TieredConfig) and cache.takes_time:
            total = int(records.cache_read_input_tokens.sum())
            below = {tier.name: tier_hits.get(tier.name, 0) for tier in cache.tiers[1:]}
            records.hit_tokens_by_tier = {cache.tiers[0].name: total - sum(below.values()), **below}
        return records

    @property
    def _kv(self) -> KvKind:
        """How the cache is, or stands beside, the engine's memory."""
        return self.all_pools[0].engine.kv(self.cache, "")

    def model_name(self, folder: Path) -> str:
        """How messages call the model; empty where there is none."""
        model = self._model("", folder)
        return "" if model is None else model.name

    @property
    def is_beside(self) -> bool:
        """Whether the cache stands beside the engine's memory."""
        return not self._kv.is_own

    @property
    def memory_tokens(self) -> int | None:
        """Tokens that the KV memory of all replicas holds; None where the number of blocks is not known."""
        blocks = [pool.memory.kv_blocks for pool in self.all_pools]
        if None in blocks or self.is_beside:
            return None
        ranks = [pool.ranks for pool in self.all_pools]
        return self._block_size(self.cache) * sum(n * (b or 0) for n, b in zip(ranks, blocks, strict=True))

    def _block_size(self, cache: EngineCache) -> int:
        return self.all_pools[0].engine.kv(cache, "").block_size(cache)

    def _hardships(self, trace: Trace, share: Share | None) -> Hardships:
        deadline_s = None
        if self.deadline_s is not None:
            drawn = deadlines.drawn(self.deadline_s, trace.seed, trace.requests)
            deadline_s = (drawn if trace.part is None else drawn[np.array(trace.part.numbers)]).tolist()
        replicas = share.replicas if share else range(self.ranks_in_all)
        here = {number: place for place, number in enumerate(replicas)}
        failures = tuple(
            Failure(here[f.replica], f.at_s, f.back_s) for f in self.failures if f.replica in here
        )
        return Hardships(self.max_queued_requests, deadline_s, failures, self.retries)

    def _replica_kv_bytes(self, model: Model | None) -> int | None:
        """KV bytes of a token on all GPUs of a replica, copied heads included: what a lower tier keeps."""
        if model is None:
            return None
        split = {pool.parallel for pool in self.all_pools}
        return max(model.kv_bytes_per_token_per_gpu(parallel) * parallel.tensor for parallel in split)

    @property
    def ranks_in_all(self) -> int:
        """Replicas of all pools, as the router counts them."""
        return sum(pool.ranks for pool in self.all_pools)

    @property
    def all_pools(self) -> list[Pool]:
        """Its pools; the system itself is the only one where none are listed."""
        return [self] if self.pools is None else self.pools

    def _model(self, key: str, folder: Path) -> Model | None:
        if self.model is None:
            return None
        return catalogue.model(self.model, folder, f"{key}.model", self.dtype, self.kv_cache_dtype)
