"""Hand-written requests: a prompt is a list of named messages, equal names mean equal content."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, model_validator

from workloads.content import ROOT
from workloads.schema import MOST, Schema
from workloads.trace import NONE, Trace


class ScriptRequest(Schema):
    """One request: the messages of its prompt in order, and the message that it is answered with."""

    prompt: list[str] = Field(min_length=1)
    """The names of its messages, in order."""
    reply: str
    """The name of the message that it is answered with."""
    at_s: NonNegativeFloat = 0.0
    """When it arrives, s."""
    session: int = Field(default=0, ge=0, le=MOST)
    """Number of the session that it belongs to."""


class ScriptWorkload(Schema):
    """The worked examples: every message and every request is written out.

    ``messages`` gives each message's length in tokens; a reply that a later prompt contains is the
    same content there. A repeated prompt may be answered differently each time. A first message whose
    name begins with ``system`` is a system message.
    """

    kind: Literal["script"]
    messages: dict[str, Annotated[int, Field(gt=0, le=MOST)]]
    """Length of each message, in tokens, by name: `{system: 100, question: 20}`."""
    requests: list[ScriptRequest] = Field(min_length=1)
    """The requests, each with the names of its messages."""

    @model_validator(mode="after")
    def _messages_exist(self) -> ScriptWorkload:
        for i, request in enumerate(self.requests):
            for name in [*request.prompt, request.reply]:
                if name not in self.messages:
                    known = ", ".join(self.messages)
                    raise ValueError(f"requests[{i}] names message {name!r}; allowed: {known}")
        return self

    def build(self, seed: int, folder: Path) -> Trace:
        """Lay the requests out; neither ``seed`` nor ``folder`` is used."""
        trace = Trace(messages=True)
        content = trace.content
        nodes: dict[tuple[int, str], int] = {}

        def after(at: int, message: str) -> int:
            if (at, message) not in nodes:
                nodes[at, message] = content.append(at, self.messages[message])
                if at == ROOT and message.startswith("system"):
                    trace.system_messages.add(nodes[at, message])
            return nodes[at, message]

        turns: dict[int, int] = {}
        answers: dict[int, int] = {}
        for request in self.requests:
            turns[request.session] = turns.get(request.session, 0) + 1
            at, contained = ROOT, NONE
            for message in request.prompt:
                at = after(at, message)
                contained = answers.get(at, contained)
            reply = after(at, request.reply)
            answers[reply] = trace.add(
                prompt=at,
                output_tokens=self.messages[request.reply],
                reply=reply,
                arrival_s=request.at_s,
                continues=contained,
                session=request.session,
                turn=turns[request.session],
            )
        return trace
