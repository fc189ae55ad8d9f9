"""One request inside a replica."""

from __future__ import annotations

from sim.caches.block import BlockTable

WAITING, PREFILL, DECODE = range(3)


class Request:
    """State of a request from its arrival at a replica to its last token.

    In decode nothing is stored per step: ``base`` + the replica's step count is the number of tokens
    that have KV, and ``finish_step`` the count at which the last token is there.
    """

    __slots__ = (
        "base", "computed", "finish_step", "generated", "index", "last_token_s", "order",
        "output_tokens", "phase", "preemptions", "prompt_tokens", "reply", "table",
    )  # fmt: skip

    def __init__(self, index: int, table: BlockTable, output_tokens: int, reply: list[int]) -> None:
        self.index = index
        self.table = table
        self.prompt_tokens = table.prompt_tokens
        self.output_tokens = output_tokens
        self.reply = reply  # the nodes in which its reply lies
        self.phase = WAITING
        self.computed = 0  # tokens with KV, while not in decode
        self.generated = 0  # output tokens, as of the last time it entered or left decode
        self.base = 0
        self.finish_step = 0
        self.order = 0  # place in the running list: grows with every admission
        self.preemptions = 0
        self.last_token_s = 0.0

    @property
    def known_tokens(self) -> int:
        """Prompt and generated tokens; not up to date in decode."""
        return self.prompt_tokens + self.generated
