"""Whether the time of a sub-agent is its start or its end: files of one format say both.

The published format and AIPerf take ``t`` for the time at which a sub-agent was spawned; the recorded
files of kv-cache-tester hold the time at which it finished. The calls of the parent around it tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workloads.errors import InputError

Meaning = Literal["end", "spawn"]


@dataclass(frozen=True, slots=True)
class Span:
    """A sub-agent's entry on the clock of its session, all in s."""

    where: str
    t_s: float
    duration_s: float | None
    """None where the file does not say it, as for one that was launched and not waited for."""
    before_s: float | None
    """The parent's last call before the entry."""
    after_s: float | None
    """The parent's next call."""

    def vote(self) -> Meaning | None:
        """What the parent's calls say, or None if nothing.

        A parent that waits calls shortly before its sub-agent starts and goes on after it has ended.
        Of the meanings that allow this, the one that leaves the parent idle for less counts: before the
        sub-agent, had it ended at ``t``; after it, had it begun then.

        >>> Span("", t_s=134.2, duration_s=126.0, before_s=0.0, after_s=153.0).vote()
        'end'
        >>> Span("", t_s=30.0, duration_s=120.0, before_s=0.0, after_s=155.0).vote()
        'spawn'
        """
        if self.duration_s is None:
            return None
        if self.duration_s > self.t_s:
            return "spawn"
        lead_s = -1.0 if self.before_s is None else self.t_s - self.duration_s - self.before_s
        tail_s = -1.0 if self.after_s is None else self.after_s - self.t_s - self.duration_s
        if tail_s >= 0 and (lead_s < 0 or tail_s < lead_s):
            return "spawn"
        return "end" if lead_s >= 0 else None

    def start_s(self, meaning: Meaning) -> float:
        """When the sub-agent started."""
        if meaning == "spawn" or self.duration_s is None:
            return self.t_s
        if self.duration_s > self.t_s:
            raise InputError(
                f"{self.where}: duration_ms = {self.duration_s * 1000:.12g}; allowed: at most its end "
                f"(t = {self.t_s!r} s), so that it starts after its session; or subagent_t: spawn"
            )
        return self.t_s - self.duration_s


def meaning_of(spans: Sequence[Span]) -> tuple[Meaning, str]:
    """What ``t`` means in a file, by the majority of its sub-agents, and a sentence that says so."""
    if all(span.duration_s is None for span in spans):
        return "spawn", "t of a sub-agent is read as when it was spawned: none says how long it took"
    votes = [span.vote() for span in spans]
    ends, spawns = votes.count("end"), votes.count("spawn")
    meaning: Meaning = "spawn" if spawns > ends else "end"
    what = "when it was spawned" if meaning == "spawn" else "when it had finished"
    told = max(ends, spawns)
    return meaning, (
        f"t of a sub-agent is read as {what}: the parent's calls around {told} of {len(spans)} say so "
        "(subagent_t: spawn or end decides otherwise)"
    )
