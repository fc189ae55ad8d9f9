"""Groups in a configuration: their names, and whether a trace fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sim.caches.groups.kinds import Chunks, Full, States, Window, kind_of


def _known(name: str) -> str:
    kind_of(name)
    return name


Groups = Annotated[list[Annotated[str, AfterValidator(_known)]], Field(min_length=1, max_length=256)]
"""Names of groups of layers, in the engine's order."""


def groups_of(cache: Any) -> list[str]:
    """The groups of layers of ``cache``: one of full attention where it says none."""
    return getattr(cache, "groups", None) or ["full"]


def require_whole_blocks(groups: Sequence[str], size: int) -> None:
    """ValueError if a chunk ends inside a block: the engine's rules are for chunks of whole blocks."""
    for name in groups:
        kind = kind_of(name)
        if isinstance(kind, Chunks) and kind.tokens % size:
            raise ValueError(f"{name} with block_size {size}; allowed: a chunk of whole blocks")


def require_eagle(groups: Sequence[str]) -> None:
    """ValueError unless vLLM has a draft model beside such groups in a form that is modelled here."""
    kinds = [kind_of(name) for name in groups]
    if any(isinstance(kind, States) for kind in kinds):
        raise ValueError(
            "eagle does not go with mamba:align: states of draft tokens were never recorded; allowed: "
            "full, swa:W and chunk:C"
        )
    if not any(isinstance(kind, Full) for kind in kinds) and not all(
        isinstance(kind, Window) for kind in kinds
    ):
        raise ValueError("eagle does not go with chunks alone: vLLM has none; allowed: a full group too")


def most_blocks(groups: Sequence[str], prompt: int, total: int, at_once: int, size: int) -> int:
    """Blocks that a request holds at most that grows from ``prompt`` tokens to ``total``, ``at_once``
    prompt tokens computed at a time."""
    kinds = [kind_of(name) for name in groups]
    in_prompt = sum(kind.most_blocks(-(-prompt // size), at_once, size) for kind in kinds)
    in_reply = sum(kind.most_blocks(-(-total // size), min(at_once, 2), size) for kind in kinds)
    return max(in_prompt, in_reply)
