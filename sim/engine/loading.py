"""A replica whose requests may have to wait for KV that comes from elsewhere.

As vLLM's connectors do it (``v1/core/sched/scheduler.py``, ``kv_transfer/kv_connector/v1``): the source
is asked after the local lookup, its tokens extend the local prefix, and an asynchronous load keeps the
request out of the batch while it holds its blocks, uses no budget and blocks nobody behind it. What is
loaded can be hit by others once it is there. One difference: a loading request holds the blocks of its
whole known sequence, the engine those of the prefix only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from sim.caches.block import BlockCache
from sim.caches.lower import LowerTiers
from sim.engine.events import At, Clock
from sim.engine.latency import IterationTime
from sim.engine.link import Link
from sim.engine.request import Request
from sim.engine.vllm.replica import Replica
from sim.results.records import RequestLog

LOADING = 3
"""Phase of a request whose KV is on its way."""


class Source(Protocol):
    """Where KV comes from that the replica does not have."""

    def find(self, request: Request, hit_blocks: int) -> int:
        """Tokens that can be brought in behind the first ``hit_blocks`` blocks."""

    def fetch(self, request: Request, tokens: int) -> float:
        """Start to bring in what `find` has just found; the simulated time at which it is there."""

    def left(self, request: Request) -> None:
        """``request`` is complete and has given its blocks back; ``computed`` tokens of it were cached."""


class LoadingReplica(Replica):
    """A `Replica` with a source of KV."""

    def __init__(
        self,
        number: int,
        env: Clock,
        memory: BlockCache,
        latency: IterationTime,
        *,
        source: Source,
        max_num_batched_tokens: int,
        max_num_seqs: int,
        fast_forward: bool,
        log: RequestLog,
        finished: Callable[[int], None],
    ) -> None:
        super().__init__(
            number,
            env,
            memory,
            latency,
            max_num_batched_tokens=max_num_batched_tokens,
            max_num_seqs=max_num_seqs,
            fast_forward=fast_forward,
            log=log,
            finished=finished,
        )
        self._source = source
        self._loading: dict[Request, None] = {}  # in the order of their loads
        self._ready: deque[Request] = deque()  # loaded, not yet in the batch; still in _loading

    @property
    def load(self) -> int:
        """Requests waiting, loading and running."""
        return super().load + len(self._loading)

    def _may_idle(self) -> bool:
        return not self.running and not self._ready and (not self.waiting or bool(self._loading))

    def _others_take(self) -> bool:
        return bool(self._ready) or super()._others_take()

    def _admit(self, budget: int) -> None:
        """As `Replica` does; who was loaded goes first, who must load leaves the queue for it."""
        memory, size = self.memory, self.memory.block_size
        while budget > 0 and len(self.running) < self._max_seqs:
            if self._ready:
                request = self._ready.popleft()
                del self._loading[request]
                cached = request.computed
                held = -(-cached // size)
                memory.give_back(-(-request.known_tokens // size) - held)
            elif self.waiting:
                request = self.waiting[0]
                self._write_back(self._writers.of(request.table.route), 1)
                known = request.known_tokens
                hit = memory.lookup(request.table, known)
                total = -(-known // size)
                if total - hit.blocks + hit.idle > memory.free_blocks:
                    return
                found = self._source.find(request, hit.blocks)
                self.waiting.popleft()
                cached = memory.acquire(request.table, hit)
                held = hit.blocks
                if found:
                    memory.take(total - held)
                    request.computed = cached + found
                    self._load(request, found)
                    continue
            else:
                return
            chunk = min(request.known_tokens - cached, budget)
            memory.take(-(-(cached + chunk) // size) - held)
            self._enter(request, cached)
            self._compute(request, chunk)
            budget -= chunk

    def _load(self, request: Request, tokens: int) -> None:
        request.phase = LOADING
        self._loading[request] = None
        self.totals.loaded_tokens += tokens
        there_s = self._source.fetch(request, tokens)
        At(self._env, there_s - self._env.now, self._priority, self._loaded, request)

    def _loaded(self, event: At) -> None:
        """What ``request`` waited for is there: it is the next one to be admitted."""
        request = event.value
        assert isinstance(request, Request)
        self.memory.publish(request.table, request.computed)
        self._ready.append(request)
        if self._event is None:
            self.memory.now_s = self._env.now
            self._schedule(0.0, self._begin)
        elif len(self.running) < self._max_seqs:
            self._cut()

    def _finish(self, request: Request, now: float) -> None:
        super()._finish(request, now)
        self._source.left(request)

    def check(self) -> None:
        """Assert the invariants of queues, batch, loads and memory."""
        assert all(request in self._loading for request in self._ready)
        super().check()

    def _unpublished_blocks(self, begun: int) -> int:
        size = self.memory.block_size
        loading = sum(-(-r.known_tokens // size) - r.table.published for r in self._loading)
        return super()._unpublished_blocks(begun) + loading


class TierSource:
    """Host memory and disk below one replica, each behind a link of its own."""

    def __init__(
        self,
        lower: LowerTiers,
        links: dict[str, Link],
        block_size: int,
        kv_bytes_per_token: int,
        log: RequestLog,
        hit_tokens: dict[str, int],
    ) -> None:
        self._lower = lower
        self._links = links
        self._size = block_size
        self._kv_bytes = kv_bytes_per_token
        self._log = log
        self._hit_tokens = hit_tokens
        self._found: dict[str, int] = {}

    def find(self, request: Request, hit_blocks: int) -> int:
        """Whole blocks, up to the block of the last known token, which is computed in any case."""
        self._lower.write_demoted()
        cap = (request.known_tokens - 1) // self._size
        self._found = self._lower.below(request.table.route.nodes, hit_blocks, cap)
        return sum(self._found.values()) * self._size

    def fetch(self, request: Request, tokens: int) -> float:
        """Tiers load beside each other, the transfers of one tier one after the other."""
        there_s = 0.0
        for name, blocks in self._found.items():
            if not blocks:
                continue
            there_s = max(there_s, self._links[name].transfer(blocks * self._size * self._kv_bytes))
            if not request.preemptions:
                self._log.tier[request.index] = name
                self._hit_tokens[name] = self._hit_tokens.get(name, 0) + blocks * self._size
        return there_s

    def left(self, request: Request) -> None:
        """Its blocks go down as the write policy says."""
        self._lower.stored(request.table.route.nodes, request.computed // self._size)


class RemotePrefill:
    """Another replica has prefilled the prompt; all that is not cached here comes over the link."""

    def __init__(self, link: Link, block_size: int, kv_bytes_per_token: int) -> None:
        self._link = link
        self._size = block_size
        self._kv_bytes = kv_bytes_per_token

    def find(self, request: Request, hit_blocks: int) -> int:
        """The rest of the prompt, once: a preempted request computes what it lost itself."""
        if request.preemptions:
            return 0
        return request.prompt_tokens - hit_blocks * self._size

    def fetch(self, request: Request, tokens: int) -> float:
        """One transfer per request."""
        return self._link.transfer(tokens * self._kv_bytes)

    def left(self, request: Request) -> None:
        """Nothing: the prefilling replica has given its blocks back already."""
