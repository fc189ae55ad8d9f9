"""Routers: which replica gets a request. A new policy is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from sim.engine.routers.base import Router, Setting
from sim.engine.routers.kv_aware import KvAware
from sim.engine.routers.least_loaded import LeastLoaded
from sim.engine.routers.power_of_two import PowerOfTwo
from sim.engine.routers.prefix import Prefix
from sim.engine.routers.random import Random
from sim.engine.routers.round_robin import RoundRobin
from sim.engine.routers.session import Session

ROUTERS: dict[str, Callable[[Setting], Router]] = {
    "round_robin": RoundRobin,
    "random": Random,
    "least_loaded": LeastLoaded,
    "power_of_two": PowerOfTwo,
    "session": Session,
    "prefix": Prefix,
    "kv_aware": KvAware,
}

__all__ = ["ROUTERS", "Router", "Setting"]
