"""Python's garbage collection while a fleet runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_RUN = 50_000
"""Requests of a run whose memory is worth a look at everything that lives (0.1 s)."""


def collect_after(requests: int) -> None:
    """A run of so many requests, or a part of one, is over: what a large one leaves behind is freed now.

    Replicas and their fleet know each other, so nothing but a collection frees their caches. Left to itself
    that comes late: a million requests then took 170 MB more.
    """
    if requests >= LARGE_RUN:
        gc.collect()


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Leave cycles alone for a while: a run makes millions of objects and hardly any cycle.

    Each full collection looks at all that live, so their cost grows with the square of a run's length.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
