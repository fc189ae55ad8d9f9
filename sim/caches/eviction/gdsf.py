"""Greedy-Dual-Size-Frequency: what is cheap to recompute and seldom used goes first."""

from __future__ import annotations

from typing import Any

from sim.caches.eviction.base import PolicySetting
from sim.caches.eviction.keyed import Keyed
from sim.caches.runs import Run

EQUAL_CONTEXT_TOKENS = 32768
"""Context length at which a token's attention costs as much as everything else that it computes.

Multiply-adds of a dense model: 2 x layers x hidden x context against the number of weights; 31,000
tokens for Llama 3 8B. Ours: the source leaves the cost to the user.
"""


class Gdsf(Keyed):
    """Priority = clock + uses x cost / size; the smallest goes first and becomes the clock.

    Source: L. Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching
    Policy", HP Labs HPL-98-69R1, 1998. A run's size is its blocks, and cost / size the mean cost of
    recomputing one of its tokens, 1 + context / ``EQUAL_CONTEXT_TOKENS``. The priority is computed when
    the run is released; among equals the least recently used one goes first.
    """

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        self._clock = 0.0

    def key(self, run: Run, request: int) -> Any:
        context = (run.lo + run.hi) / 2 * self.setting.block_tokens
        return self._clock + run.uses * (1 + context / EQUAL_CONTEXT_TOKENS), self.releases

    def evict(self, run: Run, blocks: int) -> None:
        self._clock = run.place[0][0]
        super().evict(run, blocks)
