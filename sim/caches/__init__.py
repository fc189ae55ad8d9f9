"""Prefix caches: what of a prompt is found, what is kept, what goes first.

A new cache is one file and one line in the union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sim.caches.ideal import IdealConfig
from sim.caches.ids import IdsConfig
from sim.caches.layered import LayeredConfig
from sim.caches.message import MessageConfig
from sim.caches.off import NoCache
from sim.caches.radix_mamba import RadixMambaConfig
from sim.caches.radix_replay import RadixConfig
from sim.caches.radix_swa_replay import RadixSwaConfig
from sim.caches.replay import BlockConfig
from sim.caches.tiered import TieredConfig

CacheConfig = Annotated[
    BlockConfig
    | IdsConfig
    | IdealConfig
    | LayeredConfig
    | MessageConfig
    | RadixConfig
    | RadixMambaConfig
    | RadixSwaConfig
    | TieredConfig,
    Field(discriminator="kind"),
]

EngineCache = Annotated[
    BlockConfig
    | IdsConfig
    | IdealConfig
    | LayeredConfig
    | MessageConfig
    | NoCache
    | RadixConfig
    | TieredConfig,
    Field(discriminator="kind"),
]
"""In an engine caching may also be off."""

__all__ = ["CacheConfig", "EngineCache", "NoCache"]
