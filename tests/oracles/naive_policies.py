"""Eviction policies as lists and linear scans: the oracle of ``sim/caches/eviction``.

Written from the papers' text, sharing nothing with the simulator. An item is one block. Policies hear
``take`` (it is found), then ``hit`` (its user lets go of it) or, for a new item, ``insert``; a cache of
single ids does both at once. ``victim`` chooses among ``idle``, those that nobody uses.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One cached copy of the content ``name``; ``depth`` blocks stand before it."""

    name: Hashable
    depth: int
    copy: int


class Naive:
    """What all policies know: the capacity in blocks, the time, who is being served."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.now_s = 0.0
        self.turn = 1
        self.ttl_s = float("inf")
        self.block_tokens = 1
        self.next_use: Callable[[Item], float] = lambda item: 0.0
        self.releases = 0
        self.released: dict[Item, int] = {}  # when an item was last let go of, in releases
        self.used_s: dict[Item, float] = {}  # the same in simulated time
        self.uses: dict[Item, int] = {}

    def miss(self, name: Hashable) -> None:
        """``name`` is not cached; comes before room is made for it, or with its insertion."""

    def take(self, item: Item) -> None:
        """``item`` is found."""

    def hit(self, item: Item) -> None:
        """``item`` was used once more and is idle again."""
        self.uses[item] += 1
        self._released(item)

    def insert(self, item: Item) -> None:
        """``item`` is new and idle."""
        self.uses[item] = 1
        self._released(item)

    def _released(self, item: Item) -> None:
        self.releases += 1
        self.released[item] = self.releases
        self.used_s[item] = self.now_s

    def victim(self, idle: Sequence[Item]) -> Item:
        """Which of ``idle`` goes next."""
        raise NotImplementedError

    def evict(self, item: Item) -> None:
        """``item`` goes; nothing is remembered of it."""
        del self.released[item], self.uses[item]


class NaiveLru(Naive):
    """Longest not used."""

    def victim(self, idle: Sequence[Item]) -> Item:
        return min(idle, key=lambda item: self.released[item])


class NaiveFifo(Naive):
    """Inserted longest ago."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.queue: list[Item] = []

    def insert(self, item: Item) -> None:
        super().insert(item)
        self.queue.append(item)

    def victim(self, idle: Sequence[Item]) -> Item:
        return next(item for item in self.queue if item in idle)

    def evict(self, item: Item) -> None:
        super().evict(item)
        self.queue.remove(item)


class NaiveLfu(Naive):
    """Fewest uses, then longest not used."""

    def victim(self, idle: Sequence[Item]) -> Item:
        return min(idle, key=lambda item: (self.uses[item], self.released[item]))


class NaiveBelady(Naive):
    """Used again last; of those used again by one request, the deepest."""

    def victim(self, idle: Sequence[Item]) -> Item:
        return max(idle, key=lambda item: (self.next_use(item), item.depth))


class NaiveGdsf(Naive):
    """Smallest clock + uses x cost, as of the last use; the clock is the last victim's value."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.clock = 0.0
        self.value: dict[Item, float] = {}

    def _valued(self, item: Item) -> None:
        cost = 1 + (item.depth + 0.5) * self.block_tokens / 32768
        self.value[item] = self.clock + self.uses[item] * cost

    def hit(self, item: Item) -> None:
        super().hit(item)
        self._valued(item)

    def insert(self, item: Item) -> None:
        super().insert(item)
        self._valued(item)

    def victim(self, idle: Sequence[Item]) -> Item:
        return min(idle, key=lambda item: (self.value[item], self.released[item]))

    def evict(self, item: Item) -> None:
        super().evict(item)
        self.clock = self.value.pop(item)


class NaiveSieve(NaiveFifo):
    """A hand goes from old to new, clears the mark of what is visited, and takes what is not."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.visited: set[Item] = set()
        self.hand = 0

    def hit(self, item: Item) -> None:
        super().hit(item)
        self.visited.add(item)

    def victim(self, idle: Sequence[Item]) -> Item:
        while True:
            item = self.queue[self.hand]
            if item in idle and item not in self.visited:
                return item
            if item in idle:
                self.visited.remove(item)
            self.hand = (self.hand + 1) % len(self.queue)

    def evict(self, item: Item) -> None:
        assert self.queue[self.hand] == item
        super().evict(item)  # the next one moves under the hand; behind the newest it starts again
        if self.hand == len(self.queue):
            self.hand = 0


class Ghosts:
    """Names of evicted blocks, longest ago first; what returns or goes again moves as one."""

    def __init__(self) -> None:
        self.names: list[Hashable] = []

    def add(self, name: Hashable) -> None:
        again = self.pop(name) + 1
        self.names += [name] * again

    def pop(self, name: Hashable) -> int:
        found = self.names.count(name)
        self.names = [other for other in self.names if other != name]
        return found

    def keep(self, most: float) -> None:
        while len(self.names) > most:
            self.names.pop(0)


