"""What the streams of OpenAI's chat completions and completions have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

from sim.server.api.base import Body, dumped

DONE = b"data: [DONE]\n\n"


class StreamOptions(Body):
    include_usage: bool = False
    continuous_usage_stats: bool = False

    @staticmethod
    def of(body: dict[str, Any]) -> Options:
        """What a request that was read before asks for."""
        asked = StreamOptions.model_validate(body.get("stream_options") or {})
        return Options(asked.include_usage, asked.include_usage and asked.continuous_usage_stats)


class Options(NamedTuple):
    include_usage: bool
    """Usage in a chunk of its own at the end, whose ``choices`` are empty."""
    continuous: bool
    """vLLM's: usage so far in every chunk."""


def event(value: Any) -> bytes:
    return b"data: " + dumped(value) + b"\n\n"
