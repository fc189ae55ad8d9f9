"""The engine's block cache in replay: one request at a time, prompt and reply, no service time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveFloat, PositiveInt, field_validator, model_validator

from sim.caches.base import Fits, Served, always
from sim.caches.block import UNLIMITED, BlockCache, BlockTable
from sim.caches.eviction import POLICIES, Eviction, Future, PolicySetting, known
from sim.caches.groups.cache import GroupedCache, GroupEvicted
from sim.caches.groups.config import Groups, most_blocks, require_eagle, require_whole_blocks
from sim.caches.groups.replay import GroupReplay
from sim.caches.lookahead import LookaheadTree
from sim.caches.runs import Evicted
from workloads.content import Tree
from workloads.errors import InputError
from workloads.schema import Schema
from workloads.trace import Trace


class BlockReplay:
    """Serves each request as an otherwise idle engine does: admit, generate, release."""

    def __init__(self, trace: Trace, cache: BlockCache, fits: Fits = always) -> None:
        self.cache = cache
        self._fits = fits
        self._trace = trace
        self._end = trace.content.end

    evicted_tokens = None

    @property
    def evicted_blocks(self) -> int:
        return self.cache.evicted_blocks

    def serve(self, request: int, at_s: float) -> Served:
        """Allocate the prompt, then the reply without its last token (which has no KV); release."""
        cache, size = self.cache, self.cache.block_size
        cache.now_s = at_s
        prompt, output = self._end[self._trace.prompt[request]], self._trace.output_tokens[request]
        if not self._fits(prompt, output):
            return Served(0, 0, prompt // size)
        total = prompt + output - 1
        table = BlockTable(cache.content.route(self._trace.reply[request]), prompt, request)
        hit = cache.lookup(table, prompt)
        cache.acquire(table, hit)
        prompt_blocks, total_blocks = -(-prompt // size), -(-total // size)
        cache.take(prompt_blocks - hit.blocks)
        cache.publish(table, prompt)
        cache.take(total_blocks - prompt_blocks)
        cache.publish(table, total)
        cache.release(table, total_blocks)
        return Served(hit.blocks * size, hit.blocks, prompt // size)

    def check(self) -> None:
        """Assert the cache's invariants and that nothing is held between requests."""
        self.cache.check()
        assert self.cache.free_blocks == self.cache.capacity_blocks


