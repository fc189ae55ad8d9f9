"""Routers: which replica gets a request. A new policy is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from sim.fleet.routers.base import Router, RouterSetting
from sim.fleet.routers.kv_aware import KvAware
from sim.fleet.routers.least_loaded import LeastLoaded
from sim.fleet.routers.power_of_two import PowerOfTwo
from sim.fleet.routers.prefix import Prefix
from sim.fleet.routers.random import Random
from sim.fleet.routers.round_robin import RoundRobin
from sim.fleet.routers.session import Session

ROUTERS: dict[str, Callable[[RouterSetting], Router]] = {
    "round_robin": RoundRobin,
    "random": Random,
    "least_loaded": LeastLoaded,
    "power_of_two": PowerOfTwo,
    "session": Session,
    "prefix": Prefix,
    "kv_aware": KvAware,
}

__all__ = ["ROUTERS", "Router", "RouterSetting"]
