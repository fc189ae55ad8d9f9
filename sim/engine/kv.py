"""How a kind of cache is, or stands beside, an engine's KV memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim.caches.block import Evicted
from sim.engine.events import Clock
from sim.engine.link import Link, LinkSpeed
from sim.engine.loads import Source
from workloads.trace import Trace

MemoryOf = Callable[[Evicted | None], Any]
"""Makes one replica's KV memory; ``evicted`` is called at its evictions where steps are recorded."""
SourceOf = Callable[[Clock], Source]
"""Makes what brings KV into it."""


@dataclass(frozen=True, slots=True)
class KvSetting:
    """What a replica's memory is made for."""

    trace: Trace
    blocks: int
    kv_bytes_per_token: int | None = None
    """None: the model is not known, so nothing can be loaded."""
    tier_hits: dict[str, int] | None = None
    """Hit tokens of lower tiers are added here."""
    tiers: bool = True
    """False for a replica that brings its KV in from elsewhere: it has no tiers of its own."""


@dataclass(frozen=True, slots=True)
class KvKind:
    """One kind of cache in an engine: a new one is a file with such a record, and a registry line."""

    block_size: Callable[[Any], int]
    """Tokens of a KV block, from the cache's configuration."""
    stated_blocks: Callable[[Any, str], int | None]
    """KV blocks that the configuration states; the text names it for messages. None: it does not."""
    parts: Callable[[Any, KvSetting], tuple[MemoryOf, SourceOf | None]]
    """What makes one replica's memory and the source below it, to be called in this order."""
    is_own: bool = True
    """Whether the cache is the engine's own memory, not one beside it."""


class SharedLink:
    """One link for all replicas of a run: made when the first of them asks for it."""

    def __init__(self, speed: LinkSpeed) -> None:
        self._speed = speed
        self._link: Link | None = None

    def on(self, env: Clock) -> Link:
        """The link, on the clock ``env`` of the run."""
        if self._link is None:
            self._link = Link(env, self._speed)
        return self._link


def both(one: Evicted | None, other: Evicted | None) -> Evicted | None:
    """A callback that calls both."""
    if one is None or other is None:
        return one or other
    first, second = one, other

    def tell(owner: int, start: int, stop: int) -> None:
        first(owner, start, stop)
        second(owner, start, stop)

    return tell
