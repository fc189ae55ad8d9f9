"""Small traces written out message by message, and what a provider's rules make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sim.providers import rulebook
from sim.providers.latency import HostedLatency
from sim.providers.marks import Caching
from sim.providers.schema import Rules
from sim.providers.serve import HostedTimes, serve
from workloads.generators.script import ScriptWorkload
from workloads.trace import Trace

INSTANT = HostedLatency(
    base_s=0, per_uncached_token_s=0, per_cached_token_s=0, hit_base_s=0, noise=0, tpot_s=0
)
"""Replies that take no time."""
SLOW = HostedLatency(
    base_s=1, per_uncached_token_s=0, per_cached_token_s=0, hit_base_s=0, noise=0, tpot_s=1
)
"""The first token after 1 s, each further one a second later."""


def script(
    lengths: dict[str, int],
    *requests: tuple[str, float],
    reply: int = 1,
    sessions: Sequence[int] | None = None,
    **more: Any,
) -> Trace:
    """Requests as ("a b c", at_s): a prompt of the messages a, b, c; ``more`` goes to each.

    Replies are new content of ``reply`` tokens, or the message after ``>`` ("a b > c"). Each request is a
    session of its own unless ``sessions`` says: then a longer prompt shows that the reply was there.
    """
    rows = []
    for i, (names, at_s) in enumerate(requests):
        prompt, _, answer = names.partition(">")
        answered = answer.strip() or f"reply-{i}"
        session = i if sessions is None else sessions[i]
        rows.append({"prompt": prompt.split(), "reply": answered, "at_s": at_s, "session": session, **more})
    replies = {f"reply-{i}": reply for i in range(len(requests))}
    workload = ScriptWorkload.model_validate(
        {"kind": "script", "messages": {**lengths, **replies}, "requests": rows}
    )
    return workload.build(0, Path())


def rules(provider: str, model: str, mode: str = "automatic", **changed: Any) -> Rules:
    """The record that ships, with some values changed."""
    found = rulebook.record(provider, model, mode, "x")
    return found.model_copy(update={"routing": None, **changed})


def made(kind: str, **values: Any) -> Rules:
    """A record of our own."""
    base = {"match": ".*", "modes": ["automatic", "explicit"], "kind": kind, "client_marks": True}
    lifetimes = [{"name": "x", "seconds": 300, "write_mult": 1.25}]
    return Rules.model_validate({**base, "lifetimes": lifetimes, **values})


def send(trace: Trace, followed: Rules, latency: HostedLatency = INSTANT, **caching: Any) -> HostedTimes:
    """The trace under the rules; the client's settings as keywords."""
    asked = Caching.model_validate({"mode": followed.modes[0], **caching})
    asked.check(followed, "test", "caching")
    return serve(trace, followed, asked, latency)


def read(served: HostedTimes) -> list[int]:
    return served.found.read_tokens


def written(served: HostedTimes, lifetime: int = 0) -> list[int]:
    return served.found.written_tokens[lifetime]
