"""One request inside a replica that runs SGLang's scheduler."""

from __future__ import annotations

from sim.caches.radix import RadixTable
from sim.engine.request import Request


class SglangRequest(Request):
    """A `Request` with what it holds of the radix cache, and how long a reply it asked for.

    ``generated`` counts tokens as scheduled: with the one that a step in flight is to give.
    """

    __slots__ = ("given", "is_prefilled", "kv", "max_new_tokens", "may_exceed", "submitted")

    def __init__(self, request: Request, kv: RadixTable, max_new_tokens: int) -> None:
        super().__init__(
            request.row, request.table, request.output_tokens, request.reply, request.generated
        )
        self.last_token_s = request.last_token_s
        self.submitted = request
        """As the fleet knows it."""
        self.is_prefilled = request.generated > 0
        """Whether another replica computed its prompt, and this one only has to decode."""
        self.given = request.generated
        """Output tokens that are there, kept up to date where each is heard."""
        self.kv = kv
        self.max_new_tokens = max_new_tokens
        """What the client allows; the reply may end earlier,"""
        self.may_exceed = max_new_tokens - request.output_tokens
        """by so many tokens."""

    @property
    def ends_by_length(self) -> bool:
        """Whether its reply ends because it is as long as it may be: this is known beforehand."""
        return self.output_tokens >= self.max_new_tokens