class BlockConfig(Schema):
    """``{kind: block, block_size, capacity_blocks, eviction, ttl_s, cache_reply, groups, eagle}``: vLLM's
    cache.

    Without a capacity a replay is infinite and an engine takes what its GPU's memory gives. ``eviction``
    is one of ``POLICIES`` (``eviction/__init__.py``); vLLM has ``lru`` only. ``ttl`` goes with ``ttl_s``.

    ``groups`` are those of a model that mixes layers (``[full, "swa:128"]``; ``groups/kinds.py``): each
    takes blocks of its own, and ``capacity_blocks`` are those of all together. Left out, an engine takes
    its model's, a replay one of full attention. ``eagle``: a hit loses its last block, as beside a draft
    model of the EAGLE or MTP kind; ``lookahead_hashes``: instead of that a block's hash covers the token
    after it too. An engine's ``speculative`` options set one of them.
    """

    kind: Literal["block"]
    block_size: PositiveInt = 16
    """Tokens of a block, the smallest piece that is found or evicted."""
    capacity_blocks: PositiveInt | None = None
    """Capacity in blocks; left out: without limit in a replay, what the GPU's memory gives in an engine."""
    eviction: str = "lru"
    """What goes first when it is full: lru (vLLM's), fifo, lfu, ttl, s3-fifo, sieve, arc, gdsf,
    session-aware or belady."""
    ttl_s: PositiveFloat | None = None
    """Lifetime since the last use, s; goes with `eviction: ttl`."""
    cache_reply: bool = True
    """Whether replies are cached as well as prompts."""
    groups: Groups | None = None
    """The groups of layers that keep different things, such as `[full, "swa:128"]`: full attention, and a
    window of 128 tokens; left out: the model's."""
    eagle: bool = False
    """Whether a hit loses its last block, as beside a draft model of the EAGLE or MTP kind."""
    lookahead_hashes: bool = False
    """Whether a block's hash covers the token after it too, in place of `eagle`."""

    @field_validator("eviction")
    @classmethod
    def _known_policy(cls, eviction: str) -> str:
        return known(eviction)

    @model_validator(mode="after")
    def _ttl_with_its_lifetime(self) -> BlockConfig:
        if (self.eviction == "ttl") != (self.ttl_s is not None):
            raise ValueError("ttl_s goes with eviction: ttl, and only with it")
        return self

    @model_validator(mode="after")
    def _groups_as_in_the_engine(self) -> BlockConfig:
        if self.grouped and not self.is_engines_own:
            raise ValueError("groups and eagle go with eviction: lru and cache_reply: true only")
        if self.eagle and self.lookahead_hashes:
            raise ValueError("eagle and lookahead_hashes are two ways for one end; allowed: one of them")
        require_whole_blocks(self.layer_groups, self.block_size)
        if self.eagle:
            require_eagle(self.layer_groups)
        return self

    @property
    def is_engines_own(self) -> bool:
        """Whether it is as vLLM has it, no what-if."""
        return self.eviction == "lru" and self.cache_reply

    @property
    def layer_groups(self) -> list[str]:
        """The groups, one of full attention where none are given."""
        return self.groups or ["full"]

    @property
    def grouped(self) -> bool:
        """Whether it takes a `GroupedCache`."""
        return self.eagle or self.layer_groups != ["full"]

    def require_online(self, key: str) -> None:
        """Raise InputError if the policy needs the future, which an engine does not know."""
        if POLICIES[self.eviction].needs_future:
            allowed = ", ".join(name for name, policy in POLICIES.items() if not policy.needs_future)
            raise InputError(
                f"{key}.eviction = {self.eviction!r} needs the future, which only a replay (kind: cache) "
                f"knows; allowed: {allowed}"
            )

    def content(self, trace: Trace) -> Tree:
        """In whose nodes the cache keeps its blocks: a policy that tells runs apart wants segments."""
        return self._seen(trace.chains if POLICIES[self.eviction].joins else trace.message_tree)

    def _seen(self, tree: Tree) -> Tree:
        """``tree`` as hashes see it."""
        return LookaheadTree(tree) if self.lookahead_hashes else tree

    def queue(self, trace: Trace, capacity_blocks: int, future: Future | None = None) -> Eviction:
        """A fresh eviction policy for a cache of ``capacity_blocks`` blocks."""
        setting = PolicySetting(capacity_blocks, self.block_size, trace.turn, self.ttl_s, future)
        return POLICIES[self.eviction](setting)

    def grouped_cache(
        self, trace: Trace, capacity_blocks: int | None, evicted: GroupEvicted | None = None
    ) -> GroupedCache:
        """A fresh cache of ``capacity_blocks`` blocks with its groups."""
        return GroupedCache(
            self._seen(trace.chains),
            self.block_size,
            capacity_blocks,
            self.layer_groups,
            eagle=self.eagle,
            evicted=evicted,
        )

    def future(self, trace: Trace) -> Future:
        """When the nodes of ``content`` are looked up."""
        content, end = self.content(trace), trace.content.end
        prompt, output = trace.prompt, trace.output_tokens

        def looked_up(request: int) -> Sequence[int]:
            fits = self.fits(end[prompt[request]], output[request])
            return content.route(prompt[request]).nodes if fits else ()

        return Future(trace, looked_up)

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """See `Fits`. The last token of a reply has no KV."""
        if self.capacity_blocks is None:
            return True
        total = prompt_tokens + output_tokens - 1
        if self.grouped:
            needed = most_blocks(self.layer_groups, prompt_tokens, total, prompt_tokens, self.block_size)
        else:
            needed = -(-total // self.block_size)
        return needed <= self.capacity_blocks

    def replay(
        self, trace: Trace, key: str, evicted: Evicted | None = None, future: Future | None = None
    ) -> BlockReplay | GroupReplay:
        """A fresh cache. Several caches for one trace may share its ``future``."""
        if self.grouped:
            return GroupReplay(trace, self.grouped_cache(trace, self.capacity_blocks), self.fits)
        cache = BlockCache(
            self.content(trace),
            self.block_size,
            self.capacity_blocks,
            cache_reply=self.cache_reply,
            queue=self.queue(trace, self.capacity_blocks or UNLIMITED, future or self.future(trace)),
            evicted=evicted,
        )
        return BlockReplay(trace, cache, self.fits)
