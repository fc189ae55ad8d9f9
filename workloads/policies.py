"""What clients do beside their conversations: keep prompts warm, replace a history that grew too long.

A policy changes a trace that is complete: any workload can have one, generated or recorded, and whatever
serves the trace, a hosted API or an engine, sees the requests that such clients send.
"""

from __future__ import annotations

from pydantic import model_validator

from workloads.compaction import Compact
from workloads.keep_warm import KeepWarm
from workloads.schema import Schema
from workloads.trace import Trace


class ClientPolicies(Schema):
    """``clients: {keep_warm: {...}, compact: {...}}``: at least one of the two."""

    keep_warm: KeepWarm | None = None
    """Pings that keep a prompt cached while its user pauses; left out: none."""
    compact: Compact | None = None
    """Replacing a long history by a summary; left out: never."""

    @model_validator(mode="after")
    def _some_policy(self) -> ClientPolicies:
        if self.keep_warm is None and self.compact is None:
            raise ValueError("no policy; allowed: keep_warm, compact, or both")
        return self

    def apply(self, trace: Trace) -> None:
        """Let the clients of ``trace`` behave so. Histories go first: pings repeat what is sent."""
        if self.compact is not None:
            self.compact.apply(trace)
        if self.keep_warm is not None:
            self.keep_warm.apply(trace)
