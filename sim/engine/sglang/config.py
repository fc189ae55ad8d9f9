"""``engine: {kind: sglang}``: the options of SGLang's scheduler, with its names and defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt, field_validator

from sim.caches.tiered import TieredConfig
from sim.engine.kv import KvKind
from sim.engine.sglang.kv import kind_of
from sim.engine.sglang.queue import POLICIES
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.memory import GIB
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace

UNCHUNKED = -1


class SglangEngine(Schema):
    """SGLang's scheduler (0.5.23); names and defaults are those of its server.

    ``chunked_prefill_size: -1`` prefills every prompt at once. ``max_new_tokens`` and ``ignore_eos`` are
    what clients send, and decide how much memory an admission reserves: left out, each request asks for as
    many tokens as its reply has. ``disable_overlap_schedule: true`` decides a step only once the results of
    the one before are there. ``fast_forward: false`` takes every iteration as an event of its own: slower,
    same records.
    """

    kind: Literal["sglang"]
    chunked_prefill_size: int | None = None
    max_prefill_tokens: PositiveInt = 16384
    max_running_requests: PositiveInt | None = None
    schedule_policy: str = "fcfs"
    schedule_conservativeness: PositiveFloat = 1.0
    retraction_policy: Literal["length", "priority"] = "length"
    ignore_eos: bool = False
    max_new_tokens: PositiveInt | None = None
    disable_overlap_schedule: bool = False
    fast_forward: bool = True

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

    def options(self) -> SglangEngine:
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
            raise ValueError(f"no such policy; allowed: {', '.join(POLICIES)}")
        return policy

    @field_validator("chunked_prefill_size")
    @classmethod
    def _chunk_or_none(cls, size: int | None) -> int | None:
        if size is not None and size < 1 and size != UNCHUNKED:
            raise ValueError(f"allowed: at least 1, or {UNCHUNKED} to prefill every prompt at once")
        return size

    def resolved(
        self, gpu: Gpu | None, model: Model | None, pages: int, page_size: int, key: str
    ) -> SglangEngine:
        """Fill in SGLang's defaults; InputError if pages do not divide the chunks.

        As in ``arg_groups/memory_hook.py`` (by GPU memory) and ``mem_cache/kv_cache_configurator.py``
        (``resolve_max_num_reqs``: 512 times the contexts that fit, 2048 to 4096, at most a request per two
        tokens). The GPU's memory is that of the catalogue.
        """
        chunk = self.chunked_prefill_size
        if chunk is None:
            chunk = default_chunk(gpu)
        if chunk != UNCHUNKED and chunk % page_size:
            raise InputError(
                f"{key}.chunked_prefill_size = {chunk} is not divisible by the cache's page_size "
                f"({page_size}); allowed: a multiple of it, or {UNCHUNKED}"
            )
        tokens = pages * page_size
        running = self.max_running_requests
        if running is None:
            contexts = 0 if model is None else tokens / model.max_position_embeddings
            running = max(min(int(contexts * 512), 4096), 2048)
        running = max(1, min(running, tokens // 2))
        return self.model_copy(update={"chunked_prefill_size": chunk, "max_running_requests": running})

    def max_new_tokens_of(self, prompt_tokens: int, output_tokens: int, pages: int, page_size: int) -> int:
        """The longest reply that a request gets: what it asks for, or what an empty pool leaves it.

        ``mem_cache/allocator/base.py:max_new_tokens_for_memory``.
        """
        room = (pages - -(-prompt_tokens // page_size) - 1) * page_size - 1
        return max(0, min(output_tokens if self.max_new_tokens is None else self.max_new_tokens, room))

    def require_fit(self, trace: Trace, cache: Any, pages: int, page_size: int, key: str) -> None:
        """Raise InputError if SGLang would cut a reply of ``trace`` short: its length is given."""
        limit = self.max_new_tokens
        for i, (prompt, output) in enumerate(zip(trace.input_tokens, trace.output_tokens, strict=True)):
            if limit is not None and output > limit:
                raise InputError(
                    f"{trace.where(i)}: a reply of {output} tokens; allowed: at most "
                    f"{key}.engine.max_new_tokens ({limit})"
                )
            room = self.max_new_tokens_of(prompt, output, pages, page_size)
            if output > room:
                raise InputError(
                    f"{trace.where(i)}: a prompt of {prompt} tokens with a reply of {output} does not fit: "
                    f"SGLang leaves it {room} tokens of {pages} KV pages of {page_size}; allowed: "
                    f"shorter requests, or more memory (KV memory of {key})"
                )


def default_chunk(gpu: Gpu | None) -> int:
    """SGLang's default ``chunked_prefill_size`` on ``gpu``; without one, that for an unknown GPU."""
    if gpu is None:
        return 4096
    for below_gib, size in ((20, 2048), (60, 4096), (160, 8192)):
        if gpu.memory_bytes < below_gib * GIB:
            return size
    return 16384
