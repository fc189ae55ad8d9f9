"""What requests hold in one group of layers."""

from __future__ import annotations

from bisect import bisect_left

from sim.caches.groups.braid import GroupPool, Strand
from sim.caches.groups.kinds import Kind
from sim.caches.groups.leaving import front, leave_together
from sim.caches.runs import Run
from sim.caches.tables import BlockTable
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

    def __init__(self, pool: GroupPool, kind: Kind, number: int) -> None:
        self.pool = pool
        self.kind = kind
        self.number = number
        self._size = pool.block_size

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

    def pass_through(self, held: BlockTable, computed: int, prompt: int, total: int) -> None:
        """The request has got the blocks to go on from ``computed`` tokens to ``total``.

        Publish them, and give back what lies behind the ``prompt`` if it goes on from there.
        """
        self.publish(held, total)
        if total > prompt:
            self.slide(held, prompt)

    def publish(self, held: BlockTable, tokens: int) -> None:
        """Enter the full blocks among the first ``tokens`` tokens into the map."""
        held.own_route()
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
                self.publish(held, settled)
            leave_together(pool, front(pool, held, upto), held.owner)
        held.first = upto

    def leave_in_turns(self, held: BlockTable, settled: int, shift: int, order: int) -> list[Strand]:
        """Take what no token after the first ``settled`` looks at out of what the request holds, for blocks
        that are given back one by one.

        ``shift`` is the step, counted as the strands' user does, less the tokens that are settled in it;
        ``order`` is the place of the request among others of one step.
        """
        pool, first = self.pool, held.first
        upto = self.kind.skipped_tokens(settled) // self._size
        if upto <= first:
            return []
        held.first = upto
        if not pool.caching:
            pool.give_back(upto - first)
            return []
        if held.published < upto:
            self.publish(held, settled)
        begin, place = self._size + self.kind.behind + shift, (order, self.number)
        strands = []
        for run in front(pool, held, upto):
            run.refs -= 1
            if not run.refs:
                strands.append(Strand(run, begin, place))
        return strands

    def private_blocks(self, held: BlockTable, blocks: int) -> int:
        """Blocks held by a request of ``blocks`` blocks that are not in the map."""
        return blocks - max(held.published, held.first)


class FullGroup(Group):
    """A group that gives nothing back while a request runs."""

    def pass_through(self, held: BlockTable, computed: int, prompt: int, total: int) -> None:
        self.publish(held, total)


class WindowGroup(Group):
    """A group whose requests give back one block after the other while they decode."""

    def pass_through(self, held: BlockTable, computed: int, prompt: int, total: int) -> None:
        if prompt == total:
            self.publish(held, total)
            return
        pool, together = self.pool, self.kind.skipped_tokens(prompt) // self._size
        leaving, turning, staying = self.lay(
            held.route, held.base, held.owner, held.published, prompt, total
        )
        for run in reversed(leaving):
            pool.put(run, held.owner)
        leave_together(pool, front(pool, held, together), held.owner)
        for run in turning + staying:
            run.refs = 1
            held.entries.append((run, run.hi))
        held.published, held.first = total // self._size, together

    def lay(
        self, route: Route, base: int, owner: int, pos: int, prompt: int, total: int
    ) -> tuple[list[Run], list[Run], list[Run]]:
        """Enter a request's blocks from number ``pos`` on into the map, for nobody yet: those that leave
        together after its ``prompt``, those that leave in turns up to ``total`` tokens, those that stay.

        Three runs in each node at most, instead of one that is cut twice.
        """
        kind, size = self.kind, self._size
        together, in_turns = kind.skipped_tokens(prompt) // size, kind.skipped_tokens(total - 1) // size
        stop, at = total // size, bisect_left(route.ends, pos * size + 1)
        leaving: list[Run] = []
        turning: list[Run] = []
        staying: list[Run] = []
        while pos < stop:
            node, end = route.nodes[at] + base, route.ends[at] // size
            at += 1
            upto = stop if stop < end else end
            new = []
            for cut, runs in ((together, leaving), (in_turns, turning), (stop, staying)):
                end = cut if cut < upto else upto
                if pos < end:
                    run = Run(node, pos, end, owner, 0)
                    runs.append(run)
                    new.append(run)
                    pos = end
            if new:
                self.pool.lay(new)
        return leaving, turning, staying


class StateGroup(Group):
    """A group of layers that keep a state: a request gets a block for the state that it computes next, and
    keeps the one before until that is computed."""

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

    def pass_through(self, held: BlockTable, computed: int, prompt: int, total: int) -> None:
        assert held.states is not None
        held.states += range(-(-computed // self._size), -(-total // self._size))
        super().pass_through(held, computed, prompt, total)

    def publish(self, held: BlockTable, tokens: int) -> None:
        size, states = self._size, held.states
        stop = tokens // size
        if not self.pool.caching or stop <= held.published:
            return
        held.published = stop
        assert states is not None
        while states and states[0] < stop:
            lo, n = states[0], 1
            while n < len(states) and states[n] == lo + n < stop:
                n += 1
            del states[:n]
            self._add(held, lo, lo + n)

    def _add(self, held: BlockTable, lo: int, hi: int) -> None:
        """Enter the states of blocks ``lo .. hi - 1`` into the map."""
        size, route = self._size, held.own_route()
        at = bisect_left(route.ends, (lo + 1) * size)
        while lo < hi:
            upto = min(hi, route.ends[at] // size)
            if lo < upto:
                self.pool.add(held, route.nodes[at], lo, upto)
                lo = upto
            at += 1

    def node_of(self, held: BlockTable, block: int) -> int:
        """The node of the pool in which block number ``block`` of the request lies."""
        route = held.own_route()
        return route.nodes[bisect_left(route.ends, (block + 1) * self._size)]

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

    def leave_in_turns(self, held: BlockTable, settled: int, shift: int, order: int) -> list[Strand]:
        held.first = 0  # what lies between states is not held
        return super().leave_in_turns(held, settled, shift, order)

    def private_blocks(self, held: BlockTable, blocks: int) -> int:
        assert held.states is not None
        return len(held.states)
