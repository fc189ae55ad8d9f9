"""What vLLM's scheduler decides for one step."""

from __future__ import annotations

from typing import Any

from sim.engine.loads import Found
from sim.engine.request import Request

NONE: list[Any] = []
"""What most lists of most batches are: one empty list for all, never added to."""


class Shares:
    """What each request gets of one step, drafts included."""

    __slots__ = ("drafted", "given", "sampled", "tokens")

    def __init__(self, *, drafts: bool) -> None:
        self.tokens: dict[Request, int] = {}
        """Of each request, running ones first, in the engine's order."""
        self.drafted = 0
        """Drafts among them: what decodes compute beyond one token each."""
        self.sampled: dict[Request, tuple[int, int]] | None = {} if drafts else None
        """(drafts, those that will be accepted) of each request that gets tokens; None without drafts."""
        self.given: dict[Request, int] | None = None
        """Tokens that each request got, once drafts are verified; None without drafts."""


class Batch:
    """One step: which requests compute how much, and what that does to the requests once its results are
    there.

    Decodes, one token each, are only a number and the sum of their contexts; ``chunks`` are the prompt
    work. A scheduler that goes step by step also gives ``shares``, what each request gets.
    """

    __slots__ = (
        "admitted", "chunks", "completed", "context", "decodes", "finishing", "left", "loads", "lost",
        "preempted", "recomputed", "shares", "tokens", "uneven",
    )  # fmt: skip

    def __init__(self, decodes: int = 0, context: int = 0, uneven: int = 0) -> None:
        self.decodes = decodes
        self.context = context
        """Tokens of the decodes that have KV before this step."""
        self.uneven = uneven
        """By how many of them all together fall short of the longest."""
        self.tokens = decodes
        """To compute, those of prompts included."""
        self.chunks: list[tuple[Request, int, int]] = NONE
        """(request, its tokens with KV before, tokens computed)."""
        self.admitted: list[tuple[Request, int, int]] = NONE
        """(request, its known tokens, those of them that were found)."""
        self.preempted: list[Request] = NONE
        self.recomputed = 0
        """Tokens that the preempted requests lose."""
        self.loads: list[tuple[Request, Found]] = NONE
        """KV to be brought in from now on."""
        self.completed: list[Request] = NONE
        """Their prompts are complete with this step, which gives them a token."""
        self.finishing: list[Request] = NONE
        """This step gives them their last token, in the engine's order."""
        self.left: list[Request] = NONE
        """Decodes of this step that were preempted while it was in flight: their token still comes."""
        self.lost = 0
        """Decodes of this step that left while it was in flight: no token."""
        self.shares: Shares | None = None
        """What each request gets, where every step is decided."""

    def followed_by(self, decodes: int, context: int, uneven: int) -> Batch:
        """A step of decodes alone in the place of this one: the same object, if this is such a step too."""
        if self.chunks or self.lost or self.preempted:
            return Batch(decodes, context, uneven)
        self.decodes = self.tokens = decodes
        self.context, self.uneven = context, uneven
        self.finishing = NONE
        return self
