"""Naive reference model of the prefix cache and the synchronous scheduler of vLLM 0.33.0.

Slow and per block on purpose: lists for linked queues, token tuples for hashes, nothing remembered
that can be derived. Tests compare the simulator with it, so the two share no code. It has one
full-attention KV group; no LoRA, multimodal input, speculative decoding or KV connector.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Run = tuple[str, int, int]  # (owner, first, last): evicted blocks, the index counting down by one
Admission = tuple[str, int]  # (request id, cached tokens)


@dataclass
class StepRecord:
    """What one scheduler step did; pairs are in lists, not dicts, so that `==` sees their order."""

    step: int
    tokens: int = 0  # scheduled in this step, all requests together
    sched: list[tuple[str, int]] = field(default_factory=list)  # (id, tokens), running first
    new: list[Admission] = field(default_factory=list)
    resumed: list[Admission] = field(default_factory=list)  # admissions after a preemption
    preempted: list[str] = field(default_factory=list)
    evict: int = 0  # cached blocks evicted
    evicted: list[Run] = field(default_factory=list)
    free: int = 0  # free blocks after scheduling, cached ones included
    running: int = 0  # lengths of the two queues after scheduling
    waiting: int = 0
    finished: list[str] = field(default_factory=list)  # filled in by `apply`


@dataclass(eq=False)
class NaiveRequest:
    """One request: what it asks for, how far it is, and what is reported about it."""

    id: str
    prompt: Sequence[int]
    output: Sequence[int]  # the tokens that will be sampled, one by one
    salt: str | None = None
    priority: int = 0
    arrival: float = 0

    status: str = "waiting"  # waiting, running, preempted, finished
    generated: int = 0  # output tokens sampled so far; a preemption keeps them
    computed: int = 0  # tokens with KV, cached ones included
    in_flight: int = 0  # those of them that a step computes whose results are not there yet
    blocks: list[int] = field(default_factory=list)  # block table

    hits: list[int] = field(default_factory=list)  # cached tokens at each admission
    chunks: int = 0  # times it was scheduled for more than a plain decode token
    preemptions: int = 0
    step_added: int | None = None
    step_scheduled: int | None = None
    step_first: int | None = None  # step that sampled the first output token
    step_done: int | None = None
    used_blocks: int | None = None  # held by all requests after the step that finished it

    def __post_init__(self) -> None:
        if not self.prompt or not self.output:
            raise ValueError(f"request {self.id}: prompt and output need at least one token each")

    @property
    def tokens(self) -> list[int]:
        """Known tokens: the prompt and the output sampled so far."""
        return [*self.prompt, *self.output[: self.generated]]

    @property
    def num_tokens(self) -> int:
        """Number of known tokens."""
        return len(self.prompt) + self.generated

    @property
    def finished(self) -> bool:
        """Whether every output token has been sampled."""
        return self.generated == len(self.output)


@dataclass(eq=False)
class NaiveBlockPool:
    """Blocks, the flat map from block key to blocks, and the free queue.

    `num_blocks` counts usable blocks: their ids start at 1, vLLM keeps id 0 as the null block. With
    `cache_reply` False a block that contains a generated token is never published.
    """

    num_blocks: int
    block_size: int
    enable_caching: bool = True
    cache_reply: bool = True

    def __post_init__(self) -> None:
        ids = range(1, self.num_blocks + 1)
        self.free = deque(ids)  # the head is reused next; starts in id order
        self.refs = dict.fromkeys(ids, 0)
        self.key: dict[int, int] = {}  # published block -> its key
        self.owner: dict[int, tuple[str, int]] = {}  # published block -> (request id, index in it)
        self.cached: dict[int, list[int]] = {}  # key -> its blocks, earliest published first
        self.evictions: list[tuple[str, int]] = []  # owners of all evicted blocks, in order
        self._interned: dict[tuple[int, tuple[int, ...], str | None], int] = {}

    @property
    def num_used(self) -> int:
        """Number of blocks that some request holds."""
        return self.num_blocks - len(self.free)

    def block_key(self, parent: int, tokens: Sequence[int], salt: str | None) -> int:
        """Key of a full block: its parent's key (0: none), its tokens, and on block 0 the salt.

        Equal chains get equal keys and different chains different ones; no hash can collide here.
        """
        chain = (parent, tuple(tokens), None if parent else salt)
        return self._interned.setdefault(chain, len(self._interned) + 1)

    def lookup(self, tokens: Sequence[int], max_blocks: int, salt: str | None = None) -> list[int]:
        """Longest cached prefix of at most `max_blocks` blocks; changes nothing, not even recency.

        The scan stops at the first miss; among duplicates the earliest published survivor is taken.
        """
        hits: list[int] = []
        parent = 0
        for index in range(min(max_blocks, len(tokens) // self.block_size)):
            start = index * self.block_size
            parent = self.block_key(parent, tokens[start : start + self.block_size], salt)
            if parent not in self.cached:
                break
            hits.append(self.cached[parent][0])
        return hits

    def lookup_request(self, request: NaiveRequest) -> list[int]:
        """Lookup over all known tokens, capped so that at least one is left to compute."""
        tokens = request.tokens
        return self.lookup(tokens, (len(tokens) - 1) // self.block_size, request.salt)

    def allocate(
        self,
        request: NaiveRequest,
        new_tokens: int,
        hits: Sequence[int] = (),
        reserve_tokens: int = 0,
        watermark: int = 0,
    ) -> bool:
        """Give `request` the cached blocks `hits` and room for `new_tokens` more; False: no room.

        Hit blocks that nobody holds count as needed: they leave the free queue too. With
        `reserve_tokens` the sequence up to there has to fit, not only the new tokens. On success
        hit blocks are referenced first, then new ones are popped from the head of the queue, then
        each block that the new tokens fill is published, before any compute.
        """
        computed = request.computed + len(hits) * self.block_size
        total = computed + new_tokens
        held = len(request.blocks) + len(hits)
        idle_hits = sum(self.refs[block] == 0 for block in hits)
        needed = self._num_blocks(max(total, reserve_tokens)) - held + idle_hits
        if needed + watermark > len(self.free):
            return False
        for block in hits:
            if self.refs[block] == 0:
                self.free.remove(block)
            self._hold(request, block)
        request.computed = computed
        while len(request.blocks) < self._num_blocks(total):
            self._hold(request, self._pop())
        self._publish(request, min(total, request.num_tokens))
        return True

    def release(self, request: NaiveRequest) -> None:
        """Drop the request's references, last block first.

        What nobody holds any more becomes free: hashed blocks at the tail of the queue, unhashed
        ones at its head. Both keep the order of the walk: the last unhashed block is reused next.
        """
        hashed: list[int] = []
        unhashed: list[int] = []
        for block in reversed(request.blocks):
            self.refs[block] -= 1
            if self.refs[block] == 0:
                (hashed if block in self.key else unhashed).append(block)
        self.free = deque([*unhashed, *self.free, *hashed])
        request.blocks = []
        request.computed = 0

    def runs_of(self, evictions: Iterable[tuple[str, int]]) -> list[Run]:
        """Evictions as runs."""
        return eviction_runs(evictions)

    def new_step(self) -> None:
        """A step begins."""

    def cut(self, request: NaiveRequest, start: int, tokens: int, most: int) -> int:
        """How many of ``tokens`` prompt tokens from ``start`` on may be computed in one step: all."""
        return tokens

    def cached_blocks(self) -> list[tuple[int, str, int]]:
        """(block, owner, index) of every published block, by block id."""
        return [(block, *self.owner[block]) for block in sorted(self.owner)]

    def check(self, live: Iterable[NaiveRequest] | None = None) -> None:
        """Assert the invariants; `live`, all requests with blocks, also lets references add up."""
        if live is not None:
            held = Counter(block for request in live for block in request.blocks)
            assert all(self.refs[block] == held[block] for block in self.refs), "references off"
        idle = [block for block, count in self.refs.items() if count == 0]
        assert sorted(self.free) == idle, "the free queue is not the set of unreferenced blocks"
        assert self.num_used + len(self.free) == self.num_blocks, "used + free is not the capacity"
        assert all(count >= 0 for count in self.refs.values()), "negative reference count"
        mapped = {block: key for key, blocks in self.cached.items() for block in blocks}
        assert mapped == self.key, "map and blocks disagree on a key"
        assert sum(map(len, self.cached.values())) == len(mapped), "a block is mapped twice"
        assert all(self.cached.values()), "a key without blocks"
        assert mapped.keys() == self.owner.keys(), "a published block without owner, or the reverse"
        assert self.enable_caching or not mapped, "published although caching is off"

    def _num_blocks(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def _hold(self, request: NaiveRequest, block: int) -> None:
        self.refs[block] += 1
        request.blocks.append(block)

    def _pop(self) -> int:
        """Take the block at the head of the queue; if it is published, that evicts it."""
        block = self.free.popleft()
        if block in self.key:
            key = self.key.pop(block)
            self.cached[key].remove(block)
            if not self.cached[key]:
                del self.cached[key]
            self.evictions.append(self.owner.pop(block))
        return block

    def _publish(self, request: NaiveRequest, num_tokens: int) -> None:
        """Put the request's full blocks up to `num_tokens` into the map, duplicates included."""
        if not self.enable_caching:
            return
        if not self.cache_reply:
            num_tokens = min(num_tokens, len(request.prompt))
        size = self.block_size
        # What lies before `computed` came from the cache or was published by an earlier allocation.
        for index in range(request.computed // size, num_tokens // size):
            block = request.blocks[index]
            assert block not in self.key
            parent = self.key[request.blocks[index - 1]] if index else 0
            tokens = request.tokens[index * size : (index + 1) * size]
            key = self.block_key(parent, tokens, request.salt)
            self.key[block] = key
            self.owner[block] = (request.id, index)
            self.cached.setdefault(key, []).append(block)


def eviction_runs(evictions: Iterable[tuple[str, int]]) -> list[Run]:
    """Fold an eviction log into runs of one owner whose index counts down by one."""
    runs: list[Run] = []
    for owner, index in evictions:
        if runs and runs[-1][0] == owner and runs[-1][2] == index + 1:
            runs[-1] = (owner, runs[-1][1], index)
        else:
            runs.append((owner, index, index))
    return runs


def serve_sequential(pool: NaiveBlockPool, request: NaiveRequest) -> dict[str, Any]:
    """Serve one request alone: look up, allocate the whole prompt, decode token by token, release.

    The last sampled token gets no KV, so output - 1 tokens are allocated one by one.
    """

    def grow(new_tokens: int, hits: Sequence[int] = ()) -> None:
        if not pool.allocate(request, new_tokens, hits):
            raise ValueError(f"request {request.id} does not fit into {pool.num_blocks} blocks")
        request.computed += new_tokens
        request.generated += 1

    start = len(pool.evictions)
    hits = pool.lookup_request(request)
    hit_tokens = len(hits) * pool.block_size
    grow(len(request.prompt) - hit_tokens, hits)
    decode_start = len(pool.evictions)
    while not request.finished:
        grow(1)
    used_blocks = pool.num_used
    pool.release(request)
    request.status = "finished"
    return {
        "id": request.id,
        "prompt": len(request.prompt),
        "hit": hit_tokens,
        "out": len(request.output),
        "used_blocks": used_blocks,
        "evict_prefill": decode_start - start,
        "evict_decode": len(pool.evictions) - decode_start,
        "evicted_prefill": eviction_runs(pool.evictions[start:decode_start]),
        "evicted_decode": eviction_runs(pool.evictions[decode_start:]),
        "cached_blocks": len(pool.owner),
        "cached_keys": len(pool.cached),
    }


@dataclass(eq=False)
class NaiveScheduler:
    """Synchronous continuous batching: `add` requests, then `schedule` and `apply` in turn.

    The pool says whether caching is on. `watermark` is a fraction of all blocks, the null block
    included; it and the test of the whole sequence apply to admissions only.
    """

    pool: NaiveBlockPool
    max_num_batched_tokens: int = 2048
    max_num_seqs: int = 128
    policy: str = "fcfs"
    long_prefill_token_threshold: int = 0  # 0: off
    watermark: float = 0.0
    scheduler_reserve_full_isl: bool = True

    def __post_init__(self) -> None:
        if self.policy not in ("fcfs", "priority"):
            raise ValueError(f"policy {self.policy!r}: allowed are 'fcfs' and 'priority'")
        self.watermark_blocks = int(self.watermark * (self.pool.num_blocks + 1))
        self.waiting: list[NaiveRequest] = []
        self.running: list[NaiveRequest] = []
        self.step = 0
        # State of the current step.
        self._record = StepRecord(self.step)
        self._scheduled: dict[NaiveRequest, int] = {}  # tokens of each request, in order
        self._budget = 0
        self._threshold = 0

    def add(self, request: NaiveRequest) -> None:
        """Queue a new request; call it before the `schedule` of the step in which it arrives."""
        request.step_added = self.step
        self._enqueue(request)

    def schedule(self) -> StepRecord:
        """Schedule one step: running requests, then, if none was preempted, waiting ones."""
        evicted_before = len(self.pool.evictions)
        self._record = record = StepRecord(self.step)
        self._scheduled = {}
        self._budget = self.max_num_batched_tokens
        self.pool.new_step()
        alone = len(self.running) + len(self.waiting) == 1
        self._threshold = 0 if alone else self.long_prefill_token_threshold
        self._schedule_running()
        if not record.preempted:
            self._schedule_waiting()
        for request, tokens in self._scheduled.items():
            if tokens > 1 or request.computed + tokens < request.num_tokens:
                request.chunks += 1
            request.computed += tokens
            record.sched.append((request.id, tokens))
        evictions = self.pool.evictions[evicted_before:]
        record.tokens = sum(self._scheduled.values())
        record.evict = len(evictions)
        record.evicted = self.pool.runs_of(evictions)
        record.free = len(self.pool.free)
        record.running = len(self.running)
        record.waiting = len(self.waiting)
        return record

    def apply(self) -> list[NaiveRequest]:
        """Apply the step's results; return the finished requests, released in scheduling order.

        A request whose computed tokens reach its known tokens gets one sampled token.
        """
        done: list[NaiveRequest] = []
        for request in self._scheduled:
            if request.computed < request.num_tokens:
                continue
            request.generated += 1
            if request.generated == 1:
                request.step_first = self.step
            if request.finished:
                request.status = "finished"
                request.step_done = self.step
                self.running.remove(request)
                self.pool.release(request)
                self._record.finished.append(request.id)
                done.append(request)
        for request in done:
            request.used_blocks = self.pool.num_used
        self._scheduled = {}
        self.step += 1
        return done

    def _schedule_running(self) -> None:
        """Give each running request its tokens, preempting victims while its blocks do not fit.

        A request that preempts itself is passed over: under priority the next one is up, under fcfs
        it was the last one.
        """
        index = 0
        while index < len(self.running) and self._budget > 0:
            request = self.running[index]
            tokens = self._tokens_to_schedule(request, request.num_tokens - request.computed)
            if not tokens:
                index += 1
                continue
            while not self.pool.allocate(request, tokens):
                victim = self._victim()
                index -= self.running.index(victim) < index
                self._preempt(victim)
                if victim is request:
                    break
            if request.status == "running":
                self._scheduled[request] = tokens
                self._budget -= tokens
                index += 1

    def _schedule_waiting(self) -> None:
        """Admit from the head of the queue; the first one whose blocks do not fit ends the phase.

        The prefix is looked up at each try. The watermark applies only while something is running.
        """
        while self.waiting and self._budget > 0 and len(self.running) < self.max_num_seqs:
            request = self.waiting[0]
            hits = self.pool.lookup_request(request)
            cached = len(hits) * self.pool.block_size
            tokens = self._tokens_to_schedule(request, request.num_tokens - cached, cached)
            if not tokens:
                break
            reserve = request.num_tokens if self.scheduler_reserve_full_isl else 0
            watermark = self.watermark_blocks if self.running else 0
            if not self.pool.allocate(request, tokens, hits, reserve, watermark):
                break
            self.waiting.pop(0)
            if request.hits:
                self._record.resumed.append((request.id, cached))
            else:
                self._record.new.append((request.id, cached))
                request.step_scheduled = self.step
            request.hits.append(cached)
            request.status = "running"
            self.running.append(request)
            self._scheduled[request] = tokens
            self._budget -= tokens

    def _tokens_to_schedule(self, request: NaiveRequest, missing: int, start: int | None = None) -> int:
        """Tokens without KV, cut to the long-prefill threshold and to the budget left.

        The threshold is ignored for a request that is alone in the system, waiting ones included. The pool
        may want a piece of a prompt to end elsewhere, or put it off (0).
        """
        if self._threshold:
            missing = min(missing, self._threshold)
        most = min(self.long_prefill_token_threshold or 1 << 30, self.max_num_batched_tokens)
        begin = request.computed if start is None else start
        return self.pool.cut(request, begin, min(missing, self._budget), most)

    def _victim(self) -> NaiveRequest:
        """fcfs: the last running one; priority: the largest (priority, arrival), first of a tie."""
        if self.policy == "fcfs":
            return self.running[-1]
        return max(self.running, key=lambda request: (request.priority, request.arrival))

    def _preempt(self, victim: NaiveRequest) -> None:
        """Take back the victim's blocks and its tokens of this step, queue it; output is kept."""
        self.running.remove(victim)
        self._budget += self._scheduled.pop(victim, 0)
        self.pool.release(victim)
        victim.status = "preempted"
        victim.preemptions += 1
        self._record.preempted.append(victim.id)
        self._enqueue(victim, at_head=True)

    def _enqueue(self, request: NaiveRequest, at_head: bool = False) -> None:
        """fcfs: at the tail, or the head after a preemption; priority: see the sort key."""
        self.waiting.insert(0 if at_head else len(self.waiting), request)
        if self.policy == "priority":  # ids compare as text: r10 before r9
            self.waiting.sort(key=lambda request: (request.priority, request.arrival, request.id))
