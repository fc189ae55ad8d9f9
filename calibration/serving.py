"""A small real engine: the simulator's scheduler decides each step, and a decoder computes it.

`PagedCache` gives the simulator's block cache physical blocks, `Serving` runs each step of a replica on the
runner and says what time it took. Arrivals live in simulated time, which passes by measured
durations: idle time is skipped, nothing waits, and the clock is the profile's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from calibration.model import Work
from calibration.plan import Sequence
from calibration.runner import Runner
from sim.caches.block import BlockCache, BlockTable, Hit
from sim.engine.request import PREFILL
from sim.engine.vllm.batch import Batch
from workloads.content import ContentTree
from workloads.seeds import stream


class PagedCache(BlockCache):
    """The simulator's block cache, and which physical block each of its blocks is.

    A cached block is named by the request that published it and its number in that request; copies
    under one name hold the same content. Private blocks of a request are allocated when it computes.
    """

    def __init__(
        self, content: ContentTree, block_size: int, capacity_blocks: int, *, caching: bool
    ) -> None:
        super().__init__(content, block_size, capacity_blocks, caching=caching, evicted=self._drop)
        self._free = list(range(capacity_blocks))
        self._holders = [0] * capacity_blocks
        self._copies: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._named: set[int] = set()
        self._tables: dict[BlockTable, list[int]] = {}

    def physical(self, table: BlockTable, blocks: int) -> list[int]:
        """The first ``blocks`` blocks of the request, allocated if they are not yet."""
        mine = self._tables.setdefault(table, [])
        while len(mine) < blocks:
            block = self._free.pop()
            self._holders[block] = 1
            mine.append(block)
        return mine[:blocks]

    def acquire(self, table: BlockTable, hit: Hit) -> int:
        """As in the base; the physical blocks are shared, not copied."""
        tokens = super().acquire(table, hit)
        found = [
            self._copies[run.owner_of(number), number][0]
            for run, hi in table.entries
            for number in range(run.lo, hi)
        ]
        for block in found:
            self._holders[block] += 1
        self._tables[table] = found
        return tokens

    def publish(self, table: BlockTable, tokens: int) -> None:
        """As in the base; what is published can be found by its name."""
        before = table.published
        super().publish(table, tokens)
        mine = self.physical(table, table.published)
        for number in range(before, table.published):
            self._copies[table.owner, number].append(mine[number])
            self._named.add(mine[number])

    def release(self, table: BlockTable, blocks: int) -> None:
        """As in the base; blocks that nobody could find were this request's alone and are free."""
        super().release(table, blocks)
        for block in self._tables.pop(table, []):
            self._holders[block] -= 1
            if block not in self._named:
                self._free.append(block)

    def check(self) -> None:
        """Assert the invariants of the base, and that no block is lost or held twice."""
        super().check()
        held = Counter(block for blocks in self._tables.values() for block in blocks)
        assert self._holders == [held[block] for block in range(self.capacity_blocks)]
        assert len(self._free) == len(set(self._free)) and not held.keys() & set(self._free)
        assert held.keys() | self._named | set(self._free) == set(range(self.capacity_blocks))
        assert len(self._named) == self.cached_blocks == sum(map(len, self._copies.values()))

    def _drop(self, owner: int, first: int, last: int) -> None:
        for number in range(first, last - 1, -1):
            copies = self._copies[owner, number]
            block = next(block for block in copies if not self._holders[block])
            copies.remove(block)
            self._named.discard(block)
            self._free.append(block)


class Texts:
    """Token ids of a trace's content: every segment has its own, drawn from its number."""

    def __init__(self, content: ContentTree, vocabulary: int, seed: int) -> None:
        self._content, self._vocabulary, self._seed = content, vocabulary, seed
        self._segments: dict[int, list[int]] = {}

    def tokens(self, path: list[int], first: int, last: int) -> list[int]:
        """Tokens ``first`` to ``last - 1`` along ``path``."""
        content = self._content
        out: list[int] = []
        for segment in path:
            begin, end = content.end[content.parent[segment]], content.end[segment]
            if begin < last and first < end:
                out += self._segment(segment, end - begin)[max(first - begin, 0) : last - begin]
        return out

    def _segment(self, segment: int, length: int) -> list[int]:
        if segment not in self._segments:
            random = stream(self._seed, f"segment {segment}")
            self._segments[segment] = random.integers(self._vocabulary, size=length).tolist()
        return self._segments[segment]


@dataclass(frozen=True, slots=True)
class Computed:
    """A step that was computed: (cached, new) tokens of its sequences, and how long it took."""

    sequences: list[Sequence]
    predicted_s: float
    measured_s: float


class Serving:
    """Computes the steps of a replica on ``runner``: to be given to its plan as ``compute``.

    Replies are those of the trace, fed token by token: what the model samples is computed and noted in
    ``sampled``, but later prompts contain the trace's reply, as they must to share its blocks.
    """

    def __init__(self, runner: Runner, texts: Texts) -> None:
        self._runner, self._texts = runner, texts
        self.computed: list[Computed] = []
        self.sampled: dict[int, list[int]] = defaultdict(list)
        """Request -> the likeliest token at each place where it sampled."""

    def __call__(self, batch: Batch, memory: PagedCache, predicted_s: float) -> float:
        """Compute ``batch``; the seconds that it took."""
        assert batch.shares is not None
        scheduled = batch.shares.tokens
        work: list[Work] = []
        tokens: list[int] = []
        for request, new in scheduled.items():
            cached = request.computed - new
            blocks = memory.physical(request.table, -(-request.computed // memory.block_size))
            work.append(Work(cached, new, blocks))
            tokens += self._texts.tokens(request.table.route.nodes, cached, request.computed)
        timed = self._runner.step(work, tokens)
        for request, row in zip(scheduled, timed.sampled.tolist(), strict=True):
            if request.phase != PREFILL:  # its prompt is complete
                self.sampled[request.index].append(row)
        self.computed.append(Computed([(w.cached, w.new) for w in work], predicted_s, timed.t_s))
        return timed.t_s
