"""How far the layers of a group look back, and so which blocks they still need.

Rules as read from vLLM 0.33.0 (``v1/core/single_type_kv_cache_manager.py``, ``v1/kv_cache_interface.py``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

from workloads.subclassing import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Kind(ABC):
    """One kind of layers. Groups of equal ``name`` are looked up together."""

    drops = True
    """Whether a draft model that works on these layers costs a hit its last block."""

    behind = -1
    """How many tokens after its end a block is left behind, each in its turn; -1: not so, one by one."""
    leap = 0
    """Blocks are left behind together, all those of so many tokens; 0: not so."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def skipped_tokens(self, tokens: int) -> int:
        """Leading tokens that the token after the first ``tokens`` does not look at."""

    def last_blocks(self, size: int) -> int:
        """Blocks right before it that a token needs wherever it stands; 0 if that depends on its place."""
        return 0

    @abstractmethod
    def most_blocks(self, blocks: int, in_flight_tokens: int, size: int) -> int:
        """Of ``blocks`` blocks those that a request holds at most, computing ``in_flight_tokens`` at
        once."""


class Full(Kind):
    """``full``: every token looks at all before it; nothing is ever given back."""

    def skipped_tokens(self, tokens: int) -> int:
        return 0

    def most_blocks(self, blocks: int, in_flight_tokens: int, size: int) -> int:
        return blocks


class Window(Kind):
    """``swa:W``: a token looks at itself and the ``W - 1`` before it."""

    def __init__(self, name: str, tokens: int) -> None:
        super().__init__(name)
        self.tokens = tokens
        self.behind = tokens - 1

    def skipped_tokens(self, tokens: int) -> int:
        return max(0, tokens - self.tokens + 1)

    def last_blocks(self, size: int) -> int:
        return -(-(self.tokens - 1) // size)

    def most_blocks(self, blocks: int, in_flight_tokens: int, size: int) -> int:
        held = -(-(self.tokens - 1 + in_flight_tokens) // size) + 1  # it may begin inside a block
        return min(blocks, held)


class Chunks(Kind):
    """``chunk:C``: the prompt is cut every ``C`` tokens, which are whole blocks, and a token looks at its
    own chunk only."""

    def __init__(self, name: str, tokens: int) -> None:
        super().__init__(name)
        self.tokens = self.leap = tokens

    def skipped_tokens(self, tokens: int) -> int:
        return tokens // self.tokens * self.tokens

    def most_blocks(self, blocks: int, in_flight_tokens: int, size: int) -> int:
        return min(blocks, -(-(self.tokens + in_flight_tokens) // size))


class States(Kind):
    """``mamba:align``: one state per request, the sum of all tokens so far. A state that was computed up to
    the end of a block can be found again; a request needs the last one only."""

    drops = False
    behind = 1

    def skipped_tokens(self, tokens: int) -> int:
        return max(0, tokens - 1)

    def last_blocks(self, size: int) -> int:
        return 1

    def most_blocks(self, blocks: int, in_flight_tokens: int, size: int) -> int:
        return min(blocks, 3)  # the present one, the one before, and one that is in flight


@lru_cache(maxsize=256)
def kind_of(name: str) -> Kind:
    """The kind that ``name`` names; ValueError says what is allowed.

    >>> kind_of("swa:128").skipped_tokens(200)
    73
    """
    if name == "full":
        return Full(name)
    if name == "mamba:align":
        return States(name)
    what, _, size = name.partition(":")
    if what in ("swa", "chunk") and size.isdecimal() and size.isascii() and int(size) > 1:
        return Window(name, int(size)) if what == "swa" else Chunks(name, int(size))
    raise ValueError(
        f"{name!r} is no group of layers; allowed: full, swa:W and chunk:C with W and C tokens (at least "
        "2), mamba:align"
    )
