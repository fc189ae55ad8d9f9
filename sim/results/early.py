"""Requests of a recorded trace that came before the reply which their prompt contains."""

from __future__ import annotations

import numpy as np

from sim.results.records import Records
from workloads.trace import NONE, Trace


def note(trace: Trace, records: Records) -> list[str]:
    """How many requests arrived before the reply that they contain was complete, if any did.

    It happens in open loop where recorded times meet a slower service than the one that was recorded:
    such a prompt could not have been written yet. A reply that never
    came is not counted.
    """
    continues = np.array(trace.continues, dtype=np.int64)
    linked = np.flatnonzero(continues != NONE)
    if not linked.size:
        return []
    early = int((records.finished_s[continues[linked]] > records.arrival_s[linked]).sum())
    if not early:
        return []
    return [
        f"{early:,} of {linked.size:,} turns arrive before the reply that their prompt contains is "
        "complete: the recorded times are kept (open loop); in closed loop every turn waits"
    ]
