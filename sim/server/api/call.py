"""A request in the words of no API in particular: what each of them reads its body into."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim.server.api.errors import ApiError
from sim.server.api.template import Message, Part, Rendered


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the reply shall be."""

    most_tokens: int | None = None
    """None: the client leaves it open."""
    exact: bool = False
    """Exactly so many, whatever the text (``ignore_eos``)."""
    least_tokens: int = 0
    tools: Sequence[str] = ()
    """Names of the tools that may be called; of the one that must be, alone."""
    must_call: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON schemas of the tools' arguments, by name."""
    as_json: bool = False
    schema: Any = None
    """JSON schema of the reply, where one is asked for."""


def chosen_tool(name: Any, parameters: Mapping[str, Any]) -> list[str]:
    """The one tool that ``tool_choice`` names; ApiError 400 if the request has none of that name."""
    if not isinstance(name, str) or name not in parameters:
        raise ApiError(400, "tool_choice: names no tool of the request", param="tool_choice")
    return [name]


@dataclass(slots=True)
class Call:
    """One HTTP request: one prompt or several, each with ``choices`` replies."""

    model: str
    prompts: list[Rendered]
    wanted: Wanted
    said: list[str]
    """The last thing the user said in each prompt: what an echo repeats and a recorded reply answers."""
    calls_since_user: int = 0
    choices: int = 1
    stream: bool = False
    session: str = ""
    cache_key: str | None = None
    messages: list[Message] = field(default_factory=list)
    """The conversation, where the API keeps it for the next request."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What else of the request decides whether a provider's cache is hit: see `diagnostics`."""
    compare_with: str | None = None
    """The earlier reply with which the client wants this prompt compared; None: it did not ask."""
    asks_diagnosis: bool = False
    body: dict[str, Any] = field(default_factory=dict)


def last_user_text(messages: Sequence[Message]) -> str:
    """What the last message of the user says."""
    for message in reversed(messages):
        texts = [part.text for part in message.parts if part.kind == "text"]
        if message.role == "user" and texts:
            return "\n".join(texts)
    return ""


def calls_since_user(messages: Sequence[Message]) -> int:
    """How many replies have called tools since the user last spoke."""
    count = 0
    for message in reversed(messages):
        if message.role == "user":
            break
        count += message.role == "assistant" and any(part.kind == "call" for part in message.parts)
    return count


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, whole before it is served: the system decides only when its tokens come."""

    parts: tuple[Part, ...]
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    """What each token adds to the text of the part it belongs to."""
    finish: str
    """``stop``, ``length`` or ``tool_calls``."""
    ends: tuple[int, ...] = ()
    """Where each part but the last ends, in tokens."""

    def bits(self, begin: int, end: int) -> list[tuple[int, str]]:
        """For tokens ``begin`` to ``end`` the part each belongs to, and what it adds to the text of that.

        Made when they leave: pairs for all tokens of all open replies would be many objects for the garbage
        collection to look through.

        >>> two_calls = Answer((), (), ("", "{}", "", "[]"), "tool_calls", ends=(2,))
        >>> two_calls.bits(1, 4)
        [(0, '{}'), (1, ''), (1, '[]')]
        """
        if not self.ends:
            return [(0, piece) for piece in self.pieces[begin:end]]
        return [
            (bisect_right(self.ends, token), piece)
            for token, piece in enumerate(self.pieces[begin:end], begin)
        ]

    @property
    def text(self) -> str:
        """The part of it that is text."""
        return "".join(part.text for part in self.parts if part.kind == "text")
