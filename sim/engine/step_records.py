"""A record of every step of a scheduler."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sim.results.request_log import NAN


@dataclass(slots=True)
class StepRecord:
    """What one step did; requests by their index in the trace, all lists in the engine's order."""

    step: int
    """Steps of this replica so far; idle time between two steps is none."""
    replica: int
    scheduled_s: float
    """When it was scheduled: when its compute begins or, asynchronous, when that of the one before does."""
    sched: list[tuple[int, int]]
    """(request, tokens): running requests first, then admitted ones."""
    new: list[tuple[int, int]]
    """(request, cached tokens) of first admissions."""
    resumed: list[tuple[int, int]]
    """The same of admissions after a preemption."""
    preempted: list[int]
    evicted: list[tuple[int, ...]]
    """Cached blocks evicted: (owner, first, last), the block's number in its owner counting down. Where a
    cache has several groups of layers the number of the group is the fourth."""
    free: int
    """Free blocks after scheduling and before the results, cached ones included."""
    running: int
    waiting: int
    finished: list[int] = field(default_factory=list)
    """Finished by this step's results."""
    end_s: float = NAN
    """When the results are there."""
    used_blocks: int = 0
    """Blocks held by all requests once the results are applied."""


class StepRecorder:
    """The step records of one replica; its memory must report evictions to ``evicted``."""

    def __init__(self) -> None:
        self.records: list[StepRecord] = []
        self.open: deque[StepRecord] = deque()
        """Those of steps whose results are not there yet."""
        self.evicted_blocks = 0
        self._evicted: list[tuple[int, ...]] = []

    def evicted(self, owner: int, first: int, last: int, *group: int) -> None:
        """Blocks ``first`` down to ``last`` of ``owner`` are evicted, of ``group`` where there are
        several; may go on with the last run."""
        self.evicted_blocks += first - last + 1
        runs = self._evicted
        if runs and runs[-1][0] == owner and runs[-1][2] == first + 1 and runs[-1][3:] == group:
            runs[-1] = (owner, runs[-1][1], last, *group)
        else:
            runs.append((owner, first, last, *group))

    def take_evicted(self) -> list[tuple[int, ...]]:
        """What was evicted since the last call."""
        runs, self._evicted = self._evicted, []
        return runs

    def rows(self) -> list[tuple[int, int, int, int]]:
        """(step, replica, request, tokens) of everything that was scheduled."""
        return [(r.step, r.replica, index, tokens) for r in self.records for index, tokens in r.sched]