class NaiveS3Fifo(Naive):
    """Small queue of 10 %, main queue of 90 %, as many ghosts as the main queue has blocks."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.small: list[Item] = []
        self.main: list[Item] = []
        self.ghosts = Ghosts()
        self.freq: dict[Item, int] = {}

    def hit(self, item: Item) -> None:
        super().hit(item)
        self.freq[item] = min(self.freq[item] + 1, 3)

    def insert(self, item: Item) -> None:
        super().insert(item)
        self.freq[item] = 0
        (self.main if self.ghosts.pop(item.name) else self.small).append(item)

    def _head(self, queue: list[Item], idle: Sequence[Item]) -> Item:
        while queue[0] not in idle:
            queue.append(queue.pop(0))
        return queue[0]

    def victim(self, idle: Sequence[Item]) -> Item:
        def size(queue: list[Item]) -> int:
            return sum(item in idle for item in queue)

        while size(self.small) and (size(self.small) >= 0.1 * self.capacity or not size(self.main)):
            item = self._head(self.small, idle)
            if self.freq[item] <= 1:
                return item
            self.small.remove(item)
            self.main.append(item)
            self.freq[item] = 0
            if size(self.main) > 0.9 * self.capacity:
                break
        while self.freq[self._head(self.main, idle)] > 0:
            item = self.main.pop(0)
            self.freq[item] -= 1
            self.main.append(item)
        return self.main[0]

    def evict(self, item: Item) -> None:
        super().evict(item)
        if item in self.small:
            self.small.remove(item)
            self.ghosts.add(item.name)
            self.ghosts.keep(0.9 * self.capacity)
        else:
            self.main.remove(item)


class NaiveArc(Naive):
    """Figure 4 of the paper, case by case; items in use stand in no list."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.p = 0.0
        self.t1: list[Item] = []
        self.t2: list[Item] = []
        self.b1, self.b2 = Ghosts(), Ghosts()
        self.missed: Hashable = None
        self.found = ""  # the ghost list of what was missed
        self.no_ghost = False

    def miss(self, name: Hashable) -> None:
        b1, b2, c = len(self.b1.names), len(self.b2.names), self.capacity
        self.missed, self.found, self.no_ghost = name, "", False
        if count := self.b1.pop(name):  # case II
            self.found = "b1"
            self.p = min(self.p + count * max(1.0, b2 / b1), c)
        elif count := self.b2.pop(name):  # case III
            self.found = "b2"
            self.p = max(self.p - count * max(1.0, b1 / b2), 0)
        elif len(self.t1) + b1 >= c:  # case IV A
            self.no_ghost = not b1
            self.b1.keep(b1 - 1 if b1 else 0)
        elif len(self.t1) + len(self.t2) + b1 + b2 >= 2 * c:  # case IV B
            self.b2.keep(b2 - 1)

    def take(self, item: Item) -> None:
        (self.t1 if item in self.t1 else self.t2).remove(item)

    def hit(self, item: Item) -> None:  # case I
        super().hit(item)
        self.t2.append(item)

    def insert(self, item: Item) -> None:
        super().insert(item)
        if self.missed != item.name:
            self.miss(item.name)
        (self.t2 if self.found else self.t1).append(item)
        self.missed, self.found = None, ""

    def victim(self, idle: Sequence[Item]) -> Item:
        """REPLACE, or in case IV A with an empty B1 the oldest of T1."""
        size = len(self.t1)
        if size and (size > self.p or (self.found == "b2" and size == self.p) or not self.t2):
            return self.t1[0]
        return self.t2[0]

    def evict(self, item: Item) -> None:
        super().evict(item)
        part, ghosts = (self.t1, self.b1) if item in self.t1 else (self.t2, self.b2)
        part.remove(item)
        if not self.no_ghost:
            ghosts.add(item.name)
        self.no_ghost = False


class NaiveSession(NaiveLru):
    """Abandoned ones first, longest unused first; otherwise the one expected to be used last."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.gaps: list[float] = []
        self.added: list[int] = []  # turns of all items ever added
        self.followed: list[int] = []  # turns of those that were hit
        self.added_in: dict[Item, int] = {}
        self.times: dict[Item, list[float]] = {}
        self.expected: dict[Item, float] = {}
        self.last_use_s = 0.0

    def miss(self, name: Hashable) -> None:
        self.last_use_s = self.now_s

    def take(self, item: Item) -> None:
        self.last_use_s = self.now_s
        if len(self.times[item]) == 1:
            self.gaps.append(self.now_s - self.times[item][0])
            self.followed.append(self.added_in[item])

    def _expect(self, item: Item) -> None:
        self.last_use_s = self.now_s
        self.times[item].append(self.now_s)
        turn = self.added_in[item]
        share = (self.followed.count(turn) + 1) / (self.added.count(turn) + 2)
        wait = sum(self.gaps) / max(1, len(self.gaps)) / share
        times = self.times[item]
        if len(times) > 1:
            wait = min(wait, (times[-1] - times[0]) / (len(times) - 1))
        self.expected[item] = self.now_s + wait

    def hit(self, item: Item) -> None:
        super().hit(item)
        self._expect(item)

    def insert(self, item: Item) -> None:
        super().insert(item)
        self.added.append(self.turn)
        self.added_in[item] = self.turn
        self.times[item] = []
        self._expect(item)

    def victim(self, idle: Sequence[Item]) -> Item:
        oldest = super().victim(idle)
        unused = self.last_use_s - self.times[oldest][-1]
        if not self.gaps or unused * len(self.gaps) > 3 * sum(self.gaps):
            return oldest
        return max(idle, key=lambda item: (self.expected[item], item.depth, -self.released[item]))


NAIVE: dict[str, type[Naive]] = {
    "lru": NaiveLru,
    "ttl": NaiveLru,
    "fifo": NaiveFifo,
    "lfu": NaiveLfu,
    "belady": NaiveBelady,
    "gdsf": NaiveGdsf,
    "sieve": NaiveSieve,
    "s3-fifo": NaiveS3Fifo,
    "arc": NaiveArc,
    "session-aware": NaiveSession,
}
