"""Data parallel ranks that compute their steps together, as vLLM's do where they share experts."""

from __future__ import annotations

from sim.engine.events import FIRST_REPLICA, Clock
from sim.engine.timer import Timer


class Lockstep:
    """The ranks of one engine: a step of each begins when the steps of all have ended.

    Tokens of all ranks meet in every layer of experts, so a step takes as long as that of the slowest rank.
    A rank without requests takes part with a batch of nothing (``DPEngineCoreProc.run_busy_loop``); a
    request that comes to it meanwhile waits for the next step.

    Two ranks, 20 ms for a prompt in the one and 8 ms for decodes in the other: both take 20 ms.
    """

    def __init__(self, last: int) -> None:
        """``last``: the highest number of a rank."""
        self.until_s = 0.0
        """When the step under way ends, or the last one did."""
        self._last = last
        self._entered: list[Timer] = []
        self._longest_s = 0.0

    def enter(self, env: Clock, timer: Timer, seconds: float) -> None:
        """The rank of ``timer`` has a step of ``seconds``; it begins once all ranks had their turn now."""
        if not self._entered:
            env.at(env.now_s, FIRST_REPLICA + self._last, self._begin)
        self._entered.append(timer)
        self._longest_s = max(self._longest_s, seconds)

    def _begin(self, _: None) -> None:
        entered, longest_s = self._entered, self._longest_s
        self._entered, self._longest_s = [], 0.0
        for timer in entered:
            timer.start(longest_s, 0.0, 1)
        self.until_s = entered[0].began_s + longest_s
