"""Equal replicas of an engine: hardware, memory, scheduler, iteration times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, PositiveInt

from sim.caches import EngineCache
from sim.caches.groups.config import groups_of
from sim.engine.config import Engine
from sim.engine.elsewhere import ELSEWHERE
from sim.engine.kv import KvSetting, SourceOf
from sim.engine.latency import IterationTime
from sim.engine.lockstep import Lockstep
from sim.engine.vllm.config import SchedulerOptions, VllmEngine
from sim.engine.vllm.speculation import Drafter
from sim.fleet.plan import ReplicaPlan, Role
from sim.hardware import catalogue, estimate
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.latency_config import Automatic, Latency, Roofline
from sim.hardware.memory import Memory
from sim.hardware.parallel import Parallel
from sim.hardware.profile import Profile
from sim.systems.drafting import draft_of, speculative_of
from sim.systems.layer_groups import block_part
from sim.systems.split import MOST_REPLICAS, require_split
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace

SHORTEST_S = 1e-9
"""Least time of an iteration: below it simulated time would not move on."""


class Pool(Schema):
    """``replicas`` replicas, each on ``tensor_parallel`` GPUs of one kind.

    ``pipeline_parallel`` stages of so many GPUs each hold consecutive layers. ``data_parallel`` ranks of a
    replica each hold the attention, with a queue and a KV cache of their own (the router sees each as a
    replica), and share the experts. ``expert_parallel``: over how many GPUs of all ranks whole experts are
    spread; 1: each holds a slice of every expert.

    ``role: prefill`` and ``role: decode`` are the two halves of a disaggregated system.
    """

    ELSEWHERE: ClassVar[Mapping[str, str]] = ELSEWHERE

    role: Role = "both"
    """What its replicas do: `both`, or `prefill` or `decode` only."""
    replicas: int = Field(default=1, gt=0, le=MOST_REPLICAS)
    """How many replicas there are."""
    hardware: str | None = None
    """Name of a GPU (`python -m sim gpus`), or the path of a YAML file with its figures."""
    tensor_parallel: PositiveInt = 1
    """GPUs that each layer is split over."""
    pipeline_parallel: PositiveInt = 1
    """Stages of consecutive layers, each on GPUs of its own."""
    expert_parallel: PositiveInt = 1
    """GPUs over which whole experts are spread; 1: each GPU holds a slice of every expert."""
    data_parallel: PositiveInt = 1
    """Ranks of a replica, each with a queue and a KV cache of its own."""
    engine: Engine = VllmEngine()
    """The engine and its options: `{kind: vllm}`, the default, or `{kind: sglang}`."""
    memory: Memory = Memory()
    """How much GPU memory is for KV."""
    latency: Latency = Automatic()
    """How long iterations take: by default the profile that ships for model and GPU, else a roofline."""

    def gpu(self, key: str, folder: Path) -> Gpu | None:
        """The GPU that ``hardware`` names, or that of the file; InputError if there is none."""
        return catalogue.gpu(self.hardware, f"{key}.hardware", folder) if self.hardware else None

    def profile(self, model: Model | None, key: str, folder: Path) -> Profile:
        """Where the iteration times come from; InputError if an iteration takes next to no time."""
        profile = self.latency.profile(model, self.gpu(key, folder), key, folder, self.parallel)
        time = IterationTime(profile.coefficients)
        shortest_s = time.fixed_s(1, 1) + min(time.prefill_s(0, 1), time.decode_s(1, 0))
        if shortest_s < SHORTEST_S:
            raise InputError(
                f"{key}.latency: an iteration of one token takes {shortest_s:g} s; allowed: at least "
                f"{SHORTEST_S:g} s"
            )
        return profile

    def _drafter(self, model: Model | None, key: str, folder: Path) -> Drafter | None:
        """How long making drafts takes, if a model makes them: its roofline, beside a measured profile
        too."""
        options, draft = speculative_of(self.engine), draft_of(self.engine, model, key, folder)
        gpu, latency = self.gpu(key, folder), self.latency
        if options is None or draft is None or gpu is None or latency.kind in ("constant", "linear"):
            return None
        require_split(self.parallel, self.replicas, draft.model, key)
        roofline = latency if latency.kind == "roofline" else Roofline()
        profile = roofline.profile(draft.model, gpu, key, folder, self.parallel)
        return Drafter(IterationTime(profile.coefficients), options.num_speculative_tokens)

    def filled_in(self, model: Model | None, cache: EngineCache, key: str, folder: Path) -> Self:
        """The same with KV blocks and batch limits; InputError if a name or the memory does not work."""
        gpu = self.gpu(key, folder)
        require_split(self.parallel, self.replicas, model, key)
        self.profile(model, key, folder)
        self._drafter(model, key, folder)
        kind = self.engine.kv(cache, key)
        size = kind.block_size(cache)
        engine = self.engine.with_limits(gpu, size, f"{key}.engine")
        memory = self.memory
        if memory.kv_blocks is None:
            stated = kind.stated_blocks(cache, key)
            if stated is not None:
                if memory.shares:
                    raise InputError(
                        f"{key}.memory: {' and '.join(memory.shares)} would change nothing: the cache's "
                        f"capacity of {stated} blocks is given; allowed: one of both"
                    )
                memory = memory.model_copy(update={"kv_blocks": stated + engine.null_blocks})
            elif model is not None and gpu is not None:
                budget, memory = engine.budget(model, gpu, memory, self.parallel, key)
                if draft := draft_of(engine, model, key, folder):
                    budget = draft.in_budget(budget, self.parallel)
                blocks = budget.blocks(size, block_part(model, groups_of(cache)))
                budget.require_room(blocks - engine.null_blocks, model, key)
                memory = memory.model_copy(update={"kv_blocks": blocks, "estimate": True})
            else:
                raise InputError(
                    f"{key}.memory.kv_blocks is missing; allowed: a number of blocks, or both model "
                    "and hardware to compute it from"
                )
        blocks = self._usable(memory, engine)
        if blocks < 1:
            raise InputError(
                f"{key}.memory.kv_blocks = {memory.kv_blocks}: vLLM's null block is one of them; allowed: "
                f"at least {1 + engine.null_blocks}"
            )
        engine = engine.resolved(model, blocks, size)
        return self.model_copy(update={"memory": memory, "engine": engine})

    @staticmethod
    def _usable(memory: Memory, engine: Engine) -> int:
        assert memory.kv_blocks is not None, "filled_in() first"
        return memory.kv_blocks - engine.null_blocks

    @property
    def parallel(self) -> Parallel:
        """The GPUs of one copy of the model, by what they divide."""
        return Parallel(
            self.tensor_parallel, self.pipeline_parallel, self.expert_parallel, self.data_parallel
        )

    @property
    def ranks(self) -> int:
        """Replicas as the router sees them: a data parallel rank has its own queue and KV cache."""
        return self.replicas * self.data_parallel

    def require_fit(self, trace: Trace, key: str) -> None:
        """Raise InputError if the engine's options contradict the trace."""
        self.engine.require_fit(trace, key)

    def too_long(
        self, prompt_tokens: int, output_tokens: int, block_size: int, groups: Sequence[str]
    ) -> bool:
        """Whether the engine turns the request away, as longer than ``max_model_len`` or than its memory.

        A replica that only prefills holds the prompt, and lets the reply be counted.
        """
        longest = self.engine.max_model_len
        if longest is not None and prompt_tokens + output_tokens > longest:
            return True
        held = 1 if self.role == "prefill" else output_tokens
        return not self.engine.fits(prompt_tokens, held, self.usable_blocks, block_size, groups)

    def _kv_tokens(self, cache: EngineCache) -> int:
        """Tokens that its KV memory holds, were all layers to keep all of them, as vLLM counts them too."""
        size, width = self.engine.kv(cache, "").block_size(cache), len(groups_of(cache))
        return self.usable_blocks // width * size

    def count_too_long(self, trace: Trace, cache: EngineCache) -> int:
        """How many requests of ``trace`` it turns away for their length."""
        block_size, groups = self.engine.kv(cache, "").block_size(cache), groups_of(cache)
        longest, tokens = self.engine.max_model_len, self._kv_tokens(cache)
        largest = trace.largest_tokens  # without the last one; SGLang wants two pages and a token more
        if largest + 2 * block_size + 1 < tokens and (longest is None or largest < longest):
            return 0
        sizes = zip(trace.input_tokens, trace.output_tokens, strict=True)
        return sum(self.too_long(prompt, output, block_size, groups) for prompt, output in sizes)

    def memory_notes(self, requests: int, over: int, model: Model | None, cache: EngineCache) -> list[str]:
        """What the reader has to know about its KV memory, and that ``over`` of the ``requests`` are too
        long."""
        tokens, longest = self._kv_tokens(cache), self.engine.max_model_len
        block_size, groups = self.engine.kv(cache, "").block_size(cache), groups_of(cache)
        notes = []
        if self.memory.estimate:
            notes.append(estimate.note(self.memory, self.engine.kind))
        if model is not None and longest is not None and longest > model.max_position_embeddings:
            notes.append(
                f"max_model_len {longest:,} is beyond the {model.max_position_embeddings:,} positions of "
                f"{model.name}, and served: engines want to be told that this is meant"
            )
        limit = "no max_model_len" if longest is None else f"max_model_len {longest:,}"
        if over:
            notes.append(
                f"rejected: {over:,} of {requests:,} requests are longer, with their replies, than the "
                f"engine serves ({limit}; KV memory {tokens:,} tokens). Clients do not send them again; "
                "their sessions go on with the next turn"
            )
        fits = longest is None or self.engine.fits(longest, 1, self.usable_blocks, block_size, groups)
        if not fits and self.engine.kind == "vllm":
            notes.append(
                f"vLLM would not start: one request of max_model_len {longest:,} does not fit into the KV "
                f"memory of {tokens:,} tokens. Here it starts, and rejects what does not fit"
            )
        return notes

    def waits_for_ranks(self, model: Model | None) -> bool:
        """Whether its data parallel ranks compute their steps together: vLLM's do if they share experts."""
        shares = model is not None and model.experts > 1
        return self.data_parallel > 1 and shares and self.engine.kind == "vllm"

    @property
    def usable_blocks(self) -> int:
        """KV blocks of a replica that hold content, once filled in."""
        return self._usable(self.memory, self.engine)

    def plans(
        self,
        trace: Trace,
        cache: EngineCache,
        model: Model | None,
        folder: Path,
        tier_hits: dict[str, int],
        remote: SourceOf | None,
        before: int = 0,
    ) -> list[ReplicaPlan]:
        """The replicas of one run, numbered from ``before`` on; hits in lower tiers are added to
        ``tier_hits``.

        ``remote`` brings a prompt's KV to replicas that only decode; they have no tiers of their own.
        """
        profile = self.profile(model, "", folder)
        coefficients = profile.coefficients
        if not self.engine.schedules_ahead:
            coefficients = coefficients.synchronous()
        time = IterationTime(coefficients, profile.domain)
        drafter = self._drafter(model, "", folder)
        kv_bytes = None if model is None else model.kv_bytes_per_token
        setting = KvSetting(trace, self.usable_blocks, kv_bytes, tier_hits, tiers=self.role != "decode")
        kind, found = self.engine.kv(cache, ""), []
        size = kind.block_size(cache)
        too_long = None
        if trace.grows or self.count_too_long(trace, cache):
            too_long = partial(self.too_long, block_size=size, groups=groups_of(cache))
        options = self.engine.options(cache, trace.seed)
        if isinstance(options, SchedulerOptions) and options.speculation is not None and trace.part:
            numbered = replace(options.speculation, numbers=trace.part.numbers)
            options = replace(options, speculation=numbered)
        together = self.waits_for_ranks(model)
        lockstep = None
        for rank in range(self.ranks):
            if together and rank % self.data_parallel == 0:
                lockstep = Lockstep(before + rank + self.data_parallel - 1)
            memory, source = kind.parts(cache, setting)
            plan = ReplicaPlan(
                memory=memory,
                latency=time,
                drafter=drafter,
                lockstep=lockstep,
                options=options,
                fast_forward=self.engine.fast_forward,
                source=remote if self.role == "decode" else source,
                gpus=self.tensor_parallel * self.pipeline_parallel,
                role=self.role,
                too_long=too_long,
            )
            found.append(plan)
        return found
