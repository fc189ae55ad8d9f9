"""Naive reference model of the scheduler of SGLang 0.5.23, on the naive radix tree, without overlap.

Slow and per token on purpose: a request's slots are a list, every decode step is a step, what running
requests may need is added up each time. Tests compare the simulator with it, so the two share no code. One
full-attention pool; no priority scheduling, mixed chunks, speculative decoding or host tier.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.oracles.naive_radix import NaiveNode, NaiveRadix
from tests.oracles.naive_vllm import NaiveRequest


@dataclass(eq=False)
class Live:
    """A request in the engine."""

    ask: NaiveRequest
    max_new: int
    """The most output tokens it may get."""
    out: int = 0
    """Output tokens so far."""
    row: list[int] = field(default_factory=list)
    """The slots of its tokens that have KV."""
    node: NaiveNode | None = None
    """The end of the path that it locks."""
    owned: int = 0
    counted: int = 0
    target: int = 0
    """Tokens that have KV after the present prefill."""
    retractions: int = 0

    @property
    def tokens(self) -> list[int]:
        """Its prompt and the output so far."""
        return [*self.ask.prompt, *self.ask.output[: self.out]]

    @property
    def done(self) -> bool:
        """Whether its last token is there."""
        return self.out == len(self.ask.output)


@dataclass(eq=False)
class Batch:
    """A list of requests and SGLang's ``batch_is_full``, which belongs to the list."""

    reqs: list[Live] = field(default_factory=list)
    full: bool = False


@dataclass
class NaiveStep:
    """One forward pass: requests by id, all lists in the engine's order."""

    sched: list[tuple[str, int]]
    new: list[tuple[str, int]] = field(default_factory=list)
    resumed: list[tuple[str, int]] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    evicted: list[tuple[str, int, int]] = field(default_factory=list)
    free: int = 0
    """Slots free or evictable once everything is allocated."""
    running: int = 0
    waiting: int = 0
    finished: list[str] = field(default_factory=list)


