"""Python's garbage collection while a fleet runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
