"""vLLM's prefix cache and block pool with several groups of layers, exactly.

The pool is a `BlockCache`, with its map, its queue and its runs; here each request has a table per group,
and what `BlockCache` is asked in blocks of one table this is asked in tokens of a request.

Example, blocks of 16, groups full and swa:128: a prompt of 1,000 tokens takes 63 blocks in either group.
The first token of the reply looks at no token before number 873, so 54 blocks of the window group go to
the queue, where they can still be found; a request that hits 992 tokens takes 62 blocks of the one group
and 8 of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sim.caches.block import UNLIMITED, BlockCache
from sim.caches.groups.braid import BraidedLru, GroupPool, Strand
from sim.caches.groups.group import GROUP, FullGroup, Group, StateGroup, WindowGroup
from sim.caches.groups.kinds import Full, Kind, States, Window, kind_of
from sim.caches.groups.leaving import leave_in_turn
from sim.caches.groups.prefix import Prefixes
from sim.caches.tables import MISS, BlockTable, Hit
from workloads.content import Tree

GroupEvicted = Callable[..., None]
"""Called with (owner, first, last) for evicted blocks, ``first >= last``, counting down; of several groups
with the number of the group as the fourth."""


class GroupedCache:
    """Prefix cache and block pool of ``groups``, by their names (`kind_of`).

    ``eagle``: a draft model of the EAGLE or MTP kind works beside the model; a hit loses its last block.
    """

    def __init__(
        self,
        content: Tree,
        block_size: int,
        capacity_blocks: int | None,
        groups: Sequence[str],
        *,
        eagle: bool = False,
        caching: bool = True,
        evicted: GroupEvicted | None = None,
    ) -> None:
        self.content = content
        self.block_size = block_size
        self.caching = caching
        self.width = len(groups)
        """Groups; a full block of every one is needed per ``block_size`` tokens."""
        self._told = evicted
        self.pool = GroupPool(
            content,
            block_size,
            capacity_blocks,
            caching=caching,
            queue=BraidedLru(UNLIMITED if capacity_blocks is None else capacity_blocks),
            evicted=self._evicted if evicted is not None else None,
        )
        self.capacity_blocks = self.pool.capacity_blocks
        self.has_clock = self.asks_time = False
        self.peak_blocks = 0
        """Blocks held at most at the end of a step that passed in a run of steps, as far as its user notes
        it."""
        self.now_s = 0.0
        self.groups = [self._group(kind_of(name), i) for i, name in enumerate(groups)]
        self.has_states = any(isinstance(group, StateGroup) for group in self.groups)
        """Whether prompts have to be cut where a state can be kept, and states can be used a step later
        only."""
        self.sliding = [group for group in self.groups if not isinstance(group, FullGroup)]
        """Those that give blocks back while a request runs."""
        self._leaps = {group.kind.leap for group in self.sliding if group.kind.leap}
        self.has_chunks = bool(self._leaps)
        self._in_turns = [group for group in self.sliding if not group.kind.leap]
        prefixes = Prefixes(self.groups, eagle)
        self._find = prefixes.find_plain if prefixes.is_plain else prefixes.find
        self.eagle = eagle
        self._new_states: set[tuple[int, int]] = set()  # (node, block) published in the present step

    def _group(self, kind: Kind, number: int) -> Group:
        if isinstance(kind, States):
            return StateGroup(self.pool, kind, number)
        if isinstance(kind, Full):
            return FullGroup(self.pool, kind, number)
        if isinstance(kind, Window):
            return WindowGroup(self.pool, kind, number)
        return Group(self.pool, kind, number)

    # -- the pool ----------------------------------------------------------------------------------

    @property
    def free_blocks(self) -> int:
        """Blocks that can be allocated: without content, or cached and held by no request."""
        return self.pool.free_blocks

    @property
    def empty_blocks(self) -> int:
        """Free blocks without content."""
        return self.pool.empty_blocks

    @property
    def cached_blocks(self) -> int:
        """Blocks of all groups with content that a lookup could find. O(runs)."""
        return self.pool.cached_blocks

    @property
    def evicted_blocks(self) -> int:
        """Blocks of all groups evicted so far."""
        return self.pool.evicted_blocks

    @property
    def runs(self) -> int:
        """Pieces in which blocks are kept. O(runs)."""
        return self.pool.runs

    def take(self, blocks: int) -> None:
        """Allocate free blocks, of whatever group; those without content first."""
        self.pool.take(blocks)

    def give_back(self, blocks: int) -> None:
        """Return ``blocks`` allocated blocks that got no content."""
        self.pool.give_back(blocks)

    def _evicted(self, owner: int, first: int, last: int) -> None:
        assert self._told is not None
        if self.width > 1:
            self._told(owner & ((1 << GROUP) - 1), first, last, owner >> GROUP)
        else:
            self._told(owner, first, last)

    # -- a request ---------------------------------------------------------------------------------

    def tables(self, table: BlockTable) -> list[BlockTable]:
        """What the request of ``table`` holds, group by group."""
        tables = table.groups
        if tables is None:
            tables = table.groups = [table]
            table.base = 0
            for i in range(1, self.width):
                base = i << GROUP
                held = BlockTable(table.route, table.prompt_tokens, table.owner + base)
                held.base = base
                tables.append(held)
            for group, held in zip(self.groups, tables, strict=True):
                held.first = 0
                held.states = [] if isinstance(group, StateGroup) else None
        return tables

    def lookup(self, table: BlockTable, known_tokens: int) -> Hit:
        """Longest prefix of the first ``known_tokens`` tokens that every group can serve."""
        if not self.caching or known_tokens <= self.block_size:
            return MISS
        return self._find(table.groups or self.tables(table), known_tokens)

    def fits(
        self, table: BlockTable, hit: Hit, known_tokens: int, upto: int, in_flight_tokens: int, spare: int
    ) -> bool:
        """Whether a request with ``hit`` can be admitted and leaves ``spare`` blocks free.

        Room for its first ``upto`` tokens is needed and, unless ``known_tokens`` is 0, as much as it will
        ever hold of so many tokens, ``in_flight_tokens`` of them computed at a time. A state that another
        request publishes in this step cannot be used yet.
        """
        if self._new_states and hit.blocks and self._waits(table, hit.blocks):
            return False
        most = self.needed(hit.blocks * self.block_size, upto)
        if known_tokens:
            whole = [group.reserved(hit.blocks, known_tokens, in_flight_tokens) for group in self.groups]
            most = max(most, sum(whole))
        return most + hit.idle + spare <= self.pool.free_blocks

    def _waits(self, table: BlockTable, blocks: int) -> bool:
        for group, held in zip(self.groups, self.tables(table), strict=True):
            if (
                isinstance(group, StateGroup)
                and (group.node_of(held, blocks - 1), blocks - 1) in self._new_states
            ):
                return True
        return False

    def acquire(self, table: BlockTable, hit: Hit) -> int:
        """Make the request a holder of the blocks of ``hit``, which must be fresh; their tokens."""
        if hit.blocks:
            for held, found in zip(table.groups or self.tables(table), hit.groups):  # noqa: B905 (hot)
                mine = found or hit
                self.pool.acquire(held, mine)
                held.first = mine.pieces[0][1] if mine.pieces else mine.blocks
        return hit.blocks * self.block_size

    def needed(self, before: int, upto: int) -> int:
        """Blocks that a request needs to go on from ``before`` tokens to ``upto``."""
        return sum([group.needed(before, upto) for group in self.groups])

    def grow(self, table: BlockTable, before: int, upto: int) -> None:
        """Give the request the blocks to go on from ``before`` tokens to ``upto``."""
        self.pool.take(self.needed(before, upto))
        self.grown(table, before, upto)

    def grown(self, table: BlockTable, before: int, upto: int) -> None:
        """The request has got the blocks to go on from ``before`` tokens to ``upto``."""
        if self.has_states:
            for group, held in zip(self.groups, self.tables(table), strict=True):
                group.grown(held, before, upto)

    def extend(self, table: BlockTable, before: int, upto: int, settled: int) -> bool:
        """Give back what left the windows of the first ``settled`` tokens, then `grow`; False: no room."""
        self.slide(table, settled)
        needed = self.needed(before, upto)
        if needed > self.pool.free_blocks:
            return False
        if needed:
            self.pool.take(needed)
            self.grown(table, before, upto)
        return True

    def pass_through(self, table: BlockTable, computed: int, prompt_tokens: int, total_tokens: int) -> bool:
        """Let a request that has ``computed`` tokens compute its prompt at once, then go on token by token.

        In one go, for a request alone in an engine: what it takes comes from the head of the queue and what
        it leaves behind goes to its end, so if enough is free for all of it, it does not matter which comes
        first. False, and nothing is done, if that is not so.
        """
        needed = self.width * (-(-total_tokens // self.block_size) - -(-computed // self.block_size))
        pool = self.pool
        if not self.caching or needed > pool.free_blocks:
            return False
        pool.take(needed)
        for group, held in zip(self.groups, table.groups or self.tables(table)):  # noqa: B905 (hot)
            group.pass_through(held, computed, prompt_tokens, total_tokens)
        if total_tokens > prompt_tokens:
            if self.has_chunks:
                for settled in self.leaps_within(prompt_tokens, total_tokens - 1):
                    self.leave_in_turns([(table, settled - 1, 0, 0)])
                    self.slide(table, settled)
            self.leave_in_turns([(table, total_tokens - 1, 0, 0)])
        return True

    def leaps_within(self, first: int, last: int) -> list[int]:
        """The numbers of tokens after ``first`` up to ``last`` with which a request leaves a chunk
        behind."""
        found = {at for leap in self._leaps for at in range((first // leap + 1) * leap, last + 1, leap)}
        return sorted(found)

    def leave_in_turns(self, leaving: list[tuple[BlockTable, int, int, int]]) -> None:
        """Give back what leaves the windows of requests that go on token by token, side by side.

        For each its table, its tokens that are settled in its last step, the number of that step less
        those tokens, and its place among the requests. No chunk ends on the way.
        """
        strands: list[Strand] = []
        for table, settled, shift, order in leaving:
            tables = self.tables(table)
            for group in self._in_turns:
                strands += group.leave_in_turns(tables[group.number], settled, shift, order)
        if strands and strands[0].order == strands[-1].order:  # all of one request and group
            for strand in strands:
                leave_in_turn(self.pool, strand.run)
        elif strands:
            self.pool.put_in_turns(strands)

    def publish(self, table: BlockTable, tokens: int) -> None:
        """Enter the request's full blocks among its first ``tokens`` tokens into the map."""
        for group, held in zip(self.groups, self.tables(table), strict=True):
            before = held.published
            group.publish(held, tokens)
            if self.has_states and isinstance(group, StateGroup) and held.published > before:
                for run, hi in held.entries:
                    if hi > before:
                        self._new_states.update(
                            (run.node, block) for block in range(max(before, run.lo), hi)
                        )

    def slide(self, table: BlockTable, settled: int) -> None:
        """Give back what no token after the first ``settled`` looks at, group by group."""
        tables = self.tables(table)
        for group in self.sliding:
            group.slide(tables[group.number], settled)

    def release(self, table: BlockTable, blocks: int) -> None:
        """Give back all that the request of ``blocks`` blocks holds, group by group."""
        for held in table.groups or self.tables(table):
            mine = blocks
            if held.states is not None:
                mine = held.published + len(held.states)
                held.states = []
            elif held.first > held.published:
                mine -= held.first - held.published  # of those never published, what was given back
            self.pool.release(held, mine)
            held.first = 0
        table.groups = None  # it holds the table itself, and would wait for the garbage collector

    def private_blocks(self, table: BlockTable, blocks: int) -> int:
        """Blocks held by the request of ``blocks`` blocks that are not in the map, of all groups."""
        tables = self.tables(table)
        return sum(
            group.private_blocks(held, blocks) for group, held in zip(self.groups, tables, strict=True)
        )

    # -- states ------------------------------------------------------------------------------------

    def new_step(self) -> None:
        """A step is scheduled: states published in the one before can be used."""
        self._new_states.clear()

    def cut(self, table: BlockTable, start: int, tokens: int, known_tokens: int, most_tokens: int) -> int:
        """Of ``tokens`` prompt tokens from ``start`` on, how many to compute so that a state can be kept.

        Chunks end at the ends of blocks, where a state can be found again; the last such place of the
        prompt and the junction are not passed over. 0: the budget does not reach the next one.
        ``most_tokens`` is what one step gives to a request at most.
        """
        size = self.block_size
        prompt_end = max(table.prompt_tokens, known_tokens - 1)
        if start >= prompt_end:
            return tokens
        last = max(0, known_tokens // size - 1) * size if self.eagle else (known_tokens - 1) // size * size
        end = start + tokens
        if end < prompt_end:
            aligned = end // size * size
            if aligned > start or size <= most_tokens:
                end = aligned
        stops = [last]
        if start % size:
            stops.append((start // size + 1) * size)
        junction = table.junction
        if start < junction < end:
            stops.append(start + (junction - start) // size * size)
        return max(0, min([stop for stop in stops if start < stop < end], default=end) - start)

    def check(self) -> None:
        """Assert the invariants; O(runs)."""
        self.pool.check()


EngineMemory = BlockCache | GroupedCache
"""What a scheduler of vLLM gives blocks from."""
