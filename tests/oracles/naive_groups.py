"""Naive reference model of vLLM 0.33.0's hybrid KV cache manager: several groups of layers over one pool.

Slow and per block on purpose, as `naive_vllm`: a table of block ids per group, 0 where a group has
nothing, and every rule applied to one block after the other. It shares no code with the simulator.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.oracles.naive_vllm import NaiveRequest

NULL = 0


@dataclass
class Found:
    """A lookup's answer: per group the blocks of the prefix, null where the group needs none."""

    tables: list[list[int]]
    junction: int = 0

    def __len__(self) -> int:
        return len(self.tables[0])


@dataclass(eq=False)
class NaiveGroupPool:
    """Blocks of all groups, the map from (group, content) to blocks, and the one free queue."""

    num_blocks: int
    block_size: int
    groups: Sequence[str]
    eagle: bool = False
    enable_caching: bool = True
    in_flight_tokens: int = 1 << 30
    """Tokens that are computed at once at most: what a window reserves besides itself."""

    def __post_init__(self) -> None:
        ids = range(1, self.num_blocks + 1)
        self.free = deque(ids)
        self.refs = dict.fromkeys(ids, 0)
        self.key: dict[int, Any] = {}  # published block -> (group, salt, tokens of the whole prefix)
        self.owner: dict[int, tuple[str, int, int]] = {}  # published block -> (request, index, group)
        self.cached: dict[Any, list[int]] = {}  # key -> its blocks, earliest published first
        self.evictions: list[tuple[str, int, int]] = []
        self.tables: dict[NaiveRequest, list[list[int]]] = {}
        self.published: dict[NaiveRequest, list[int]] = {}
        self.junction: dict[NaiveRequest, int] = {}
        self.new_states: set[Any] = set()

    @property
    def num_used(self) -> int:
        """Blocks that some request holds."""
        return self.num_blocks - len(self.free)

    # -- lookup ------------------------------------------------------------------------------------

    def _key(self, group: int, request: NaiveRequest, index: int) -> Any:
        return group, request.salt, tuple(request.tokens[: (index + 1) * self.block_size])

    def _cached(self, groups: list[int], request: NaiveRequest, index: int) -> bool:
        return all(self._key(group, request, index) in self.cached for group in groups)

    def _alike(self) -> list[tuple[str, list[int], bool]]:
        """Kinds in order of appearance, full attention first, with their groups and whether a draft model
        works on them."""
        names = sorted(dict.fromkeys(self.groups), key=lambda name: name != "full")
        drafted = {"full"} if "full" in names else {name for name in names if not name.startswith("mamba")}
        return [
            (
                name,
                [i for i, other in enumerate(self.groups) if other == name],
                self.eagle and name in drafted,
            )
            for name in names
        ]

    def _longest(self, name: str, groups: list[int], request: NaiveRequest, tokens: int, drop: bool) -> int:
        """Blocks of the longest prefix that a kind can serve of at most ``tokens`` tokens."""
        size, most = self.block_size, tokens // self.block_size
        there = [self._cached(groups, request, i) for i in range(most)]
        if name == "full":
            found = there.index(False) if False in there else most
        elif name == "mamba:align":
            found = max((i + 1 for i in range(most) if there[i]), default=0)
        elif name.startswith("chunk:"):
            chunk = int(name[6:])
            found = tokens // chunk * chunk // size
            while found < most and there[found]:
                found += 1
        else:
            need = -(-(int(name[4:]) - 1) // size) + drop
            for end in range(most, -1, -1):
                begin = max(0, end - need)
                if all(there[begin:end]) and (end == most or not there[end] or end - begin == need):
                    found = end
                    break
        return max(0, found - 1) if drop else found

    def lookup_request(self, request: NaiveRequest) -> Found:
        """The longest prefix that all groups can serve, with at least one token left to compute."""
        self.junction[request] = 0
        if not self.enable_caching:
            return Found([[] for _ in self.groups])
        size, kinds = self.block_size, self._alike()
        length, longest, full = request.num_tokens - 1, 0, None
        dropped: set[str] = set()
        while True:
            current = length
            for name, groups, eagle in kinds:
                if name == "full" and full is not None:
                    current = min(current, full)
                    continue
                drop, limit = eagle and name not in dropped, current
                if drop and len(self.groups) > 1:
                    limit = min(current + size, request.num_tokens // size * size)
                found = self._longest(name, groups, request, limit, drop) * size
                if drop:
                    dropped.add(name)
                elif found < current:
                    dropped.clear()
                current = found
                if name == "full":
                    full = found
                longest = max(longest, current)
            if current >= length or len(self.groups) == 1:
                length = min(length, current)
                break
            length = current
            if len(kinds) == 2 and kinds[0][0] == "full":
                break
        hits = Found([], longest if longest > length and len(self.groups) > 1 else 0)
        self.junction[request] = hits.junction
        for group, name in enumerate(self.groups):
            begin = self._skipped(name, length) // size
            blocks = [self.cached[self._key(group, request, i)][0] for i in range(begin, length // size)]
            hits.tables.append([NULL] * begin + blocks)
        return hits

    @staticmethod
    def _skipped(name: str, tokens: int) -> int:
        """Leading tokens that the next one does not look at."""
        if name == "full":
            return 0
        if name == "mamba:align":
            return max(0, tokens - 1)
        size = int(name.partition(":")[2])
        return max(0, tokens - size + 1) if name.startswith("swa") else tokens // size * size

    # -- allocation --------------------------------------------------------------------------------

    def allocate(
        self,
        request: NaiveRequest,
        new_tokens: int,
        hits: Found | None = None,
        reserve_tokens: int = 0,
        watermark: int = 0,
    ) -> bool:
        """As `NaiveBlockPool.allocate`, group by group; gives back first what left the windows."""
        size = self.block_size
        if request not in self.tables:
            tables = [list(table) for table in hits.tables] if hits else [[] for _ in self.groups]
            computed = len(hits) * size if hits else 0
            idle = sum(block != NULL and self.refs[block] == 0 for table in tables for block in table)
            if any(self._is_new(group, request, len(table)) for group, table in enumerate(tables)):
                return False
            total = computed + new_tokens
            needed, reserved = 0, 0
            for name, table in zip(self.groups, tables, strict=True):
                needed += self._missing(name, len(table), total)
                most = max(0, self._most(name) - len(table))
                reserved += min(self._missing(name, len(table), reserve_tokens), most)
            if max(needed, reserved) + idle + watermark > len(self.free):
                return False
            for table in tables:
                for block in table:
                    if block != NULL:
                        if self.refs[block] == 0:
                            self.free.remove(block)
                        self.refs[block] += 1
            self.tables[request] = tables
            self.published[request] = [len(table) for table in tables]
            request.computed = computed
        else:
            self._slide(request)
            total = request.computed + new_tokens
            tables = self.tables[request]
            named = zip(self.groups, tables, strict=True)
            if sum(self._missing(name, len(table), total) for name, table in named) > len(self.free):
                return False
        for name, table in zip(self.groups, tables, strict=True):
            while len(table) < -(-total // size):
                last = len(table) == -(-total // size) - 1
                table.append(self._pop() if last or name != "mamba:align" else NULL)
        self._publish(request, min(total, request.num_tokens))
        return True

    def _is_new(self, group: int, request: NaiveRequest, blocks: int) -> bool:
        """Whether the state after so many blocks was published in this very step."""
        is_state = self.groups[group] == "mamba:align"
        return is_state and blocks > 0 and self._key(group, request, blocks - 1) in self.new_states

    def _missing(self, name: str, held: int, tokens: int) -> int:
        missing = max(0, -(-tokens // self.block_size) - held)
        return min(1, missing) if name == "mamba:align" else missing

    def _most(self, name: str) -> int:
        """Blocks that a request reserves at most; a state needs one more, whatever it holds."""
        if name.startswith("swa"):
            return -(-(int(name[4:]) - 1 + self.in_flight_tokens) // self.block_size) + 1
        if name.startswith("chunk"):
            return -(-(int(name[6:]) + self.in_flight_tokens) // self.block_size)
        return 1 << 40

    def _slide(self, request: NaiveRequest) -> None:
        settled = request.computed - request.in_flight
        for name, table in zip(self.groups, self.tables[request], strict=True):
            gone = range(min(self._skipped(name, settled) // self.block_size, len(table)))
            self._free([table[i] for i in reversed(gone)])
            for i in gone:
                table[i] = NULL

    def _free(self, blocks: Iterable[int]) -> None:
        hashed: list[int] = []
        unhashed: list[int] = []
        for block in blocks:
            if block == NULL:
                continue
            self.refs[block] -= 1
            if self.refs[block] == 0:
                (hashed if block in self.key else unhashed).append(block)
        self.free = deque([*unhashed, *self.free, *hashed])

    def release(self, request: NaiveRequest) -> None:
        """Give everything back, one group after the other, each from its last block to its first."""
        for table in self.tables.pop(request, []):
            self._free(reversed(table))
        self.published.pop(request, None)
        request.computed = 0

    def _pop(self) -> int:
        block = self.free.popleft()
        if block in self.key:
            key = self.key.pop(block)
            self.cached[key].remove(block)
            if not self.cached[key]:
                del self.cached[key]
            self.evictions.append(self.owner.pop(block))
        self.refs[block] += 1
        return block

    def _publish(self, request: NaiveRequest, num_tokens: int) -> None:
        if not self.enable_caching:
            return
        full = num_tokens // self.block_size
        for group, table in enumerate(self.tables[request]):
            for index in range(self.published[request][group], full):
                block = table[index]
                if block == NULL:
                    continue
                key = self.key[block] = self._key(group, request, index)
                self.owner[block] = (request.id, index, group)
                self.cached.setdefault(key, []).append(block)
                if self.groups[group] == "mamba:align":
                    self.new_states.add(key)
            self.published[request][group] = max(full, self.published[request][group])

    def new_step(self) -> None:
        """A step begins: states that the one before published can be used now."""
        self.new_states.clear()

    def cut(self, request: NaiveRequest, start: int, tokens: int, most: int) -> int:
        """Of ``tokens`` prompt tokens those that end where a state can be kept; 0: none."""
        size, known = self.block_size, request.num_tokens
        end, prompt_end = start + tokens, max(len(request.prompt), known - 1)
        if "mamba:align" not in self.groups or start >= prompt_end:
            return tokens
        if end < prompt_end and (end // size * size > start or size <= most):
            end = end // size * size
        stops = [(known - 1) // size * size, start + (self.junction[request] - start) // size * size]
        if not start < self.junction[request] < end:
            stops.pop()
        if start % size:
            stops.append((start // size + 1) * size)
        return max(0, min([stop for stop in stops if start < stop < end], default=end) - start)

    def runs_of(self, evictions: Iterable[tuple[str, int, int]]) -> list[tuple[Any, ...]]:
        """Evictions as runs (owner, first, last, group)."""
        return group_runs(evictions, len(self.groups))

    def check(self, live: Iterable[NaiveRequest] | None = None) -> None:
        """Assert that references add up and that what nobody holds is free."""
        if live is not None:
            held = Counter(
                block
                for request in live
                for table in self.tables.get(request, [])
                for block in table
                if block
            )
            assert all(self.refs[block] == held[block] for block in self.refs), "references off"
        assert sorted(self.free) == [block for block, count in self.refs.items() if count == 0]


def serve_sequential_groups(pool: NaiveGroupPool, request: NaiveRequest) -> dict[str, Any]:
    """As `serve_sequential`: the prompt at once (in pieces if a group keeps states), then token by
    token."""
    start = len(pool.evictions)
    hits = pool.lookup_request(request)
    hit_tokens = len(hits) * pool.block_size
    computed = hit_tokens
    while computed < len(request.prompt):
        pool.new_step()
        tokens = pool.cut(request, computed, len(request.prompt) - computed, len(request.prompt))
        if not pool.allocate(request, tokens, hits):
            raise ValueError(f"request {request.id} does not fit into {pool.num_blocks} blocks")
        computed = request.computed = computed + tokens
    request.generated += 1
    decode_start = len(pool.evictions)
    while not request.finished:
        pool.new_step()
        if not pool.allocate(request, 1):
            raise ValueError(f"request {request.id} does not fit into {pool.num_blocks} blocks")
        request.computed += 1
        request.generated += 1
    used_blocks = pool.num_used
    pool.release(request)
    return {
        "id": request.id,
        "prompt": len(request.prompt),
        "hit": hit_tokens,
        "out": len(request.output),
        "used_blocks": used_blocks,
        "evict_prefill": decode_start - start,
        "evict_decode": len(pool.evictions) - decode_start,
        "evicted_prefill": group_runs(pool.evictions[start:decode_start], len(pool.groups)),
        "evicted_decode": group_runs(pool.evictions[decode_start:], len(pool.groups)),
        "cached_blocks": len(pool.owner),
        "cached_keys": len(pool.cached),
    }


def group_runs(evictions: Iterable[tuple[str, int, int]], groups: int) -> list[tuple[Any, ...]]:
    """Fold an eviction log into runs (owner, first, last, group); the group only where there are
    several."""
    runs: list[tuple[Any, ...]] = []
    for owner, index, group in evictions:
        if runs and runs[-1][0] == owner and runs[-1][2] == index + 1 and runs[-1][3] == group:
            runs[-1] = (owner, runs[-1][1], index, group)
        else:
            runs.append((owner, index, index, group))
    return runs if groups > 1 else [run[:3] for run in runs]
