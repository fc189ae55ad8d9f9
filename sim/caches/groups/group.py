"""What requests hold in one group of layers."""

from __future__ import annotations

from bisect import bisect_left

from sim.caches.block import BlockCache
from sim.caches.groups.kinds import Kind
from sim.caches.groups.leaving import front, leave_in_turn, leave_together
from sim.caches.node_runs import NodeRuns
from sim.caches.runs import Run
from sim.caches.tables import BlockTable, Hit
from workloads.content import Route

GROUP = 40
"""The number of a group stands in the bits from this one on of its nodes and owners."""


class Group:
    """Group number ``number`` over ``pool``.

    In the pool its blocks lie in nodes of its own: node ``n`` of the tree is ``n + (number << GROUP)``
    there, and request ``r`` is owner ``r + (number << GROUP)``. So one map, one queue and the runs of
    `BlockCache` serve all groups. A request has a table of its own here, ``held``; the first group has the
    request's.
    """

    def __init__(self, pool: BlockCache, kind: Kind, number: int) -> None:
        self.pool = pool
        self.kind = kind
        self.number = number
        self._base = number << GROUP
        self._size = pool.block_size

    def table(self, of: BlockTable) -> BlockTable:
        """A table of this group for the request of ``of``."""
        base, route = self._base, of.route
        if not base:
            return of
        mine = Route([node + base for node in route.nodes], route.ends)
        return BlockTable(mine, of.prompt_tokens, of.owner + base)

    def hold(self, held: BlockTable, hit: Hit) -> None:
        """The request takes the blocks of ``hit``, a prefix without what its next token does not look
        at."""
        self.pool.acquire(held, hit)
        for run, _ in held.entries:
            run.up = False
        held.first = hit.pieces[0][1] if hit.pieces else hit.blocks

    def needed(self, before: int, upto: int) -> int:
        """Blocks that a request needs to go on from ``before`` tokens to ``upto``."""
        return -(-upto // self._size) - -(-before // self._size)

    def reserved(self, hit_blocks: int, tokens: int, in_flight_tokens: int) -> int:
        """Blocks that a request of ``tokens`` tokens, ``hit_blocks`` blocks of them found, is to be sure
        of."""
        blocks = -(-tokens // self._size)
        return max(0, self.kind.most_blocks(blocks, in_flight_tokens, self._size) - hit_blocks)

    def grown(self, held: BlockTable, before: int, upto: int) -> None:
        """The request has got the blocks that it `needed`."""

    def publish(self, held: BlockTable, tokens: int) -> None:
        """Enter the full blocks among the first ``tokens`` tokens into the map."""
        self.pool.publish(held, tokens)

    def slide(self, held: BlockTable, settled: int) -> None:
        """Give back what no token after the first ``settled`` looks at, the deepest block first."""
        pool, first = self.pool, held.first
        upto = self.kind.skipped_tokens(settled) // self._size
        if upto <= first:
            return
        if not pool.caching:
            pool.give_back(upto - first)
        else:
            if held.published < upto:
                pool.publish(held, settled)
            leave_together(pool, front(pool, held, upto), held.owner)
        held.first = upto

    def pass_through(self, held: BlockTable, prompt: int, total: int) -> None:
        """Publish all of ``total`` tokens and `slide` with ``prompt`` tokens, with one more, and so on.

        The request has all its blocks; nobody looks on, so all that counts is the order in which they go.
        """
        kind, size = self.kind, self._size
        settled = prompt
        while settled < total:
            upto = kind.skipped_tokens(settled) // size
            if upto > held.first:
                self._pass(held, upto, in_turn=False)
            settled = kind.next_step(settled, size)
        self.pool.publish(held, total)

    def release(self, held: BlockTable, blocks: int) -> None:
        """Give back all that a request of ``blocks`` blocks holds, the deepest block first."""
        if held.first > held.published:
            blocks -= held.first - held.published  # of those never published, what was given back
        self.pool.release(held, blocks)
        held.first = 0

    def private_blocks(self, held: BlockTable, blocks: int) -> int:
        """Blocks held by a request of ``blocks`` blocks that are not in the map."""
        return blocks - max(held.published, held.first)

    def _pass(self, held: BlockTable, upto: int, *, in_turn: bool) -> None:
        """Publish the blocks before number ``upto`` and give them back."""
        pool = self.pool
        if held.published > upto:
            runs = front(pool, held, upto)
        else:
            pool.publish(held, upto * self._size)
            runs = [run for run, _ in held.entries]
            held.entries = []
        if in_turn:
            leave_in_turn(pool, runs, held.owner)
        else:
            leave_together(pool, runs, held.owner)
        held.first = upto


class FullGroup(Group):
    """A group that gives nothing back while a request runs."""

    def hold(self, held: BlockTable, hit: Hit) -> None:
        self.pool.acquire(held, hit)

    def pass_through(self, held: BlockTable, prompt: int, total: int) -> None:
        self.pool.publish(held, total)

    def release(self, held: BlockTable, blocks: int) -> None:
        self.pool.release(held, blocks)


class WindowGroup(Group):
    """A group whose requests give back one block after the other while they decode."""

    def pass_through(self, held: BlockTable, prompt: int, total: int) -> None:
        """What leaves the window block by block is one run that goes from its shallow end."""
        kind, size = self.kind, self._size
        if prompt < total:
            at_once = kind.skipped_tokens(prompt) // size
            in_turn = kind.skipped_tokens(total - 1) // size
            if held.first < at_once < in_turn and self._lays(held, at_once, in_turn, total // size):
                return
            if at_once > held.first:
                self._pass(held, at_once, in_turn=False)
            if in_turn > held.first:
                self._pass(held, in_turn, in_turn=True)
        self.pool.publish(held, total)

    def _lays(self, held: BlockTable, at_once: int, in_turn: int, stop: int) -> bool:
        """The usual case of `pass_through`: what is new lies in one node in which it is the first.

        It becomes three runs: blocks that leave together, that leave in turn, and that stay.
        """
        pool, lo, route = self.pool, held.published, held.route
        if lo >= at_once or in_turn == stop or route.ends[held.at] // self._size < stop:
            return False
        node, owner = route.nodes[held.at], held.owner
        together, turn = Run(node, lo, at_once, owner, 0), Run(node, at_once, in_turn, owner, 0)
        turn.up = in_turn - at_once > 1
        rest = Run(node, in_turn, stop, owner, 1)
        runs = pool.resident.get(node)
        if runs is None:
            runs = pool.resident[node] = NodeRuns(together)
            runs.found += (turn, rest)
        elif runs.vacant(lo, stop):
            runs.add_new([together, turn, rest])
        else:
            return False
        pool.queue.release(together, owner)
        if held.entries:
            leave_together(pool, [run for run, _ in held.entries], owner)
        pool.queue.release(turn, owner)
        held.entries = [(rest, stop)]
        held.published, held.first = stop, in_turn
        return True


class StateGroup(Group):
    """A group of layers that keep a state: a request gets a block for the state that it computes next, and
    keeps the one before until that is computed."""

    def table(self, of: BlockTable) -> BlockTable:
        held = super().table(of)
        held.states = []
        return held

    def needed(self, before: int, upto: int) -> int:
        return int(-(-upto // self._size) > -(-before // self._size))

    def reserved(self, hit_blocks: int, tokens: int, in_flight_tokens: int) -> int:
        return min(1, -(-tokens // self._size) - hit_blocks)

    def grown(self, held: BlockTable, before: int, upto: int) -> None:
        """The new block is that in which ``upto`` lies; in those between nothing is kept."""
        block = -(-upto // self._size) - 1
        if block >= -(-before // self._size):
            assert held.states is not None
            held.states.append(block)

    def publish(self, held: BlockTable, tokens: int) -> None:
        size, states = self._size, held.states
        stop = tokens // size
        if not self.pool.caching or stop <= held.published:
            return
        held.published = stop
        assert states is not None
        while states and states[0] < stop:
            block = states.pop(0)
            self.pool.add(held, self.node_of(held, block), block, block + 1)

    def node_of(self, held: BlockTable, block: int) -> int:
        """The node of the pool in which block number ``block`` of the request lies."""
        return held.route.nodes[bisect_left(held.route.ends, (block + 1) * self._size)]

    def slide(self, held: BlockTable, settled: int) -> None:
        pool, states = self.pool, held.states
        upto = self.kind.skipped_tokens(settled) // self._size
        self.publish(held, settled)
        assert states is not None
        while states and states[0] < upto:
            del states[0]
            pool.give_back(1)
        if held.entries and held.entries[0][0].lo < upto:
            leave_together(pool, front(pool, held, upto), held.owner)

    def release(self, held: BlockTable, blocks: int) -> None:
        assert held.states is not None
        self.pool.release(held, held.published + len(held.states))
        held.states = []

    def private_blocks(self, held: BlockTable, blocks: int) -> int:
        assert held.states is not None
        return len(held.states)
