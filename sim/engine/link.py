"""A link over which KV travels: one transfer after the other."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sim.engine.events import Clock
from workloads.schema import Schema

GbPerS = Annotated[float, Field(ge=1e-6)]
LatencyMs = Annotated[float, Field(ge=0, le=1e9)]


class LinkSpeed(Schema):
    """``gb_per_s`` (1e9 bytes) shared by all transfers in order, and ``latency_ms`` for each on top."""

    gb_per_s: GbPerS
    """Bandwidth in gigabytes (1e9 bytes) per second, shared by all transfers."""
    latency_ms: LatencyMs = 0.0
    """What each transfer takes beside that, ms."""


class Link:
    """A link at work: transfers queue for its bandwidth, their latencies overlap."""

    def __init__(self, env: Clock, speed: LinkSpeed) -> None:
        self._env = env
        self._bytes_per_s = speed.gb_per_s * 1e9
        self._latency_s = speed.latency_ms * 1e-3
        self._free_s = 0.0
        self.bytes = 0
        """Carried so far, transfers under way included."""

    def transfer(self, size_bytes: int) -> float:
        """Start a transfer now; the simulated time in s at which all of it is there."""
        self.bytes += size_bytes
        self._free_s = max(self._env.now_s, self._free_s) + size_bytes / self._bytes_per_s
        return self._free_s + self._latency_s
