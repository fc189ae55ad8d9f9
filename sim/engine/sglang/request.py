"""One request inside a replica that runs SGLang's scheduler."""

from __future__ import annotations

from sim.caches.radix import RadixTable
from sim.engine.request import Request


class SglangRequest(Request):
    """A `Request` with what it holds of the radix cache, and how long a reply it asked for."""

    __slots__ = ("kv", "max_new_tokens")

    def __init__(self, request: Request, kv: RadixTable, max_new_tokens: int) -> None:
        super().__init__(request.index, request.table, request.output_tokens, request.reply)
        self.kv = kv
        self.max_new_tokens = max_new_tokens
        """What the client allows; the reply may end earlier."""

    def tokens_to_come(self, step: int) -> int:
        """In decode, after ``step`` steps of the replica: the longest that the reply may still grow."""
        return self.max_new_tokens - self.output_tokens + self.finish_step - step
