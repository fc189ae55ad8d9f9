"""Systems: the things that a trace can be sent to.

A new kind is one file, which keeps the contract of `sim.systems.base.System`, and one line in the union
below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sim.systems.cache import CacheSystem
from sim.systems.engine import EngineSystem
from sim.systems.provider import ProviderSystem

SystemConfig = Annotated[CacheSystem | EngineSystem | ProviderSystem, Field(discriminator="kind")]

__all__ = ["SystemConfig"]
