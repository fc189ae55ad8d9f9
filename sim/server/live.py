"""What the HTTP side of the server asks of a system that runs live, and what it gets back.

A live system is an engine fleet or a hosted API whose requests arrive while simulated time runs. Times are
simulated seconds since the start; with ``speed`` 1 they pass as those of the wall clock do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Mark:
    """A place at which the client asked the provider to keep the prompt (`cache_control`)."""

    tokens: int
    """Tokens from the start of the prompt up to the mark."""
    ttl_s: float | None = None
    """None: what the rules give where the client names none."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as a client sent it, its text as tokens: two prompts share what their tokens share."""

    prompt: Sequence[int]
    output_tokens: int
    """How long the reply becomes: what the client asked for, or what the recorded reply has."""
    model: str = ""
    session: str = ""
    """What the client said of the conversation (`prompt_cache_key`, `user`, a header); empty: unknown."""
    message_ends: Sequence[int] = ()
    """Where messages end, in tokens from the start of the prompt."""
    marks: Sequence[Mark] = ()
    cache_key: str | None = None
    """`prompt_cache_key`, which providers route by."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one request as the system's own records have them."""

    prompt_tokens: int
    cached_tokens: int = 0
    written_tokens: Mapping[float, int] = field(default_factory=dict)
    """Tokens written to the cache, by the seconds they are kept (Anthropic: 300 and 3600)."""
    output_tokens: int = 0


class Refused(Exception):
    """The system does not take the request: its queue is full, or the prompt can never fit."""

    def __init__(
        self, kind: Literal["queue_full", "too_long", "stopped"], message: str, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.kind, self.retry_after_s = kind, retry_after_s


class Reply(Protocol):
    """A reply that is being computed."""

    number: int
    """The row of the request in the records of the run."""
    arrival_s: float

    def __aiter__(self) -> AsyncIterator[int]:
        """How many tokens have come since the last time, as soon as they are there; ends with the reply.

        Raises `Refused` with ``stopped`` where the system loses the request (a failure, a deadline).
        """

    @property
    def usage(self) -> Usage:
        """What is known so far; whole once the first token is there, except for the length of the reply."""

    def cancel(self) -> None:
        """The client has gone: the request leaves the system and frees its memory; it counts as aborted."""


@dataclass(frozen=True, slots=True)
class State:
    """One instant, for gauges and the page with live figures."""

    now_s: float
    running: int
    waiting: int
    kv_usage: float
    """Share of the KV blocks held by requests, 0 to 1; 0 for hosted APIs."""
    prompt_tokens: int
    """Counters since the start: prompt tokens of all requests that were looked up, and of these, hits."""
    hit_tokens: int
    output_tokens: int
    completed: int
    aborted: int
    preemptions: int
    cost_usd: float


class Live(Protocol):
    """A system that takes requests while its time runs."""

    def submit(self, ask: Ask) -> Reply:
        """Take a request now. Raises `Refused`."""

    def state(self) -> State: ...

    async def run(self) -> None:
        """Let time pass until `stop` is called."""

    def stop(self) -> None: ...
