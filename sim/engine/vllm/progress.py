"""Whether an engine makes progress, or its requests only push each other out of memory."""

from __future__ import annotations

from collections.abc import Collection

from sim.engine.request import Request
from sim.engine.vllm.batch import Batch
from workloads.errors import InputError

LIVELOCK_STEPS = 10_000
"""After so many steps without a token it is looked whether there is progress at all."""


class Progress:
    """Counts steps that give no token, and preemptions.

    Every step computes at least one token, so without preemption the known tokens of all requests bound
    the steps that give no token.
    """

    def __init__(self) -> None:
        self._fruitless = 0  # steps since the last token
        self._preemptions = 0

    def made_by(
        self, batch: Batch, running: Collection[Request], waiting: Collection[Request], blocks: int
    ) -> None:
        """Count ``batch``; InputError if requests only preempt each other: an engine would do so without
        end."""
        self._preemptions += len(batch.preempted)
        if batch.decodes or batch.completed:
            self._fruitless = 0
            return
        self._fruitless += 1
        if self._fruitless % LIVELOCK_STEPS or not self._preemptions:
            return
        present = [*running, *waiting]
        if self._fruitless > sum(request.known_tokens for request in present):
            raise InputError(
                f"no progress: {self._fruitless:,} steps without a token, "
                f"{self._preemptions:,} preemptions; {len(present)} requests push each other out of "
                f"{blocks} KV blocks; allowed: more memory, or scheduler_reserve_full_isl: true with "
                "policy: fcfs"
            )
