"""An engine with prefix caching off."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from workloads.schema import Schema


class NoCache(Schema):
    """``{kind: none}``: every block goes back to the pool's head when it is released."""

    kind: Literal["none"]
    block_size: PositiveInt = 16
    capacity_blocks: PositiveInt | None = None
