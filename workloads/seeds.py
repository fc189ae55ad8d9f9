"""One random generator per random source, all derived from the experiment's seed."""

from __future__ import annotations

from zlib import crc32

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator of the source called ``name``.

    Sources are independent and named, so drawing more from one (longer replies, say) or adding a new
    one does not move the others.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(crc32(name.encode()),)))
