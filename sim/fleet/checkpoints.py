"""The counters of a fleet at given times, so that figures can be about a part of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sim.engine.events import AFTER_REPLICAS, Clock
from sim.engine.interface import AnyReplica
from sim.results.records import EngineTotals
from sim.results.window import Checkpoint


class Checkpoints:
    """Notes the counters of all replicas at each of ``times_s``, and once more at the end of the run.

    A checkpoint at the time of other events shows what they leave behind. Looking changes nothing: what a
    replica has under way (a run of iterations) is counted where it ends.
    """

    def __init__(
        self,
        env: Clock,
        replicas: Sequence[AnyReplica],
        entries: int,
        times_s: Sequence[float],
        tier_hits: Mapping[str, int],
        *,
        each: bool = False,
    ) -> None:
        """The first ``entries`` replicas prefill; ``tier_hits`` counts on as the run goes.

        ``each``: keep the counters of each replica too, so that those of several parts of a fleet can be
        added up in the order in which one run adds them.
        """
        self.taken: list[Checkpoint] = []
        self.each: list[list[EngineTotals]] | None = [] if each else None
        """The counters of each replica at each checkpoint, where they are kept."""
        self._env = env
        self._replicas = replicas
        self._entries = entries
        self._tier_hits = tier_hits
        self._times_s = times_s
        self._await_next()

    def _await_next(self) -> None:
        if len(self.taken) < len(self._times_s):
            self._env.at(self._times_s[len(self.taken)], AFTER_REPLICAS + 1, self._look)

    def _look(self, _: None) -> None:
        if self._env.peek() == float("inf"):  # the run is over: its end is a checkpoint of its own
            return
        self.take()
        for replica in self._replicas:
            replica.totals.max_used_blocks = 0
            replica.totals.note_usage(replica.memory)
        self._await_next()

    def take(self) -> Checkpoint:
        """Note the counters as they stand now."""
        totals = EngineTotals()
        each, full = [], True
        for number, replica in enumerate(self._replicas):
            now, evicted_blocks = replica.totals, replica.memory.evicted_blocks
            now.capacity_blocks = replica.memory.capacity_blocks
            totals.add(now)
            totals.evicted_blocks += evicted_blocks
            full &= number >= self._entries or now.evicted_blocks + evicted_blocks > 0
            if self.each is not None:
                each.append(replace(now, evicted_blocks=now.evicted_blocks + evicted_blocks))
        if self.each is not None:
            self.each.append(each)
        self.taken.append(
            Checkpoint(
                self._env.now_s,
                totals,
                totals.evicted_blocks,
                tier_hits=dict(self._tier_hits),
                full=full,
            )
        )
        return self.taken[-1]


def fullest(taken: Sequence[Checkpoint]) -> tuple[int, int]:
    """Highest number of blocks that requests held at a time, and of how many, of all ``taken``."""
    every = (checkpoint.totals for checkpoint in taken if checkpoint.totals is not None)
    most = max(every, key=lambda totals: totals.max_used_blocks / max(1, totals.capacity_blocks))
    return most.max_used_blocks, most.capacity_blocks
