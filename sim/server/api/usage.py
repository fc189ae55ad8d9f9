"""The tokens of a request in the shapes of the APIs.

OpenAI counts cached tokens among the prompt's, Anthropic beside its input tokens. What a system does not
know is left out, never null: an engine knows nothing of cache writes.
"""

from __future__ import annotations

from typing import Any

from sim.server.live import About, Usage

HOUR_S = 3600.0
HALF_HOUR_S = 1800.0


def chat(usage: Usage, about: About) -> dict[str, Any]:
    """``usage`` of chat completions and completions.

    >>> about = About(kind="engine", system="s", model="m")
    >>> chat(Usage(75, cached_tokens=64, output_tokens=10), about)["prompt_tokens_details"]
    {'cached_tokens': 64}
    """
    out: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    if about.kind == "provider":
        out["prompt_tokens_details"]["cache_write_tokens"] = sum(usage.written_tokens.values())
        out["completion_tokens_details"] = {"reasoning_tokens": 0}
    return out


def response(usage: Usage, about: About) -> dict[str, Any]:
    """``usage`` of responses."""
    details: dict[str, Any] = {"cached_tokens": usage.cached_tokens}
    if about.kind == "provider":
        written = usage.written_tokens
        details["cache_write_tokens"] = sum(written.values())
        if written:
            short = sum(tokens for ttl_s, tokens in written.items() if ttl_s <= HALF_HOUR_S)
            long = sum(written.values()) - short
            details["cache_write_tokens_details"] = {"ttl_30m_tokens": short, "ttl_12h_tokens": long}
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": details,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }


def message(usage: Usage) -> dict[str, Any]:
    """``usage`` of messages. All counts are there, since Claude Code fails where one is missing.

    >>> message(Usage(190, cached_tokens=120, written_tokens={300.0: 50}, output_tokens=1))["input_tokens"]
    20
    """
    written = sum(usage.written_tokens.values())
    long = sum(tokens for ttl_s, tokens in usage.written_tokens.items() if ttl_s >= HOUR_S)
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": written - long, "ephemeral_1h_input_tokens": long},
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
    }
