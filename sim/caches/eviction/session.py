"""Session-aware: what is expected to be used last goes first, what seems abandoned before it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from sim.caches.eviction.base import PolicySetting
from sim.caches.eviction.keyed import Keyed
from sim.caches.runs import Run, RunList

PATIENCE = 3.0
"""A run unused for this many mean gaps counts as abandoned (5 % of exponential gaps are longer)."""


@dataclass(slots=True)
class _History:
    """What is known of one cached run."""

    turn: int
    first_s: float
    released_s: float


class SessionAware(Keyed):
    """Expected next use from turn and think time, learnt online; ours, not a published policy.

    A session goes on when a run that its turn added is hit for the first time. The time since the run's
    release is then a *gap* (think time plus whatever the request waited), and the share of a turn's
    runs that were hit so far says how likely a session goes on after that turn. Expected time to the
    next use = mean gap / share of the turn; for a run that was hit before at most the run's own mean
    time between uses, so content that many sessions share is expected soon. Whether a session goes on
    is not known.

    The run unused for longest goes if that is more than ``PATIENCE`` mean gaps, otherwise the run whose
    expected next use is farthest. Before the first gap is seen the order is least recently used. "Now"
    is the time of the last use: an engine may make room for several iterations at once, and whom it
    evicts must not depend on when.
    """

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        self._history: dict[Run, _History] = {}
        self._recent = RunList()  # idle runs, least recently released first
        self._used_s = 0.0
        self._gaps = 0
        self._gaps_s = 0.0
        self._added: Counter[int] = Counter()  # turn -> runs that it added
        self._hit: Counter[int] = Counter()  # turn -> those of them that were hit

    def miss(self, segment: int) -> None:
        self._used_s = self.now_s

    def release(self, run: Run, request: int) -> None:
        self._used_s = self.now_s
        history = self._history.get(run)
        if history is None:
            turn = self.setting.turn[request]
            history = self._history[run] = _History(turn, self.now_s, self.now_s)
            self._added[turn] += 1
        history.released_s = self.now_s
        self._recent.append(run)
        super().release(run, request)

    def take(self, run: Run) -> None:
        super().take(run)
        self._used_s = self.now_s
        self._recent.remove(run)
        if run.uses == 1:
            history = self._history[run]
            self._gaps += 1
            self._gaps_s += self.now_s - history.released_s
            self._hit[history.turn] += 1

    def key(self, run: Run, request: int) -> Any:
        history = self._history[run]
        share = (self._hit[history.turn] + 1) / (self._added[history.turn] + 2)
        wait_s = self._gaps_s / max(1, self._gaps) / share
        if run.uses > 1:
            wait_s = min(wait_s, (self.now_s - history.first_s) / (run.uses - 1))
        return -(self.now_s + wait_s)

    def split(self, run: Run, deep: Run) -> None:
        super().split(run, deep)
        if run.place is None:
            return
        history = self._history[deep] = replace(self._history[run])
        if run.uses == 1:
            self._added[history.turn] += 1
        if not run.refs:
            self._recent.insert(deep, run)

    def victim(self) -> Run:
        run = self._recent.oldest
        assert run is not None
        unused_s = self._used_s - self._history[run].released_s
        if not self._gaps or unused_s * self._gaps > PATIENCE * self._gaps_s:
            return run
        return super().victim()

    def evict(self, run: Run, blocks: int) -> None:
        if blocks == run.hi - run.lo:
            del self._history[run]
            self._recent.remove(run)
        super().evict(run, blocks)

    def check(self) -> None:
        super().check()
        assert {id(run) for run in self._recent} == {id(run) for run in self.idle()}
