"""What requests hold in one group of layers."""

from __future__ import annotations

from bisect import bisect_left

from sim.caches.block import BlockCache
from sim.caches.groups.kinds import Kind
from sim.caches.runs import Run
from sim.caches.tables import BlockTable, Hit
from workloads.content import Route


class GroupTable:
    """What one request holds in one group: the blocks from ``first`` on, or some states."""

    __slots__ = ("first", "states", "table")

    def __init__(self, table: BlockTable) -> None:
        self.table = table
        self.first = 0
        """Blocks before it are not held: given back, or not needed when the request came."""
        self.states: list[int] = []
        """Where the group keeps states: the numbers of the blocks held that are not in the map yet."""


class Group:
    """Group number ``number`` of ``width`` over ``pool``.

    In the pool its blocks lie in nodes of its own: node ``n`` of the tree is ``n * width + number`` there,
    and request ``r`` is owner ``r * width + number``. So one map, one queue and the runs of `BlockCache`
    serve all groups.
    """

    def __init__(self, pool: BlockCache, kind: Kind, number: int, width: int) -> None:
        self.pool = pool
        self.kind = kind
        self.number = number
        self._width = width
        self._size = pool.block_size

    def table(self, of: BlockTable) -> GroupTable:
        """A table of this group for the request of ``of``."""
        width, number, route = self._width, self.number, of.route
        mine = Route([node * width + number for node in route.nodes], route.ends)
        return GroupTable(BlockTable(mine, of.prompt_tokens, of.owner * width + number))

    def hold(self, held: GroupTable, hit: Hit) -> None:
        """The request takes the blocks of ``hit``, a prefix without what its next token does not look
        at."""
        self.pool.acquire(held.table, hit)
        for run, _ in held.table.entries:
            run.up = False
        held.first = self.kind.skipped_tokens(hit.blocks * self._size) // self._size

    def needed(self, before: int, upto: int) -> int:
        """Blocks that a request needs to go on from ``before`` tokens to ``upto``."""
        return -(-upto // self._size) - -(-before // self._size)

    def reserved(self, hit_blocks: int, tokens: int, in_flight_tokens: int) -> int:
        """Blocks that a request of ``tokens`` tokens, ``hit_blocks`` blocks of them found, is to be sure
        of."""
        blocks = -(-tokens // self._size)
        return max(0, self.kind.most_blocks(blocks, in_flight_tokens, self._size) - hit_blocks)

    def grown(self, held: GroupTable, before: int, upto: int) -> None:
        """The request has got the blocks that it `needed`."""

    def publish(self, held: GroupTable, tokens: int) -> None:
        """Enter the full blocks among the first ``tokens`` tokens into the map."""
        self.pool.publish(held.table, tokens)

    def slide(self, held: GroupTable, settled: int) -> None:
        """Give back what no token after the first ``settled`` looks at, the deepest block first."""
        size = self._size
        upto = self.kind.skipped_tokens(settled) // size
        if upto > held.first:
            self._give_back(held, upto, settled, in_turn=False)

    def slide_through(self, held: GroupTable, settled: int, last: int) -> None:
        """`slide` with every number of tokens from ``settled + 1`` to ``last``, one after the other."""
        kind, size = self.kind, self._size
        settled = kind.next_step(settled, size)
        while settled <= last:
            self.slide(held, settled)
            settled = kind.next_step(settled, size)

    def release(self, held: GroupTable, blocks: int) -> None:
        """Give back all that a request of ``blocks`` blocks holds, the deepest block first."""
        table = held.table
        missing = max(0, held.first - table.published)  # of those never published, what was given back
        self.pool.release(table, blocks - missing)
        held.first = 0

    def private_blocks(self, held: GroupTable, blocks: int) -> int:
        """Blocks held by a request of ``blocks`` blocks that are not in the map."""
        return blocks - max(held.table.published, held.first)

    def _give_back(self, held: GroupTable, upto: int, settled: int, *, in_turn: bool) -> None:
        """Give back the blocks before number ``upto``: ``in_turn`` each by itself, the shallowest first."""
        pool, table = self.pool, held.table
        if not pool.caching:
            pool.give_back(upto - held.first)
        else:
            if table.published < upto:
                pool.publish(table, settled)
            pieces = front(pool, table, upto)
            if in_turn:
                release_in_turn(pool, pieces, table.owner)
            else:
                release_together(pool, pieces, table.owner)
        held.first = upto


class WindowGroup(Group):
    """A group whose requests give back one block after the other while they decode."""

    def slide_through(self, held: GroupTable, settled: int, last: int) -> None:
        """All at once: what left the window block by block is one run that goes from its shallow end."""
        upto = self.kind.skipped_tokens(last) // self._size
        if upto > held.first:
            self._give_back(held, upto, last, in_turn=True)


class StateGroup(Group):
    """A group of layers that keep a state: a request gets a block for the state that it computes next, and
    keeps the one before until that is computed."""

    def needed(self, before: int, upto: int) -> int:
        return int(-(-upto // self._size) > -(-before // self._size))

    def reserved(self, hit_blocks: int, tokens: int, in_flight_tokens: int) -> int:
        return min(1, -(-tokens // self._size) - hit_blocks)

    def grown(self, held: GroupTable, before: int, upto: int) -> None:
        """The new block is that in which ``upto`` lies; in those between nothing is kept."""
        block = -(-upto // self._size) - 1
        if block >= -(-before // self._size):
            held.states.append(block)

    def publish(self, held: GroupTable, tokens: int) -> None:
        table, size = held.table, self._size
        stop = tokens // size
        if not self.pool.caching or stop <= table.published:
            return
        table.published = stop
        while held.states and held.states[0] < stop:
            block = held.states.pop(0)
            self.pool.add(table, self.node_of(held, block), block, block + 1)

    def node_of(self, held: GroupTable, block: int) -> int:
        """The node of the pool in which block number ``block`` of the request lies."""
        route = held.table.route
        return route.nodes[bisect_left(route.ends, (block + 1) * self._size)]

    def slide(self, held: GroupTable, settled: int) -> None:
        upto = self.kind.skipped_tokens(settled) // self._size
        pool, table = self.pool, held.table
        self.publish(held, settled)
        while held.states and held.states[0] < upto:
            del held.states[0]
            pool.give_back(1)
        if table.entries and table.entries[0][0].lo < upto:
            release_together(pool, front(pool, table, upto), table.owner)

    def release(self, held: GroupTable, blocks: int) -> None:
        self.pool.release(held.table, held.table.published + len(held.states))
        held.states = []

    def private_blocks(self, held: GroupTable, blocks: int) -> int:
        return len(held.states)


def front(pool: BlockCache, table: BlockTable, upto: int) -> list[Run]:
    """Take the blocks before number ``upto`` out of what ``table`` holds: their runs, shallowest first."""
    entries, pieces, done = table.entries, [], 0
    rest: list[tuple[Run, int]] = []
    for run, hi in entries:
        if run.lo >= upto:
            break
        done += 1
        piece = run
        while True:
            if piece.hi > upto:
                pool.split(piece, upto)
            pieces.append(piece)
            if piece.hi >= upto or piece.hi >= hi:
                break
            assert piece.deeper is not None
            piece = piece.deeper
        if piece.hi < hi:
            assert piece.deeper is not None
            rest = [(piece.deeper, hi)]
            break
    entries[:done] = rest
    return pieces


def release_together(pool: BlockCache, pieces: list[Run], owner: int) -> None:
    """No longer hold ``pieces``: the deepest block goes to the queue first, then the one before it."""
    for piece in reversed(pieces):
        piece.refs -= 1
        if not piece.refs:
            pool.let_go(piece, owner)
            if piece.hi - piece.lo == 1:
                _join_after(pool, piece)


def release_in_turn(pool: BlockCache, pieces: list[Run], owner: int) -> None:
    """No longer hold ``pieces``: the shallowest block goes to the queue first, then the one behind it."""
    for piece in pieces:
        piece.refs -= 1
        if not piece.refs:
            pool.queue.release(piece, owner)
            piece.up = piece.hi - piece.lo > 1
            _join_after(pool, piece)


def _join_after(pool: BlockCache, run: Run) -> None:
    """Join ``run`` with what goes right before it, if that is what lies right before it."""
    older = run.older
    assert older is not None
    if older.hi == run.lo and older.node == run.node and (older.up or older.hi - older.lo == 1):
        hi = older.hi
        pool.join(older, run)
        if older.hi > hi:
            older.up = True
