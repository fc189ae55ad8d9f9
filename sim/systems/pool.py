"""Equal replicas of an engine: hardware, memory, scheduler, iteration times."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, PositiveInt

from sim.caches import EngineCache
from sim.caches.groups.config import width
from sim.engine.config import Engine
from sim.engine.kv import KvSetting, SourceOf
from sim.engine.latency import IterationTime
from sim.engine.vllm.config import VllmEngine
from sim.fleet.plan import ReplicaPlan, Role
from sim.hardware import catalogue
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.latency_config import Latency, Roofline
from sim.hardware.memory import Memory
from sim.hardware.profile import Profile
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace

SHORTEST_S = 1e-9
"""Least time of an iteration: below it simulated time would not move on."""


class Pool(Schema):
    """``replicas`` replicas, each on ``tensor_parallel`` GPUs of one kind.

    ``role: prefill`` and ``role: decode`` are the two halves of a disaggregated system.
    """

    role: Role = "both"
    replicas: int = Field(default=1, gt=0, le=100_000)
    hardware: str | None = None
    tensor_parallel: PositiveInt = 1
    engine: Engine = VllmEngine()
    memory: Memory = Memory()
    latency: Latency = Roofline()

    def gpu(self, key: str) -> Gpu | None:
        """The GPU that ``hardware`` names; InputError if there is none of that name."""
        return catalogue.gpu(self.hardware, f"{key}.hardware") if self.hardware else None

    def profile(self, model: Model | None, key: str, folder: Path) -> Profile:
        """Where the iteration times come from; InputError if an iteration takes next to no time."""
        profile = self.latency.profile(model, self.gpu(key), key, folder, self.tensor_parallel)
        time = IterationTime(profile.coefficients)
        shortest_s = time.fixed_s(1, 1) + min(time.prefill_s(0, 1), time.decode_s(1, 0))
        if shortest_s < SHORTEST_S:
            raise InputError(
                f"{key}.latency: an iteration of one token takes {shortest_s:g} s; allowed: at least "
                f"{SHORTEST_S:g} s"
            )
        return profile

    def filled_in(self, model: Model | None, cache: EngineCache, key: str, folder: Path) -> Self:
        """The same with KV blocks and batch limits; InputError if a name or the memory does not work."""
        gpu = self.gpu(key)
        self._require_split(model, key)
        self.profile(model, key, folder)
        kind = self.engine.kv(cache, key)
        size = kind.block_size(cache)
        blocks = self.memory.kv_blocks
        if blocks is None:
            blocks = kind.stated_blocks(cache, key)
        if blocks is None:
            if model is None or gpu is None:
                raise InputError(
                    f"{key}.memory.kv_blocks is missing; allowed: a number of blocks, or both model "
                    "and hardware to compute it from"
                )
            # A block holds the layers of one group only, an equal part of them.
            blocks = self.memory.blocks(model, gpu, size, key, self.tensor_parallel) * width(cache)
        engine = self.engine.resolved(gpu, model, blocks, size, f"{key}.engine")
        memory = self.memory.model_copy(update={"kv_blocks": blocks})
        return self.model_copy(update={"memory": memory, "engine": engine})

    def _require_split(self, model: Model | None, key: str) -> None:
        if model is not None and model.num_attention_heads % self.tensor_parallel:
            raise InputError(
                f"{key}.tensor_parallel = {self.tensor_parallel} does not divide the "
                f"{model.num_attention_heads} attention heads of {model.name}; allowed: a divisor"
            )

        if model is not None:
            few, many = sorted((model.num_key_value_heads, self.tensor_parallel))
            if many % few:  # vLLM's models assert the same
                raise InputError(
                    f"{key}.tensor_parallel = {self.tensor_parallel} neither divides the "
                    f"{model.num_key_value_heads} KV heads of {model.name} nor is a multiple of them; "
                    "allowed: either"
                )

    def require_fit(self, trace: Trace, cache: EngineCache, key: str) -> None:
        """Raise InputError if a request is larger than a replica's KV memory."""
        size = self.engine.kv(cache, key).block_size(cache)
        self.engine.require_fit(trace, cache, self.kv_blocks, size, key)

    @property
    def kv_blocks(self) -> int:
        """KV blocks of a replica, once filled in."""
        assert self.memory.kv_blocks is not None, "filled_in() first"
        return self.memory.kv_blocks

    def plans(
        self,
        trace: Trace,
        cache: EngineCache,
        model: Model | None,
        folder: Path,
        tier_hits: dict[str, int],
        remote: SourceOf | None,
    ) -> list[ReplicaPlan]:
        """The replicas of one run; hits in lower tiers are added to ``tier_hits``.

        ``remote`` brings a prompt's KV to replicas that only decode; they have no tiers of their own.
        """
        profile = self.profile(model, "", folder)
        time = IterationTime(profile.coefficients, profile.domain)
        kv_bytes = None if model is None else model.kv_bytes_per_token
        setting = KvSetting(trace, self.kv_blocks, kv_bytes, tier_hits, tiers=self.role != "decode")
        kind, found = self.engine.kv(cache, ""), []
        for _ in range(self.replicas):
            memory, source = kind.parts(cache, setting)
            plan = ReplicaPlan(
                memory=memory,
                latency=time,
                options=self.engine.options(),
                fast_forward=self.engine.fast_forward,
                source=remote if self.role == "decode" else source,
                gpus=self.tensor_parallel,
                role=self.role,
            )
            found.append(plan)
        return found
