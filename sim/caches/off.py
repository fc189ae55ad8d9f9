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
    capacity_blocks: PositiveInt | None = None
    groups: Groups | None = None
