"""An engine with prefix caching off."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from sim.caches.groups.config import Groups
from workloads.schema import Schema


class NoCache(Schema):
    """``{kind: none}``: every block goes back to the pool's head when it is released.

    ``groups`` of layers take blocks as they do with a cache; left out they are the model's.
    """

    kind: Literal["none"]
    block_size: PositiveInt = 16
    """Tokens of a block, the smallest piece that is found or evicted."""
    capacity_blocks: PositiveInt | None = None
    """Capacity in blocks; left out: without limit in a replay, what the GPU's memory gives in an engine."""
    groups: Groups | None = None
    """The groups of layers that keep different things, such as `[full, "swa:128"]`: full attention, and a
    window of 128 tokens; left out: the model's."""
