"""What the streams of OpenAI's chat completions and completions have in common."""

from __future__ import annotations

from typing import Any

from sim.server.api import usage
from sim.server.api.base import Body, Served, dumped, usage_of
from sim.server.api.errors import ApiError
from sim.server.api.timing import metrics_of


class StreamOptions(Body):
    include_usage: bool = False
    """Usage in a chunk of its own at the end, whose ``choices`` are empty."""
    continuous_usage_stats: bool = False
    """vLLM's: with that, usage so far in every chunk."""


class Chunks:
    """The chunks of one reply: all of them that does not depend on what its choices say."""

    def __init__(self, served: Served, id_prefix: str, kind: str) -> None:
        """``kind``: what a chunk says it is."""
        self._served = served
        self.head: dict[str, Any] = {
            "id": f"{id_prefix}{served.id}",
            "object": kind,
            "created": served.created,
            "model": served.call.model,
        }
        self.plain = b"data: " + dumped(self.head)[:-1]
        """How a chunk begins, as bytes."""
        asked = StreamOptions.model_validate(served.call.body.get("stream_options") or {})
        self._include_usage = asked.include_usage
        self.continuous = asked.include_usage and asked.continuous_usage_stats
        """Whether every chunk has the usage so far."""

    def chunk(self, choice: dict[str, Any]) -> bytes:
        """A chunk with something of one choice."""
        return _event(self.head | {"choices": [choice]} | (self.usage() if self.continuous else {}))

    def end(self) -> bytes:
        """The usage and the metrics, where they are asked for, and the end of the stream."""
        more = metrics_of(self._served) | (self.usage() if self._include_usage else {})
        return (_event(self.head | {"choices": []} | more) if more else b"") + b"data: [DONE]\n\n"

    def error(self, error: ApiError) -> bytes:
        """The event that says that the reply will not be finished."""
        return _event(error.body("openai", self._served.id))

    def whole(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The reply at once."""
        return self.head | {"choices": choices} | self.usage() | metrics_of(self._served)

    def usage(self) -> dict[str, Any]:
        """What the reply has used so far."""
        return {"usage": usage.chat(usage_of(self._served), self._served.about)}


def _event(value: Any) -> bytes:
    return b"data: " + dumped(value) + b"\n\n"
