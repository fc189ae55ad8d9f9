"""The requests that a report draws: all of a run, or those of a sample of its sessions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.results.records import Records
from workloads.mixing import mixed

DRAWN = 200_000
"""Requests that a report draws at most, about: curves of more look no different."""


def drawn(sessions: NDArray[np.int64], requests: int) -> NDArray[np.bool_]:
    """Which of ``sessions`` are drawn, where the run has so many ``requests`` in all.

    A session is, or is not, whatever the others are: so a sample does not depend on how a run is divided.
    """
    if requests <= DRAWN:
        return np.ones(len(sessions), bool)
    chosen: NDArray[np.bool_] = mixed(sessions) < np.uint64(2**64 * DRAWN // requests)
    return chosen


def sampled(records: Records, requests: int) -> Records:
    """What a report draws of a run of so many ``requests``; counters of the run stay as they are.

    Of what is a sample already this is all.
    """
    if requests <= DRAWN:
        return records
    chosen = drawn(records.session, requests)
    out = records.only(chosen)
    if out.hosted is not None:  # calls name their request by its row
        calls = out.hosted.calls
        row = np.searchsorted(np.flatnonzero(chosen), calls.request)
        out.hosted = replace(out.hosted, calls=replace(calls, request=row))
    return out
