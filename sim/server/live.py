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
    """Token ids, each from 0 to 2^32 - 1."""
    output_tokens: int
    """How long the reply becomes: what the client asked for, or what the recorded reply has."""
    reply: Sequence[int] = ()
    """The reply's tokens as a later prompt would resend them, ``output_tokens`` of them, so that it hits
    them. Empty: no later prompt contains the reply."""
    model: str = ""
    session: str = ""
    """What the client said of the conversation (`prompt_cache_key`, `user`, a header); empty: unknown."""
    message_ends: Sequence[int] = ()
    """Where messages end, in tokens from the start of the prompt."""
    system_tokens: int = 0
    """Tokens from the start of the prompt to the end of its tools and system message; 0: it has none, or
    it is not known."""
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


@dataclass(frozen=True, slots=True)
class Times:
    """When what became of a request, in simulated seconds as its client sees it; NaN: not yet, or never."""

    arrival_s: float
    scheduled_s: float
    """When it was first scheduled; for hosted APIs its arrival."""
    first_token_s: float
    finished_s: float


class Reply(Protocol):
    """A reply that is being computed."""

    @property
    def number(self) -> int:
        """The row of the request in the records of the run."""

    @property
    def times(self) -> Times:
        """What is known by now."""

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


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while the system runs."""

    kind: Literal["engine", "provider"]
    system: str
    """Its name in the configuration."""
    model: str
    """The model's name; empty where the configuration names none."""
    provider: str = ""
    usage_style: Literal["inclusive", "exclusive"] = "inclusive"
    """Whether the provider counts reads and writes among the input tokens, or beside them."""
    lifetimes: Mapping[str, float] = field(default_factory=dict)
    """The lifetimes that the provider sells, by name (``5m``), in s."""
    replicas: int = 1
    block_size: int = 0
    """Tokens of a KV block; 0 for hosted APIs."""
    kv_blocks: int = 0
    """KV blocks of all replicas."""
    max_model_len: int | None = None


class Live(Protocol):
    """A system that takes requests while its time runs."""

    @property
    def about(self) -> About: ...

    @property
    def now_s(self) -> float:
        """Simulated seconds since the start; cheap enough to be asked for each token."""

    def shared_tokens(self, one: int, other: int) -> int:
        """How many tokens the prompts of two requests (`Reply.number`) begin with in common."""

    def iterations(self) -> list[int]:
        """Tokens scheduled in each iteration that has begun since the last call; none for hosted APIs."""

    def submit(self, ask: Ask, came_s: float | None = None) -> Reply:
        """Take a request now. Raises `Refused`.

        ``came_s``: when it came, by ``now_s``, if that is a moment ago: it arrives then.
        """

    def state(self) -> State: ...

    async def run(self) -> None:
        """Let time pass until `stop` is called."""

    def stop(self) -> None: ...
