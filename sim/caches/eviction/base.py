"""What an eviction policy is given, and what it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from sim.caches.eviction.future import Future
from sim.caches.runs import Run
from workloads.subclassing import mypyc_attr


@dataclass(frozen=True, slots=True)
class PolicySetting:
    """What a policy may know beforehand.

    ``future`` is there only in a replay; only a policy that says ``needs_future`` may ask it.
    """

    capacity_blocks: int
    block_tokens: int = 1
    turn: Sequence[int] = ()
    """The turn of each request in its session, by request; 1 where the trace knows no sessions."""
    ttl_s: float | None = None
    future: Future | None = None


@mypyc_attr(allow_interpreted_subclasses=True)
class Eviction(ABC):
    """An order among the *idle* runs, those that no request holds: whose blocks go next.

    A run is idle from ``release`` to ``take``. Blocks leave an idle run from its deep end; the run that
    ``victim`` names gives blocks until enough are gone or it is empty. A cache of single ids releases
    each id as soon as it is used: a miss is a ``release``, a hit is ``take`` and ``release``.
    """

    needs_future: ClassVar[bool] = False
    expires: ClassVar[bool] = False
    """Whether ``expired`` is ever more than 0; where it is not, the cache need not ask."""
    joins: ClassVar[bool] = False
    """Whether two runs of one content that go one after the other may be one. Such a policy links its idle
    runs by ``older`` and ``newer``, and goes only by that order and by ``place``, equal for both."""

    def __init__(self, setting: PolicySetting) -> None:
        self.now_s = 0.0
        """Simulated time, set by the cache's user."""
        self.setting = setting

    def miss(self, segment: int) -> None:  # noqa: B027 (most policies learn nothing from it)
        """``segment`` was looked up, not found, and gets room next.

        Only a cache of single ids can tell so early; a cache of blocks makes room for several segments
        at once, and its policy learns of them when they are released for the first time.
        """

    @abstractmethod
    def release(self, run: Run, request: int) -> None:
        """``run`` is not held any more; ``request`` was its last holder. May be its first release."""

    @abstractmethod
    def take(self, run: Run) -> None:
        """The idle ``run`` is hit: it counts as used again once it is released."""

    @abstractmethod
    def split(self, run: Run, deep: Run) -> None:
        """``deep`` was cut off the deep end of ``run``, idle or held; it shares the run's history and,
        if both stay idle, goes right before it."""

    @abstractmethod
    def victim(self) -> Run:
        """The idle run that loses its deepest block next; some run must be idle."""

    @abstractmethod
    def evict(self, run: Run, blocks: int) -> None:
        """The idle ``run`` is about to lose its deepest ``blocks`` blocks, possibly all."""

    def join(self, run: Run, deep: Run) -> None:
        """``deep``, which goes right before ``run``, becomes a part of it; only if the policy ``joins``."""
        raise NotImplementedError

    def pop(self, blocks: int) -> Run:
        """The next victim, after it was told to lose up to ``blocks`` blocks."""
        run = self.victim()
        self.evict(run, min(run.hi - run.lo, blocks))
        return run

    @abstractmethod
    def idle(self) -> Iterator[Run]:
        """All idle runs, in no particular order."""

    def expired(self) -> int:
        """Blocks of the next victim if it must not be found any more at ``now_s``, otherwise 0."""
        return 0

    def check(self) -> None:
        """Assert the invariants; O(runs)."""
        seen = set()
        for run in self.idle():
            assert run.refs == 0 and run.lo < run.hi
            assert run not in seen
            seen.add(run)
