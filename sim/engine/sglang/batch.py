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
    decided something: loads that begin, requests that are retracted. Most of what a batch may have most
    batches have not, so that one is made in every step costs next to nothing.
    """

    decodes: int = 0
    tokens: int = 0
    """To compute: as many as there are decodes; for prompts the sum of their chunks."""
    context: int = 0
    """Tokens of the decodes that have KV before this step."""
    uneven: int = 0
    """By how many of them all together fall short of the longest."""
    chunks: list[tuple[SglangRequest, int, int]] = NONE
    """(request, its tokens with KV before, tokens computed), the prompt begun earlier first."""
    scheduled: list[SglangRequest] = NONE
    """The decodes in SGLang's order, where steps are recorded."""
    admitted: list[tuple[SglangRequest, int, int]] = NONE
    """(request, its known tokens, those of them that were found)."""
    joined: list[SglangRequest] = NONE
    """Those among them that decode without a prefill here."""
    loads: list[tuple[SglangRequest, Found]] = NONE
    """KV to be brought in from now on."""
    retracted: list[SglangRequest] = NONE
    recomputed: int = 0
    """Tokens that the retracted requests lose."""
    aborted: SglangRequest | None = None
    """Alone in the batch, and did not fit any more."""
    cut: SglangRequest | None = None
    """The one of ``chunks`` whose prompt is not complete with it."""
    finishing: list[SglangRequest] = NONE
    """This step gives them their last token, in SGLang's order."""
    first_order: int = 0
    last_order: int = -1
    """Running requests whose ``order`` is one of ``first_order .. last_order`` get a token by this step."""

    def followed_by(self, decodes: int, context: int, uneven: int) -> SglangBatch:
        """This step of decodes alone as one that comes after it."""
        self.decodes = self.tokens = decodes
        self.context, self.uneven = context, uneven
        self.finishing = NONE
        return self

    @property
    def sequences(self) -> int:
        """Requests that compute something."""
        return self.decodes + len(self.chunks)