@dataclass
class Building:
    """A prefill batch while it is built."""

    promised: float
    """Slots that are spoken for."""
    inputs: int
    """New tokens that it may yet take, and, where prompts are cut,"""
    chunk: int | None
    page_size: int
    batch: list[Live] = field(default_factory=list)
    record: NaiveStep = field(default_factory=lambda: NaiveStep([]))

    @property
    def full(self) -> bool:
        """Whether it may take no further token."""
        return self.inputs <= 0 or (self.chunk is not None and self.chunk <= 0)

    def take(self, req: Live, count: int) -> None:
        """Compute ``count`` further tokens of the request."""
        req.target = len(req.row) + count
        whole = req.target == len(req.tokens)
        pages = -(-count // self.page_size) * self.page_size
        self.promised += pages + self.page_size + (min(req.max_new, 4096) if whole else 0)
        self.inputs -= pages
        if self.chunk is not None:
            self.chunk -= pages
        self.batch.append(req)
        self.record.sched.append((req.ask.id, count))


class NaiveSglang:
    """The scheduler: ``add`` requests, then ``step`` until it says None (idle)."""

    def __init__(
        self,
        radix: NaiveRadix,
        *,
        chunk: int | None,
        max_prefill: int = 16384,
        max_running: int = 1 << 30,
        policy: str = "fcfs",
        conservativeness: float = 1.0,
        ignore_eos: bool = False,
        retract_by_priority: bool = False,
        caching: bool = True,
    ) -> None:
        self.radix = radix
        self.size = radix.page_size
        self.chunk, self.max_prefill, self.max_running = chunk, max_prefill, max_running
        self.policy = policy if caching else "fcfs"
        self.caching = caching
        self.ignore_eos, self.retract_by_priority = ignore_eos, retract_by_priority
        self.first_ratio = min(0.7 * conservativeness, 1.0)
        self.last_ratio = min(self.first_ratio * 0.14, 1.0)
        self.ratio = self.first_ratio
        self.waiting: list[Live] = []
        self.running = Batch()
        self.last: Batch | None = None  # the batch of the last forward pass
        self.last_was_prefill = False
        self.begun: Live | None = None
        self.refreshes = 0
        self.hits: dict[str, list[int]] = {}
        self.aborted: list[str] = []
        self.gone: list[str] = []  # retracted, and in no step's record yet

    def add(self, request: NaiveRequest, max_new: int | None = None) -> None:
        """Queue a request that may get ``max_new`` output tokens (default: as many as it gets)."""
        self.waiting.append(Live(request, len(request.output) if max_new is None else max_new))

    def step(self) -> NaiveStep | None:
        """Schedule one forward pass and apply its results."""
        while True:
            self._merge()
            record = self._prefill()
            if record is None and self.running.reqs:
                record = self._decode()
            if record is not None:
                return record
            self.last = None
            if not self.waiting and not self.running.reqs:
                self.ratio = self.first_ratio
                return None

    # -- one pass

    def _merge(self) -> None:
        """Requests whose prompt is complete join the running batch; the begun one stays outside."""
        if self.begun is not None:
            self._publish(self.begun, self.begun.target)
        if self.last is not None and self.last_was_prefill:
            stay = [r for r in self.last.reqs if not r.done and r is not self.begun]
            if len(stay) < len(self.last.reqs):
                self.running.full = False
            self.last.reqs = stay
            if stay:
                if self.running.reqs:
                    self.running.reqs += stay
                else:
                    self.running = self.last
        stay = [r for r in self.running.reqs if not r.done]
        if len(stay) < len(self.running.reqs):
            self.running.full = False
        self.running.reqs = stay

    def _prefill(self) -> NaiveStep | None:
        """Build a batch of prompts, the begun one first, and compute it; None if there is none."""
        running = self.running
        if not running.reqs:
            running.full = False
        if self.begun is None and (running.full or not self.waiting):
            return None
        rows = self.max_running - len(running.reqs)
        if self.begun is None and rows <= 0:
            running.full = True
            return None
        self._sort_waiting()
        # What is promised: to running requests for their output, then to those of this batch.
        ratio = 1.0 if self.ignore_eos else self.ratio
        promised = sum([min(r.max_new - r.out, 4096) * ratio for r in running.reqs])
        building = Building(promised, self.max_prefill, self.chunk, self.size)
        if self.begun is not None:
            assert self.chunk is not None
            left = len(self.begun.tokens) - len(self.begun.row)
            limit = min(self.chunk, int(self._available() - promised))
            building.take(self.begun, min(left, limit if limit > 0 else self.chunk))
        for req in list(self.waiting):
            if self._available() - building.promised > 0 and building.full:
                break
            if len(building.batch) >= rows:
                running.full = True
            if running.full:
                break
            verdict = self._admit(req, building)
            if verdict == "no token":
                running.full = bool(building.batch or running.reqs)
            if verdict:
                break
        return self._compute(building) if building.batch else None

    def _admit(self, req: Live, building: Building) -> str:
        """Take the request or a part of it if it fits; why nobody may come after it, or nothing."""
        node = self._match(req, len(req.tokens) - 1)
        self.radix.lock(node, 1)
        row = self.radix.path_slots(node)
        count = len(req.tokens) - len(row)
        wanted = count + min(req.max_new - req.out, 4096) + self.size
        refused = "" if wanted < self._available() - building.promised else "no token"
        if not refused and building.chunk is None:
            refused = "other" if building.batch and self._ceil(count) >= building.inputs else ""
        elif not refused and building.chunk is not None and self._ceil(count) > building.chunk:
            count = building.chunk // self.size * self.size
            refused = "" if count else "other"
        if refused:
            self.radix.lock(node, -1)
            return refused
        req.node, req.row, req.owned = node, row, len(row)
        self.waiting.remove(req)
        self.hits.setdefault(req.ask.id, []).append(len(row))
        record = building.record
        (record.resumed if req.retractions else record.new).append((req.ask.id, len(row)))
        building.take(req, count)
        if self._available() - building.promised <= 0:
            return "no token"
        return "other" if building.full else ""

    def _compute(self, building: Building) -> NaiveStep:
        """Give the batch its slots, then what is computed to the tree, and a token to complete prompts."""
        batch, record = building.batch, building.record
        last = batch[-1]
        self.begun = last if last.target < len(last.tokens) else None
        evictions = len(self.radix.evictions)
        demand = sum(count for _, count in record.sched)
        self.radix.make_room(demand + (self.size * len(batch) if self.size > 1 else 0))
        for req in batch:
            while len(req.row) < req.target:
                self.radix.allocate(req.row, req.ask.id)
        self._note(record, evictions, len(self.running.reqs) + len(batch))
        for req in batch:  # the results
            if req is self.begun:
                continue
            req.out += 1
            if req.done:
                record.finished.append(req.ask.id)
                self._release(req, publish=True)
            else:
                self._publish(req, req.target)
        self.last, self.last_was_prefill = Batch(batch), True
        return record

    def _decode(self) -> NaiveStep | None:
        running, record = self.running, NaiveStep([])
        evictions = len(self.radix.evictions)
        if not self._next_fits(running.reqs):
            self.gone += self._retract()
            running.full = False
            if not running.reqs:
                return None
        else:
            step = (self.first_ratio - self.last_ratio) / 600
            self.ratio = max(self.ratio - step, self.last_ratio)
        self.radix.make_room(len(running.reqs) * self.size)
        for req in running.reqs:
            self.radix.allocate(req.row, req.ask.id)
            record.sched.append((req.ask.id, 1))
        self._note(record, evictions, len(running.reqs))
        for req in running.reqs:
            req.out += 1
            if req.done:
                record.finished.append(req.ask.id)
                self._release(req, publish=True)
        self.last, self.last_was_prefill = running, False
        return record

    def _retract(self) -> list[str]:
        """Fewest output tokens first, then the longest prompt; the queue gets them at its end."""

        def keep_rank(req: Live) -> tuple[int, int, int]:
            return (req.ask.priority if self.retract_by_priority else 0, req.out, -len(req.ask.prompt))

        kept = sorted(self.running.reqs, key=keep_rank, reverse=True)
        gone: list[str] = []
        while True:
            if gone and self._next_fits(kept):
                break
            if len(kept) == 1:
                break
            req = kept.pop()
            self._release(req, publish=False)
            self.radix.make_room(20 * len(kept))
            req.retractions += 1
            self.waiting.append(req)
            gone.append(req.ask.id)
        if len(kept) == 1 and not self._next_fits(kept):
            req = kept.pop()
            self._release(req, publish=False)
            self.aborted.append(req.ask.id)
        self.running.reqs = kept
        used = sum(req.out for req in kept) + 20 * len(kept)
        self.ratio = min(1.0, used / (sum(req.max_new for req in kept) + 1))
        return gone

    # -- the order of the queue

    def _sort_waiting(self) -> None:
        if self.policy == "dfs-weight":
            self._sort_along_the_tree()
        elif self.policy == "lpm" and len(self.waiting) <= 128:
            self._sort_by_prefix()
        elif self.caching and self.radix.policy == "lru" and self.waiting:
            if self.refreshes % 32 == 0:
                for req in self.waiting[:128][::-1]:
                    self._match(req, len(req.tokens))
            self.refreshes += 1

    def _sort_by_prefix(self) -> None:
        ranks: dict[Any, Any] = {}
        ahead: list[Any] = []
        for req in self.waiting:
            found = len(self.radix.path_slots(self._match(req, len(req.tokens))))
            ranks[req] = (0, -min(found, len(req.tokens) - 1))
            if found <= 32:
                if any(_common(req, other) >= 32 for other in ahead):
                    ranks[req] = (1, 0)
                else:
                    ahead.append(req)
        self.waiting.sort(key=lambda req: ranks[req])

    def _sort_along_the_tree(self) -> None:
        ends = [(req, self._match(req, len(req.tokens))) for req in self.waiting]
        order: list[Live] = []

        def weight(node: NaiveNode) -> int:
            return sum(end is node for _, end in ends) + sum(weight(child) for child in node.children)

        def visit(node: NaiveNode) -> None:
            for child in sorted(node.children, key=lambda child: -weight(child)):
                visit(child)
            order.extend(req for req, end in ends if end is node)

        visit(self.radix.root(None))  # of the requests without a salt: the only ones it is used with
        assert len(order) == len(ends)
        self.waiting = order

    # -- memory

    def _match(self, req: Live, count: int) -> NaiveNode:
        if not self.caching:
            return self.radix.root(None)
        return self.radix.match(self.radix.floor(req.tokens[:count]), req.ask.salt)

    def _available(self) -> int:
        return self.radix.num_free + self.radix.num_in_tree(locked=False)

    def _next_fits(self, reqs: list[Live]) -> bool:
        needed = sum(len(req.row) % self.size == 0 for req in reqs) * self.size
        self.radix.make_room(needed)
        return self.radix.num_free >= needed

    def _publish(self, req: Live, count: int) -> None:
        if self.caching:
            assert req.node is not None
            req.node, req.owned = self.radix.publish(
                req.ask, req.tokens[:count], req.row, req.node, req.owned, req.counted
            )
            req.counted = max(req.counted, req.owned)

    def _release(self, req: Live, publish: bool) -> None:
        if publish:
            self._publish(req, len(req.row))
        self.radix.free(req.row[req.owned :])
        assert req.node is not None
        self.radix.lock(req.node, -1)
        req.node, req.row, req.owned, req.counted, req.target = None, [], 0, 0, 0

    def _note(self, record: NaiveStep, evictions: int, running: int) -> None:
        record.evicted = self.radix.evictions[evictions:]
        record.retracted, self.gone = self.gone, []
        record.free = self._available()
        record.running, record.waiting = running, len(self.waiting)

    def _ceil(self, tokens: int) -> int:
        return -(-tokens // self.size) * self.size


def _common(one: Live, other: Live) -> int:
    """Leading tokens that both know, if their salts agree."""
    if one.ask.salt != other.ask.salt:
        return 0
    count = 0
    for a, b in zip(one.tokens, other.tokens, strict=False):
        if a != b:
            break
        count += 1
    return count


def run_to_the_end(engine: NaiveSglang, requests: list[NaiveRequest], **options: Any) -> list[NaiveStep]:
    """All steps of ``requests``, one second each, arrivals in whole seconds; idle seconds are left out."""
    coming, steps, now = list(requests), [], 0
    limits = options.get("max_new", {})
    while True:
        while coming and coming[0].arrival <= now:
            request = coming.pop(0)
            engine.add(request, limits.get(request.id))
        step = engine.step()
        if step is not None:
            steps.append(step)
        elif not coming:
            return steps
        now += 1
