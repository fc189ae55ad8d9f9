"""What an API is to the server: it reads a body into a `Call`, and writes the reply in its own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sim.server.api.call import Answer, Call
from sim.server.api.diagnostics import Finding
from sim.server.api.errors import ApiError, Shape
from sim.server.api.tokens import Tokens
from sim.server.live import About, Reply, Usage


class Body(BaseModel):
    """The fields of a request that matter here. Those not known are taken and left alone, as APIs do."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Kind = TypeVar("Kind", bound=BaseModel)
_COMPACT = json.JSONEncoder(separators=(",", ":"))
"""Made once: ``json.dumps`` makes one each time, which costs more than a token."""


def parse(kind: type[Kind], data: Any) -> Kind:
    """``data`` as that kind; ApiError 400 that names the first field that does not fit."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or "body"
        raise ApiError(400, f"{field}: {first['msg']}", param=field) from None


def dumped(value: Any) -> bytes:
    return _COMPACT.encode(value).encode()


@dataclass(slots=True)
class Served:
    """One HTTP request while it is served."""

    id: str
    """Without the prefix that each API gives its replies."""
    created: int
    """By the wall clock, s since 1970."""
    call: Call
    answers: list[Answer]
    """One for each choice of each prompt."""
    replies: list[Reply]
    about: About
    diagnose: Callable[[], Finding | None]
    """What the comparison with an earlier request says; known once the first token is there."""


class Writer(Protocol):
    """Puts the replies to one request into the words of its API."""

    def opening(self) -> bytes:
        """Events that leave before the first token."""

    def tokens(self, choice: int, bits: Sequence[tuple[int, str]], last: bool) -> bytes:
        """Events for new tokens of one choice, ``last`` with those that end it."""

    def end(self) -> bytes:
        """Events once all choices have ended."""

    def error(self, error: ApiError) -> bytes:
        """The event that says that the reply will not be finished."""

    def whole(self) -> dict[str, Any]:
        """The reply at once, where it is not streamed."""


class Api(Protocol):
    """One endpoint that generates."""

    path: str
    shape: Shape
    reply_prefix: str
    """How the ids of its replies begin."""

    def read(self, body: dict[str, Any], tokens: Tokens, headers: Mapping[str, str]) -> Call:
        """Raises ApiError for what is no valid request."""

    def writer(self, served: Served) -> Writer: ...


def merged(bits: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """New tokens as one text for each part that they belong to."""
    if len(bits) == 1:
        return list(bits)
    out: list[tuple[int, str]] = []
    for part, text in bits:
        if out and out[-1][0] == part:
            out[-1] = (part, out[-1][1] + text)
        else:
            out.append((part, text))
    return out


def usage_of(served: Served) -> Usage:
    """The usage of one HTTP request: each prompt once, however many choices it has, and all replies."""
    found = [reply.usage for reply in served.replies]
    if len(found) == 1:
        return found[0]
    prompts = found[:: served.call.choices]
    written: dict[float, int] = {}
    for usage in prompts:
        for ttl_s, tokens in usage.written_tokens.items():
            written[ttl_s] = written.get(ttl_s, 0) + tokens
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in prompts),
        cached_tokens=sum(usage.cached_tokens for usage in prompts),
        written_tokens=written,
        output_tokens=sum(usage.output_tokens for usage in found),
    )
