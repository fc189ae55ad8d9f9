"""Groups of layers for random tests."""

from __future__ import annotations

from collections.abc import Sequence

WITHOUT_STATES = ["full", "full", "swa:2", "swa:4", "swa:7", "chunk*2", "chunk*3"]
TEMPLATES = [*WITHOUT_STATES, "mamba:align"]
"""Names, but for chunks that are so many blocks long."""


def groups_of(templates: Sequence[str], block_size: int) -> list[str]:
    """The names for blocks of ``block_size`` tokens."""
    return [
        f"chunk:{int(name[6:]) * block_size}" if name.startswith("chunk*") else name for name in templates
    ]


def may_draft(groups: Sequence[str]) -> bool:
    """Whether ``eagle`` goes with them."""
    if "mamba:align" in groups:
        return False
    return "full" in groups or all(name.startswith("swa") for name in groups)
