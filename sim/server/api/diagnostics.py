"""Why a prompt missed the cache: compared with an earlier request, as the providers' diagnostics do.

How far two prompts agree is asked of the content tree that the system itself looks its hits up in; which
part of the prompt that place lies in, and which settings differ, is known here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sim.server.live import Usage

MOST_KEPT = 20_000
"""Earlier requests that can be named."""
Place = Literal["model", "tools", "system", "messages", "settings", "not_found", "same"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What is kept of a request for later comparisons."""

    number: int
    """Its row in the records."""
    model: str
    prompt_tokens: int
    kept_tokens: int
    """How much of the prompt the cache has since: what was read and what was written."""
    tools_end: int
    system_end: int
    at_s: float = 0.0
    kept_s: float = 0.0
    """For how long the provider keeps what it wrote; 0: unknown."""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the prompt first differs from the one before, and what that cost."""

    place: Place
    """``same``: nothing differs in what the cache looks at."""
    missed_tokens: int = 0
    """Tokens that would have been read had the prompt gone on as the one before."""
    reusable_tokens: int = 0
    """Tokens with which both prompts begin."""
    setting: str = ""
    """The setting that differs, where it is one."""
    hit: bool = False
    """Whether all that both prompts have in common was read, to a block."""
    expired: bool = False
    """Whether the pause was longer than what was written lives."""


class Earlier:
    """The requests of late, by the id of their reply."""

    def __init__(self, shared_tokens: Callable[[int, int], int], most: int = MOST_KEPT) -> None:
        self._shared_tokens, self._most = shared_tokens, most
        self._sent: OrderedDict[str, Sent] = OrderedDict()

    def keep(self, reply_id: str, sent: Sent) -> None:
        self._sent[reply_id] = sent
        if len(self._sent) > self._most:
            self._sent.popitem(last=False)

    def compare(self, reply_id: str, now: Sent, usage: Usage) -> Finding:
        """Hold the request ``now``, of which ``usage`` is known, against the one that got that reply."""
        before = self._sent.get(reply_id)
        if before is None:
            return Finding("not_found")
        shared = self._shared_tokens(before.number, now.number)
        missed = max(0, min(before.kept_tokens, now.prompt_tokens) - usage.cached_tokens)
        if before.model != now.model:
            return Finding("model", missed, shared)
        if before.tools_end != now.tools_end or shared < now.tools_end:
            return Finding("tools", missed, shared)
        if before.system_end != now.system_end or shared < now.system_end:
            return Finding("system", missed, shared)
        if shared < before.prompt_tokens:
            return Finding("messages", missed, shared)
        for name in sorted(before.settings.keys() | now.settings.keys()):
            if before.settings.get(name) != now.settings.get(name):
                return Finding("settings", missed, shared, name)
        expired = bool(before.kept_s) and now.at_s - before.at_s > before.kept_s
        return Finding("same", missed, shared, hit=usage.cached_tokens > 0, expired=expired)


def anthropic(finding: Finding) -> dict[str, Any] | None:
    """``diagnostics`` of a message; None where the prompt went on as the one before and was read."""
    if finding.place == "not_found" or (finding.expired and not finding.hit):
        return {"cache_miss_reason": {"type": "previous_message_not_found"}}
    if finding.place == "settings" or (finding.place == "same" and not finding.hit):
        return {"cache_miss_reason": {"type": "unavailable"}}
    if finding.place == "same":
        return None
    reason = {"type": f"{finding.place}_changed", "cache_missed_input_tokens": finding.missed_tokens}
    return {"cache_miss_reason": reason}


OPENAI_REASONS = {"model": "model_changed", "tools": "tools_changed"}
"""By place; a change of the system message is one of the input."""
OPENAI_SETTINGS = {
    "prompt_cache_key": "prompt_cache_key_changed",
    "text_format": "text_format_changed",
    "reasoning_effort": "reasoning_effort_changed",
    "verbosity": "verbosity_changed",
    "service_tier": "service_tier_changed",
}


def openai(finding: Finding) -> dict[str, Any]:
    """``prompt_cache_diagnostics`` of a response."""
    if finding.place == "not_found":
        return {"type": "comparison_response_not_found"}
    if finding.place == "same":
        return {"type": "cache_hit"} if finding.hit else {"type": "unavailable"}
    if finding.place == "settings":
        if finding.hit or finding.setting not in OPENAI_SETTINGS:
            return {"type": "cache_hit"} if finding.hit else {"type": "unavailable"}
        reason = OPENAI_SETTINGS[finding.setting]
    else:
        reason = OPENAI_REASONS.get(finding.place, "input_changed")
    return {
        "type": "cache_miss",
        "reason": reason,
        "cache_missed_tokens": finding.missed_tokens,
        "comparison_reusable_tokens": finding.reusable_tokens,
    }
