"""``engine: {kind: sglang}``: the options of SGLang's scheduler, with its names and defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt, field_validator

from sim.caches.tiered import TieredConfig
from sim.engine.elsewhere import IN_SGLANG
from sim.engine.kv import KvKind
from sim.engine.sglang.kv import kind_of
from sim.engine.sglang.queue import POLICIES
from sim.hardware import sglang_memory
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.memory import Budget, Memory
from sim.hardware.parallel import Parallel
from sim.hardware.sglang_memory import default_chunk
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.shown import nearest
from workloads.trace import Trace

UNCHUNKED = -1


class SglangEngine(Schema):
    """SGLang's scheduler (0.5.23); names and defaults are those of its server.

    ``chunked_prefill_size: -1`` prefills every prompt at once. ``max_new_tokens`` and ``ignore_eos`` are
    what clients send, and decide how much memory an admission reserves: left out, each request asks for as
    many tokens as its reply has. ``max_model_len`` (its ``context_length``) is the longest prompt with its
    reply that is served; longer requests are rejected. ``disable_overlap_schedule: true`` decides a step
    only once the results of the one before are there. ``fast_forward: false`` takes every iteration as an
    event of its own: slower, same records.
    """

    ELSEWHERE: ClassVar[Mapping[str, str]] = IN_SGLANG
    null_blocks: ClassVar[int] = 0
    """SGLang keeps its page for padding besides those that it counts."""

    kind: Literal["sglang"]
    max_model_len: PositiveInt | None = None
    """Longest prompt and reply together, in tokens; by default the model's context."""
    chunked_prefill_size: int | None = None
    """Prompt tokens computed in one step; -1: a prompt at once; by default as SGLang chooses for the GPU.
    """
    max_prefill_tokens: PositiveInt = 16384
    """Prompt tokens of all requests that one step admits."""
    max_running_requests: PositiveInt | None = None
    """Requests that run at the same time; by default as memory allows."""
    schedule_policy: str = "fcfs"
    """Which waiting request is next: fcfs, lpm (longest known prefix) or dfs-weight."""
    schedule_conservativeness: PositiveFloat = 1.0
    """A factor on the memory that admissions reserve for replies; above 1: fewer retractions."""
    retraction_policy: Literal["length", "priority"] = "length"
    """Who gives way when memory runs out: by `length` or by `priority`."""
    ignore_eos: bool = False
    """What clients send as `ignore_eos`: replies always have their full length, so all of it is reserved.
    """
    max_new_tokens: PositiveInt | None = None
    """What clients send as `max_new_tokens`; left out: as many as the reply has."""
    disable_overlap_schedule: bool = False
    """Whether a step is decided only once the one before is done."""
    fast_forward: bool = True
    """Whether steps that do the same are computed together; false: slower, same records."""

    def approximations(self, cache: Any) -> list[str]:
        """What the reader of figures has to know about this scheduler with ``cache``."""
        notes = []
        if self.ignore_eos:
            notes.append("SGLang's other admission test for ignore_eos without a cache is not modelled")
        if isinstance(cache, TieredConfig):
            notes.append(
                "a request computes once its KV is loaded; SGLang's HiCache loads the KV of a layer while "
                "it computes the one before"
            )
        return notes

    def options(self, cache: Any = None, seed: int = 0) -> SglangEngine:
        """The scheduler's options are these."""
        return self

    def kv(self, cache: Any, key: str) -> KvKind:
        """How ``cache`` is the engine's memory; InputError if the two do not go together."""
        kind = kind_of(cache)
        if kind is None:
            raise InputError(
                f"{key}.cache.kind = {cache.kind!r} does not go with engine.kind sglang, whose memory "
                "is its radix cache; allowed: radix, none, or tiered with cache: radix and gb_per_s"
            )
        return kind

    @field_validator("schedule_policy")
    @classmethod
    def _known_policy(cls, policy: str) -> str:
        if policy not in POLICIES:
            raise ValueError(f"{nearest(policy, list(POLICIES))}")
        return policy

    @field_validator("chunked_prefill_size")
    @classmethod
    def _chunk_or_none(cls, size: int | None) -> int | None:
        if size is not None and size < 1 and size != UNCHUNKED:
            raise ValueError(f"allowed: at least 1, or {UNCHUNKED} to prefill every prompt at once")
        return size

    @property
    def schedules_ahead(self) -> bool:
        """Whether a step is decided while the one before computes."""
        return not self.disable_overlap_schedule

    def with_limits(self, gpu: Gpu | None, page_size: int, key: str) -> SglangEngine:
        """Fill in SGLang's chunk for ``gpu``; InputError if pages do not divide it."""
        chunk = self.chunked_prefill_size
        if chunk is None:
            chunk = default_chunk(gpu)
        if chunk != UNCHUNKED and chunk % page_size:
            raise InputError(
                f"{key}.chunked_prefill_size = {chunk} is not divisible by the cache's page_size "
                f"({page_size}); allowed: a multiple of it, or {UNCHUNKED}"
            )
        return self.model_copy(update={"chunked_prefill_size": chunk})

    def budget(
        self, model: Model, gpu: Gpu, memory: Memory, parallel: Parallel, key: str
    ) -> tuple[Budget, Memory]:
        """What SGLang makes of a GPU's memory, with its chunk filled in; and ``memory`` with its share."""
        if memory.gpu_memory_utilization is not None:
            raise InputError(
                f"{key}.memory.gpu_memory_utilization = {memory.gpu_memory_utilization:g} is vLLM's; "
                "allowed with engine.kind sglang: mem_fraction_static"
            )
        assert self.chunked_prefill_size is not None
        share = memory.mem_fraction_static
        if share is None:
            share = sglang_memory.mem_fraction_static(
                gpu, self.chunked_prefill_size, self.max_prefill_tokens, parallel
            )
        memory = memory.model_copy(update={"mem_fraction_static": share})
        return sglang_memory.budget(model, gpu, memory, share, parallel), memory

    def resolved(self, model: Model | None, pages: int, page_size: int) -> SglangEngine:
        """Fill in what depends on the model and its memory.

        ``max_running_requests`` as in ``mem_cache/kv_cache_configurator.py`` (``resolve_max_num_reqs``: 512
        times the contexts that fit, 2048 to 4096, at most a request per two tokens).
        """
        tokens, longest = pages * page_size, self.max_model_len
        if longest is None and model is not None:
            longest = model.max_position_embeddings
        running = self.max_running_requests
        if running is None:
            contexts = 0 if longest is None else tokens / longest
            running = max(min(int(contexts * 512), 4096), 2048)
        running = max(1, min(running, tokens // 2))
        return self.model_copy(update={"max_model_len": longest, "max_running_requests": running})

    def fits(
        self, prompt_tokens: int, output_tokens: int, pages: int, page_size: int, groups: Sequence[str]
    ) -> bool:
        """Whether an empty pool holds the request with its whole reply, which SGLang cuts short if not.

        ``groups`` of layers are one here.
        """
        return output_tokens <= self.max_new_tokens_of(prompt_tokens, output_tokens, pages, page_size)

    def max_new_tokens_of(self, prompt_tokens: int, output_tokens: int, pages: int, page_size: int) -> int:
        """The longest reply that a request gets: what it asks for, or what an empty pool leaves it.

        ``mem_cache/allocator/base.py:max_new_tokens_for_memory``.
        """
        room = (pages - -(-prompt_tokens // page_size) - 1) * page_size - 1
        return max(0, min(output_tokens if self.max_new_tokens is None else self.max_new_tokens, room))

    def require_fit(self, trace: Trace, key: str) -> None:
        """Raise InputError if ``max_new_tokens`` contradicts the replies of ``trace``: they are given."""
        limit = self.max_new_tokens
        for i, output in enumerate(trace.output_tokens):
            if limit is not None and output > limit:
                raise InputError(
                    f"{trace.where(i)}: a reply of {output} tokens; allowed: at most "
                    f"{key}.engine.max_new_tokens ({limit})"
                )
