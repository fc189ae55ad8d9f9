"""Eviction policies: which cached content goes when room is needed.

A new policy is one file and one line in the table below; ``kind: ids`` and ``kind: block`` then know it.
"""

from __future__ import annotations

from difflib import get_close_matches

from sim.caches.eviction.arc import Arc
from sim.caches.eviction.base import Eviction, PolicySetting
from sim.caches.eviction.belady import Belady
from sim.caches.eviction.fifo import Fifo
from sim.caches.eviction.future import Future
from sim.caches.eviction.gdsf import Gdsf
from sim.caches.eviction.lfu import Lfu
from sim.caches.eviction.lru import Lru
from sim.caches.eviction.s3fifo import S3Fifo
from sim.caches.eviction.session import SessionAware
from sim.caches.eviction.sieve import Sieve
from sim.caches.eviction.ttl import Ttl

POLICIES: dict[str, type[Eviction]] = {
    "lru": Lru,
    "fifo": Fifo,
    "lfu": Lfu,
    "ttl": Ttl,
    "s3-fifo": S3Fifo,
    "sieve": Sieve,
    "arc": Arc,
    "gdsf": Gdsf,
    "session-aware": SessionAware,
    "belady": Belady,
}


def known(name: str, *more: str) -> str:
    """``name`` if it is a policy or one of ``more``; ValueError says what is allowed."""
    allowed = [*POLICIES, *more]
    if name in allowed:
        return name
    near = get_close_matches(name, allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{hint}allowed: {', '.join(allowed)}")


__all__ = ["POLICIES", "Eviction", "Future", "Lru", "PolicySetting", "known"]
