"""``kind: engine``: replicas of a serving engine on GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from sim.caches import EngineCache, NoCache
from sim.caches.base import too_long, too_long_note
from sim.caches.radix_replay import RadixConfig
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig
from sim.engine.config import Engine
from sim.engine.link import LinkSpeed
from sim.fleet.routers import RouterConfig
from sim.fleet.routers.round_robin import RoundRobinConfig
from sim.fleet.share import Share
from sim.hardware import catalogue
from sim.hardware.by_hand import ModelName
from sim.hardware.catalogue import Model
from sim.results.pricing import Price
from sim.results.records import Records
from sim.systems import drafting
from sim.systems.approximations import approximations
from sim.systems.failures import FailureConfig, require_order
from sim.systems.fleet_run import run_fleet
from sim.systems.layer_groups import keeps_groups, with_groups
from sim.systems.pool import Pool
from sim.systems.together import require_sense
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
        model, travels = self.served_model(folder, key), self.kv_link is not None
        if isinstance(self.cache, BlockConfig):
            self.cache.require_online(f"{key}.cache")
        cache = self.cache
        if isinstance(cache, TieredConfig):
            cache = cache.sized(self._replica_kv_bytes(model), f"{key}.cache")
        elif model is not None and keeps_groups(self._engines, travels=travels):
            cache = with_groups(cache, model)
        if not travels:
            cache = drafting.with_drafts(cache, drafting.common(self._engines, key), key)
        if self.pools is None:
            system = self.filled_in(model, cache, key, folder)
        else:
            pools = [
                pool.filled_in(model, cache, f"{key}.pools.{i}", folder)
                for i, pool in enumerate(self.pools)
            ]
            system = self.model_copy(update={"pools": pools})
        system = system.model_copy(update={"cache": cache})
        listed = self.pools is not None
        require_sense(system.all_pools, cache, model, key, listed=listed, travels=travels)
        require_order(self.failures, self.ranks_in_all, key)
        self._require_something_to_retry(key)
        if isinstance(cache, RadixConfig) and system.pools is None:
            kind = system.engine.kv(cache, key)
            if kind.is_own or cache.capacity_tokens is None:
                tokens = system.usable_blocks * kind.block_size(cache)
                cache = cache.model_copy(update={"capacity_tokens": tokens})
        return system.model_copy(update={"cache": cache})

    def _require_something_to_retry(self, key: str) -> None:
        turns_away = self.max_queued_requests or any(failure.back_s is None for failure in self.failures)
        if self.retries is not None and self.deadline_s is None and not turns_away:
            raise InputError(
                f"{key}.retries: every request waits until it is served, so none is sent again; allowed: "
                "with deadline_s, max_queued_requests or a replica that fails for good"
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
        if self.is_beside:
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
        model, pools = self.served_model(folder), self.all_pools
        profiles = [pool.profile(model, "", folder) for pool in pools]
        travels, fail = self.kv_link is not None, bool(self.failures)
        found = approximations(pools, profiles, model, self.cache, travels=travels, fail=fail)
        notes = [f"approximate: {text}" for text in found]
        notes += too_long_note(beside, trace.requests) + [profile.note() for profile in profiles]
        for pool, over in zip(pools, by_pool, strict=True):
            notes += pool.memory_notes(trace.requests, over, model, self.cache)
        return list(dict.fromkeys(notes))

    def calibrated(self, folder: Path) -> bool:
        """Whether the times come from measurements of these devices."""
        model = self.served_model(folder)
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
            return run_fleet(self, trace, folder, tick, self.cache, share, watched=True)
        records = run_fleet(self, salted(trace), folder, tick, self.cache, share, watched=True)
        shared = run_fleet(self, trace, folder, tick, self.cache, share)
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
        size, groups = self.block_size(self.cache), getattr(self.cache, "groups", None)
        return run_fleet(
            self, trace, folder, tick, NoCache(kind="none", block_size=size, groups=groups), share
        )

    def model_name(self, folder: Path) -> str:
        """How messages call the model; empty where there is none."""
        model = self.served_model(folder)
        return "" if model is None else model.name

    @property
    def is_beside(self) -> bool:
        """Whether the cache stands beside the engine's memory."""
        return not self.all_pools[0].engine.kv(self.cache, "").is_own

    @property
    def memory_tokens(self) -> int | None:
        """Tokens that the KV memory of all replicas holds; None where the number of blocks is not known."""
        blocks = [pool.memory.kv_blocks for pool in self.all_pools]
        if None in blocks or self.is_beside:
            return None
        ranks = [pool.ranks for pool in self.all_pools]
        return self.block_size(self.cache) * sum(n * (b or 0) for n, b in zip(ranks, blocks, strict=True))

    def block_size(self, cache: EngineCache) -> int:
        """Tokens of a KV block beside ``cache``."""
        return self.all_pools[0].engine.kv(cache, "").block_size(cache)

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

    @property
    def _engines(self) -> list[Engine]:
        return [pool.engine for pool in self.all_pools]

    def served_model(self, folder: Path, key: str = "") -> Model | None:
        """The model that ``model`` names, as it is served; None where none is named."""
        if self.model is None:
            return None
        return catalogue.model(self.model, folder, f"{key}.model", self.dtype, self.kv_cache_dtype)
