"""What SGLang's scheduler decides for one step."""

from __future__ import annotations

from typing import Any

from sim.engine.loads import Found
from sim.engine.sglang.request import SglangRequest

NONE: list[Any] = []
"""What most lists of most batches are: one empty list for all, never added to."""


class SglangBatch:
    """One step: either prompts, or a token for each running request.

    Decodes are only a number and the sum of their contexts. A batch that computes nothing may still have
    decided something: loads that begin, requests that are retracted.
    """

    __slots__ = (
        "aborted", "admitted", "chunks", "context", "cut", "decodes", "finishing", "joined", "loads",
        "orders", "recomputed", "retracted", "scheduled", "tokens", "uneven",
    )  # fmt: skip

    def __init__(self, decodes: int = 0, context: int = 0, uneven: int = 0) -> None:
        self.decodes = self.tokens = decodes
        """Also the tokens to compute; for prompts those are the sum of their chunks."""
        self.context = context
        """Tokens of the decodes that have KV before this step."""
        self.uneven = uneven
        """By how many of them all together fall short of the longest."""
        self.chunks: list[tuple[SglangRequest, int, int]] = NONE
        """(request, its tokens with KV before, tokens computed), the prompt begun earlier first."""
        self.scheduled: list[SglangRequest] = NONE
        """The decodes in SGLang's order, where steps are recorded."""
        self.admitted: list[tuple[SglangRequest, int, int]] = NONE
        """(request, its known tokens, those of them that were found)."""
        self.joined: list[SglangRequest] = NONE
        """Those among them that decode without a prefill here."""
        self.loads: list[tuple[SglangRequest, Found]] = NONE
        """KV to be brought in from now on."""
        self.retracted: list[SglangRequest] = NONE
        self.recomputed = 0
        """Tokens that the retracted requests lose."""
        self.aborted: SglangRequest | None = None
        """Alone in the batch, and did not fit any more."""
        self.cut: SglangRequest | None = None
        """The one of ``chunks`` whose prompt is not complete with it."""
        self.finishing: list[SglangRequest] = NONE
        """This step gives them their last token, in SGLang's order."""
        self.orders = range(0)
        """Running requests whose ``order`` is in here get a token by this step."""

    def followed_by(self, decodes: int, context: int, uneven: int) -> SglangBatch:
        """This step of decodes alone as one that comes after it."""
        self.decodes = self.tokens = decodes
        self.context, self.uneven = context, uneven
        self.finishing = NONE
        return self

    @property
    def completed(self) -> list[SglangRequest]:
        """Their prompts are complete with this step, which gives them a token."""
        return [request for request, _, _ in self.chunks if request is not self.cut]

    @property
    def sequences(self) -> int:
        """Requests that compute something."""
        return self.decodes + len(self.chunks)
